"""Provisioning against a fake host: each stage, each way to fail, and nothing left over."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from cloudpc import guests
from cloudpc.guests.linux import extras, first_boot
from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, NetworkChoice, Script, Status
from cloudpc.model.credentials import generate_password
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Seed
from cloudpc.model.image import Image
from cloudpc.model.machines import Capacity, KeepsForDiagnosis, Order, Removed
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.provisioning import pipeline, placement, stages
from cloudpc.provisioning.clean_up import KEPT_FOR
from cloudpc.provisioning.resources import Resources

from . import make
from .fake_organisation import Organisation
from .fake_rim import (
    CALLS,
    IDENTITY,
    Lines,
    PatientCancellation,
    Run,
    ScriptedHost,
    desired,
    hand_over,
    image,
    machines,
    said,
)

STAGES = {
    "claim": (Stage.PLACING, ErrorCode.HYPERVISOR_ERROR),
    "ensure_image": (Stage.IMAGE, ErrorCode.IMAGE_UPLOAD_FAILED),
    "create_disk": (Stage.DISK, ErrorCode.DISK_FAILED),
    "start": (Stage.STARTING, ErrorCode.START_FAILED),
    "wait_ready": (Stage.FIRST_BOOT, ErrorCode.GUEST_DIED),
    "run": (Stage.SET_UP, ErrorCode.GUEST_AGENT_LOST),
    "set_password": (Stage.CREDENTIALS, ErrorCode.CREDENTIALS_FAILED),
    "finish ready": (Stage.CREDENTIALS, ErrorCode.HYPERVISOR_ERROR),
}
_THROUGH_HQ = NetworkChoice(kind="hosted", connection="hq", domain_join_type="hybridAzureADJoin")
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M"
every_call = pytest.mark.parametrize("call", CALLS)


def test_all_goes_well(host: ScriptedHost) -> None:
    run = Run(host)
    outcome = run.provision()
    assert outcome.status is Status.PROVISIONED
    assert outcome.attempts == 1
    assert outcome.host == "local"
    assert outcome.access == host.access(IDENTITY, Watch()).proven(_KEY)
    assert isinstance(outcome.access, Ssh)
    assert outcome.access.host_key == _KEY
    assert outcome.credentials is not None
    assert outcome.credentials.user == "u-alice"
    assert (host.folder / f"{IDENTITY}.password").read_text() == f"u-alice:{outcome.credentials.password}"
    assert outcome.error is None
    assert host.calls == [*CALLS, "finished ready"]
    assert machines([host]) == {"local": [Phase.READY]}
    stages = list(dict.fromkeys(line.partition(":")[0].partition(" (")[0] for line in run.lines.steps))
    assert stages == [stage.value for stage in Stage if stage not in (Stage.DOMAIN_JOIN, Stage.REGISTRATION)]
    assert not run.lines.milestones


def test_what_a_first_boot_and_its_start_are_given(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, seeds, started = desired(local_admin_enabled=True), [], []
    create_disk, start = host.create_disk, host.start

    def creating(spec: Order, made_of: Image, seed: Seed) -> None:
        seeds.append(seed)
        create_disk(spec, made_of, seed)

    def starting(spec: Order, made_of: Image) -> None:
        started.append((spec, made_of))
        start(spec, made_of)

    monkeypatch.setattr(host, "create_disk", creating)
    monkeypatch.setattr(host, "start", starting)
    account = wanted.account.model_copy(update={"ssh_public_keys": ("ssh-ed25519 AAAA",)})
    Run(host).provision(wanted.model_copy(update={"account": account}))
    assert seeds == [
        first_boot.seed(
            instance_id=f"{IDENTITY}-1",
            device_name=wanted.device_name,
            account=account,
            local_admin=True,
        )
    ]
    assert started == [(host.claimed[0], image())]


def test_every_step_is_told_with_what_it_is_about(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    run.healthy = lambda _choice, _afresh: None

    def find(watch: Watch) -> Image:
        watch.note("checking it")
        return image()

    run.image = find
    run.provision(desired(networks=(_THROUGH_HQ,), packages=(), time_zone="Europe/Berlin"))
    assert run.lines.steps == [
        "placing",
        "placing: checking the connection hq",
        "image",
        "image: checking it",
        "image: uploading micro",
        "disk",
        "starting: waiting for a free boot slot",
        "starting: on local",
        "first boot: on local",
        "first boot: waiting for its network",
        "domain join: through hq",
        "set-up",
        "set-up: time zone Europe/Berlin",
        "registration",
        "credentials",
    ]
    host.finish(IDENTITY, Phase.PROVISIONING)
    run.lines.steps.clear()
    run.provision(desired())
    assert run.lines.steps[:2] == ["placing", "placing: removing what an interrupted run left"]


def test_whatever_a_host_is_asked_is_of_this_machine_and_can_be_cancelled(
    host: ScriptedHost, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[object]]] = []

    def remember(name: str) -> None:
        original = getattr(host, name)

        def call(*values: Any, **named: Any) -> Any:
            asked.append((name, [*values, *named.values()]))
            return original(*values, **named)

        monkeypatch.setattr(host, name, call)

    lasting = {"ensure_image", "boot_slot", "wait_ready", "run_script", "access"}
    of_the_machine = {"describe", "guest", "set_password", "finish", *lasting} - {"ensure_image", "boot_slot"}
    for name in lasting | of_the_machine:
        remember(name)
    run = Run(host)
    run.registration = organisation.registration()
    assert run.provision(desired(image_type="custom", networks=(_THROUGH_HQ,))).status is Status.PROVISIONED
    assert {name for name, _ in asked} == lasting | of_the_machine
    assert [name for name, values in asked if name in of_the_machine and values[0] != IDENTITY] == []
    cancels = [
        (name, [value.cancel if isinstance(value, Watch) else value for value in values]) for name, values in asked
    ]
    assert [name for name, values in cancels if name in lasting and run.cancel not in values] == []


# ---- each stage and each way to fail


@every_call
def test_an_error_that_stays_fails_after_three_attempts(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error"}])
    run = Run(host)
    outcome = run.provision()
    stage, code = STAGES[call]
    assert outcome.status is Status.FAILED
    assert (outcome.stage, outcome.error and outcome.error.code) == (stage, code)
    assert outcome.attempts == 3
    assert outcome.host == ("" if stage is Stage.PLACING else "local")
    assert host.calls.count(call) == 3
    assert host.things() == []
    assert outcome.credentials is None
    assert [line.partition(":")[0] for line in run.lines.milestones] == [
        f"attempt {number} of 3 failed in {stage}" for number in (1, 2)
    ]


@every_call
def test_the_last_attempts_disk_is_kept_if_it_came_to_have_one(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error"}])
    outcome = Run(host).provision()
    has_disk = STAGES[call][0] in (Stage.STARTING, Stage.FIRST_BOOT, Stage.SET_UP, Stage.CREDENTIALS)
    assert len(host.kept()) == has_disk
    assert all(log.name in outcome.kept for log in host.kept())
    assert (outcome.kept != "") is has_disk
    assert machines([host]) == {}


def test_what_can_not_be_kept_is_deleted(host: ScriptedHost) -> None:
    host.configure(
        faults=[{"call": "start", "fault": "error"}, {"call": "keep_for_diagnosis", "fault": "crash"}],
    )
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.error.code, outcome.kept) == (ErrorCode.START_FAILED, "")
    assert (host.things(), host.kept()) == ([], [])


@every_call
def test_an_error_that_passes_costs_an_attempt(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error", "times": 1}])
    outcome = Run(host).provision()
    assert outcome.status is Status.PROVISIONED
    assert outcome.attempts == 2
    assert machines([host]) == {"local": [Phase.READY]}


@every_call
def test_what_cannot_end_differently_is_not_tried_again(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error", "retriable": False}])
    run = Run(host)
    outcome = run.provision()
    stage, code = STAGES[call]
    assert outcome.status is Status.FAILED
    assert (outcome.stage, outcome.error and outcome.error.code, outcome.attempts) == (stage, code, 1)
    assert host.things() == []


@every_call
def test_a_bug_is_a_failure_like_others(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "crash"}])
    outcome = Run(host).provision()
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.INTERNAL_ERROR
    assert "RuntimeError" in outcome.error.message
    assert (outcome.stage, outcome.attempts) == (STAGES[call][0], 3)
    assert host.things() == []


@every_call
def test_cancel_stops_cleans_up_and_records_nothing(host: ScriptedHost, call: str) -> None:
    run = Run(host)
    host.hooks[call] = run.cancel.cancel
    if STAGES[call][0] is Stage.CREDENTIALS:  # the last stage: what is complete is handed out
        assert run.provision().status is Status.PROVISIONED
        return
    with pytest.raises(Cancelled):
        run.provision()
    assert host.things() == []
    assert host.calls.count(call) == 1


def test_cancel_during_the_pause_between_attempts(host: ScriptedHost) -> None:
    class Impatient(PatientCancellation):
        def wait(self, seconds: float) -> None:
            self.cancel()
            super().wait(seconds)

    host.configure(faults=[{"call": "wait_ready", "fault": "error"}])
    with pytest.raises(Cancelled):
        Run(host, cancel=Impatient()).provision()
    assert host.calls.count("wait_ready") == 1
    assert host.things() == []


def test_ctrl_c_cleans_up_too(host: ScriptedHost) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    host.hooks["wait_ready"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        Run(host).provision()
    assert host.things() == []


def test_a_boot_that_takes_too_long(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "wait_ready", "fault": "timeout"}])
    outcome = Run(host).provision(desired(first_boot_in_seconds=7))
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.BOOT_TIMEOUT
    assert outcome.error.message == "not ready after 7 s"
    assert outcome.attempts == 3
    assert host.things() == []


def test_pauses_grow(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "start", "fault": "error"}])
    cancel = PatientCancellation()
    Run(host, cancel=cancel).provision()
    assert cancel.waits == [2.0, 4.0]


def test_the_device_name_stays_the_same_over_attempts(host: ScriptedHost) -> None:
    seen: set[str] = set()
    host.hooks["wait_ready"] = lambda: seen.update(m.tag.device_name for m in host.machines())
    host.configure(faults=[{"call": "wait_ready", "fault": "error", "times": 2}])
    assert Run(host).provision().attempts == 3
    assert seen == {desired().device_name}


# ---- what cannot be removed is told, and fails nobody else


@pytest.mark.parametrize(
    ("fault", "first", "code"),
    [
        ("error", "error", ErrorCode.START_FAILED),
        ("crash", "error", ErrorCode.START_FAILED),
        ("error", "crash", ErrorCode.INTERNAL_ERROR),
    ],
)
def test_what_could_not_be_removed_is_named(host: ScriptedHost, fault: str, first: str, code: ErrorCode) -> None:
    host.configure(faults=[{"call": "start", "fault": first}, {"call": "delete", "fault": fault}])
    outcome = Run(host).provision()
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert (outcome.stage, outcome.error.code) == (Stage.STARTING, code), "not what came of it later"
    assert outcome.remains.startswith("on local: ")
    assert machines([host]) == {"local": [Phase.PROVISIONING]}  # the next run's sweep removes it
    host.configure()
    assert Run(host).provision().status is Status.PROVISIONED


def test_what_the_next_attempt_removed_remains_no_longer(host: ScriptedHost) -> None:
    host.configure(
        faults=[{"call": "start", "fault": "error", "times": 1}, {"call": "delete", "fault": "error", "times": 1}]
    )
    outcome = Run(host).provision()
    assert outcome.status is Status.PROVISIONED
    assert outcome.remains == ""
    assert machines([host]) == {"local": [Phase.READY]}


def test_what_remains_on_a_host_that_went_away_is_named_while_another_serves(tmp_path: Path) -> None:
    first, second = ScriptedHost(tmp_path, "first", cores=8), ScriptedHost(tmp_path, "second", cores=4)

    def vanish() -> None:
        first.away = True
        first._answer()

    first.hooks["wait_ready"] = vanish
    outcome = Run(first, second).provision()
    assert (outcome.status, outcome.host) == (Status.PROVISIONED, "second")
    assert "on first" in outcome.remains
    assert machines([first, second]) == {"first": [Phase.PROVISIONING], "second": [Phase.READY]}


def test_what_remains_is_named_while_it_waits_for_a_place(tmp_path: Path) -> None:
    first, full = ScriptedHost(tmp_path, "first"), ScriptedHost(tmp_path, "full", cores=0)

    def vanish() -> None:
        first.away = True
        first._answer()

    first.hooks["wait_ready"] = vanish
    outcome = Run(first, full).provision()
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.PENDING_PROVISION, Stage.PLACING, 2)
    assert outcome.remains == "on first: first does not answer"


# ---- secrets


def test_the_password_is_nowhere_but_with_its_user(
    host: ScriptedHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hUnTeR-22222-secrt-ABCDE"
    monkeypatch.setattr(stages, "generate_password", lambda: secret)
    caplog.set_level(logging.DEBUG)
    kept: list[str] = []
    host.hooks["start"] = lambda: kept.extend(path.read_text() for path in host.folder.glob("*.seed"))
    host.configure(faults=[{"call": "finish ready", "fault": "crash", "times": 2}])
    run = Run(host)
    outcome = run.provision()
    assert outcome.credentials is not None
    assert outcome.credentials.password == secret
    holding = {p.name for p in host.folder.rglob("*") if p.is_file() and secret in p.read_text()}
    assert holding == {f"{IDENTITY}.password"}
    assert kept
    for text in (*kept, repr(outcome), str(outcome), *run.lines.steps, *run.lines.milestones, caplog.text):
        assert secret not in text


def test_passwords_are_long_and_never_the_same() -> None:
    passwords = {generate_password() for _ in range(200)}
    assert len(passwords) == 200
    assert all(len(set(password)) > 5 and len(password) == 23 for password in passwords)


# ---- what an earlier run left


def test_a_complete_machine_of_a_dead_run_is_adopted(host: ScriptedHost) -> None:
    first = Run(host).provision()
    host.calls.clear()
    run = Run(host)
    second = run.provision()
    assert second.status is Status.PROVISIONED
    assert host.calls == ["set_password", "finish ready", "finished ready"]
    assert second.credentials is not None
    assert second.credentials != first.credentials
    assert "taken over" in run.lines.milestones[0]


def test_an_adoption_that_fails_makes_a_new_one(host: ScriptedHost) -> None:
    Run(host).provision()
    host.configure(faults=[{"call": "set_password", "fault": "error", "times": 1}])
    host.calls.clear()
    outcome = Run(host).provision()
    assert outcome.status is Status.PROVISIONED
    assert outcome.attempts == 2
    assert "claim" in host.calls
    assert machines([host]) == {"local": [Phase.READY]}


@pytest.mark.parametrize("away", [True, False])
def test_a_complete_machine_is_found_whichever_host_has_it(tmp_path: Path, away: bool) -> None:
    first, second = ScriptedHost(tmp_path, "first"), ScriptedHost(tmp_path, "second")
    Run(second).provision()
    first.away = away
    assert Run(first, second).provision().host == "second"
    assert "claim" not in first.calls
    assert second.calls.count("claim") == 1


def test_what_an_interrupted_run_left_and_can_not_be_removed_is_the_news(host: ScriptedHost) -> None:
    Run(host).provision()
    host.finish(IDENTITY, Phase.PROVISIONING)
    host.configure(faults=[{"call": "delete", "fault": "error", "retriable": False}])
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.stage, outcome.error.message) == (Stage.PLACING, "injected fault in delete")


def test_an_adoption_that_works_at_the_second_try_leaves_nothing_to_tell(host: ScriptedHost) -> None:
    Run(host).provision()
    once = {"fault": "error", "times": 1}
    host.configure(faults=[{"call": "set_password", **once}, {"call": "delete", **once}])
    outcome = Run(host).provision()
    assert (outcome.status, outcome.attempts, outcome.remains) == (Status.PROVISIONED, 2, "")
    assert machines([host]) == {"local": [Phase.READY]}


def test_one_with_warnings_is_made_anew_because_nobody_remembers_them(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, exit_code=1)
    assert Run(host).provision().status is Status.PROVISIONED_WITH_WARNINGS
    assert Run(host).provision().status is Status.PROVISIONED_WITH_WARNINGS
    assert host.calls.count("claim") == 2


def test_a_complete_machine_of_a_user_who_was_renamed_is_adopted(host: ScriptedHost) -> None:
    Run(host).provision()
    host.calls.clear()
    renamed = desired().model_copy(update={"user_principal_name": "eve@contoso.example"})
    assert Run(host).provision(renamed).status is Status.PROVISIONED
    assert "claim" not in host.calls


@pytest.mark.parametrize("changed", [{"locale": "de-DE"}, {"image_digest": "cd" * 32}, {"packages": ("vim",)}])
def test_a_complete_machine_made_otherwise_is_made_anew(host: ScriptedHost, changed: dict[str, Any]) -> None:
    Run(host).provision()
    host.calls.clear()
    outcome = Run(host).provision(desired(**changed))
    assert outcome.status is Status.PROVISIONED
    assert {"delete", "claim"} <= set(host.calls)


def test_a_complete_machine_for_another_account_is_made_anew(host: ScriptedHost) -> None:
    Run(host).provision()
    wanted = desired()
    account = wanted.account.model_copy(update={"ssh_public_keys": ("ssh-ed25519 AAAA",)})
    host.calls.clear()
    assert Run(host).provision(wanted.model_copy(update={"account": account})).status is Status.PROVISIONED
    assert {"delete", "claim"} <= set(host.calls)


@pytest.mark.parametrize("call", CALLS[2:])
def test_an_unfinished_machine_is_made_anew(host: ScriptedHost, call: str) -> None:
    class Died(BaseException):
        pass

    def die() -> None:
        # like SIGKILL: no clean-up reaches the host any more
        host.hooks["delete"] = die
        raise Died

    host.hooks[call] = die
    with pytest.raises(Died):
        Run(host).provision()
    host.hooks.clear()
    assert machines([host]) == {"local": [Phase.PROVISIONING]}
    outcome = Run(host).provision()
    assert (outcome.status, outcome.attempts) == (Status.PROVISIONED, 1)
    assert machines([host]) == {"local": [Phase.READY]}
    assert host.remnants(make.INSTALLATION) == []


def test_a_machine_that_was_handed_over_is_never_touched(host: ScriptedHost) -> None:
    Run(host).provision()
    hand_over(host)
    before = host.machines(), host.things()
    outcome = Run(host).provision()
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.MACHINE_NOT_IN_STATE
    assert "cloudpc adopt" in outcome.error.hint
    assert outcome.attempts == 1
    assert (host.machines(), host.things()) == before


def test_a_machine_that_was_handed_over_is_taken_back_if_somebody_says_so(host: ScriptedHost) -> None:
    first = Run(host).provision(desired(locale="de-DE"))
    hand_over(host)
    host.calls.clear()
    run = Run(host)
    run.adoptable = ("u-alice/small",)
    taken = run.provision(desired(locale="fr-FR"))
    assert taken.status is Status.PROVISIONED
    assert "claim" not in host.calls, "nothing is rebuilt"
    assert taken.credentials != first.credentials
    assert taken.desired is not None
    assert taken.desired.settings.locale == "de-DE", "it is what it was made as, not what today's policy says"
    assert run.lines.milestones[0].endswith("was handed over before state was lost: taken back, not rebuilt")


@pytest.mark.parametrize(
    ("made", "asked", "waived"),
    [
        ({}, {}, 0),
        ({}, {"waived_generation": 3}, 3),
        ({}, {"generation": 2}, 2),
        ({"generation": 4, "waived_generation": 6}, {"generation": 3}, 6),
    ],
)
def test_what_was_asked_for_before_state_was_lost_is_over(
    host: ScriptedHost, made: dict[str, int], asked: dict[str, int], waived: int
) -> None:
    Run(host).provision(desired().model_copy(update=made))
    hand_over(host)
    run = Run(host)
    run.adoptable = ("u-alice/small",)
    spent = {"retry": 2, "kernel_generation": 3}
    taken = run.provision(desired().model_copy(update={**asked, **spent})).desired
    assert taken is not None
    assert (taken.generation, taken.waived_generation) == (made.get("generation", 1), waived)
    assert (taken.retry, taken.kernel_generation) == (2, 3)


@pytest.mark.parametrize("phase", Phase)
def test_another_policys_machine_is_never_touched(host: ScriptedHost, phase: Phase) -> None:
    Run(host).provision()
    host.finish(IDENTITY, phase)
    before = host.machines(), host.things()
    outcome = Run(host).provision(desired(policy_id="other"))
    assert outcome.status is Status.NOT_PROVISIONED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OTHER_POLICY_FIRST
    assert "'lab'" in outcome.error.message
    assert outcome.attempts == 1
    assert (host.machines(), host.things()) == before


def test_two_policies_at_once_on_one_host(host: ScriptedHost) -> None:
    def overtake() -> None:
        host.hooks.clear()
        assert Run(host).provision(desired(policy_id="other")).status is Status.PROVISIONED

    host.hooks["claim"] = overtake
    outcome = Run(host).provision()
    assert outcome.status is Status.NOT_PROVISIONED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OTHER_POLICY_FIRST
    assert outcome.attempts == 1
    assert [m.tag.policy_id for m in host.machines()] == ["other"]


def test_two_policies_at_once_on_two_hosts(tmp_path: Path) -> None:
    first, second = ScriptedHost(tmp_path, "first", cores=8), ScriptedHost(tmp_path, "second", cores=4)
    away = ScriptedHost(tmp_path, "away")
    away.away = True

    def overtake() -> None:
        first.hooks.clear()
        assert Run(second).provision(desired(policy_id="other")).status is Status.PROVISIONED

    first.hooks["claim"] = overtake
    outcome = Run(first, away, second).provision()
    assert (outcome.status, outcome.attempts) == (Status.NOT_PROVISIONED, 1)
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OTHER_POLICY_FIRST
    assert machines([first, second]) == {"second": [Phase.READY]}
    assert first.things() == []


def test_another_run_of_this_policy_that_is_always_faster(host: ScriptedHost) -> None:
    Run(host).provision()
    spec = host.claimed[0]
    host.delete(IDENTITY, Watch())
    another = ScriptedHost(host.folder.parent)
    host.hooks["claim"] = lambda: another.claim(spec, Watch())
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.stage, outcome.attempts) == (Stage.PLACING, 3)
    assert outcome.error.code is ErrorCode.HYPERVISOR_ERROR
    assert outcome.error.message == f"{spec.name} was claimed by another run of this policy"


def test_the_disk_of_one_that_was_undefined_meanwhile_goes(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine can't be kept, so its host is told to remove whatever else there is."""
    deleted: list[UUID] = []

    def undefined() -> None:
        (host.folder / "machines" / f"{IDENTITY}.json").unlink()
        raise ProvisioningError(ErrorCode.GUEST_DIED, "it is gone", retriable=False)

    host.hooks["wait_ready"] = undefined
    monkeypatch.setattr(host, "delete", lambda identity, _watch: deleted.append(identity) or Removed.GONE)
    assert Run(host).provision().status is Status.FAILED
    assert deleted == [IDENTITY]


def test_an_attempt_given_up_late_does_not_remove_a_newer_ones_machine(host: ScriptedHost) -> None:
    def overtaken() -> None:
        host.hooks.clear()
        assert Run(ScriptedHost(host.folder.parent)).provision().status is Status.PROVISIONED
        raise ProvisioningError(ErrorCode.BOOT_TIMEOUT, "noticed much later", retriable=False)

    host.hooks["wait_ready"] = overtaken
    assert Run(host).provision().status is Status.FAILED
    assert machines([host]) == {"local": [Phase.READY]}
    assert [name for name in host.things() if name.endswith(".qcow2")]


# ---- placing


@pytest.mark.parametrize(
    ("room", "lacking"),
    [({"cores": 0}, "1 cores (0 free)"), ({"memory_mib": 511}, "512 MiB"), ({"disk_gib": 7}, "8 GB of disk (7 free)")],
)
def test_what_does_not_fit_waits(tmp_path: Path, room: dict[str, Any], lacking: str) -> None:
    host = ScriptedHost(tmp_path, **room)
    outcome = Run(host).provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NO_CAPACITY
    assert lacking in outcome.error.message
    assert (outcome.stage, outcome.attempts) == (Stage.PLACING, 1)
    assert host.things() == []


def test_the_last_place_is_given_once(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, cores=1)
    assert Run(host).provision().status is Status.PROVISIONED
    assert Run(host).provision(desired(user_id="u-bob")).status is Status.PENDING_PROVISION


def test_the_roomiest_host_takes_it(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name, cores=cores) for name, cores in [("a", 2), ("b", 8), ("c", 4)]]
    chosen: list[UUID] = []
    hosts[1].hooks["claim"] = lambda: chosen.append(placement._choices[-1].machine_id)
    assert Run(*hosts).provision().host == "b"
    assert chosen == [IDENTITY], "so that others which are placed meanwhile count it once"


def test_machines_spread_by_the_scarcer_of_memory_and_cores(tmp_path: Path) -> None:
    little_memory = ScriptedHost(tmp_path, "a", cores=1000, memory_mib=1024)
    few_cores = ScriptedHost(tmp_path, "b", cores=8, memory_mib=64 * 1024)
    placed = [Run(little_memory, few_cores).provision(desired(user_id=f"u{i}")).host for i in range(5)]
    assert placed == ["b", "b", "b", "a", "b"]


def test_a_full_host_is_passed_over(tmp_path: Path) -> None:
    full, free = ScriptedHost(tmp_path, "full", cores=0), ScriptedHost(tmp_path, "free", cores=1)
    assert Run(full, free).provision().host == "free"


def test_a_host_that_is_away_is_passed_over(tmp_path: Path) -> None:
    away, there = ScriptedHost(tmp_path, "away"), ScriptedHost(tmp_path, "there")
    away.away = True
    outcome = Run(away, there).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "there", 1)


def test_why_nothing_was_placed_names_every_host(tmp_path: Path) -> None:
    away, full = ScriptedHost(tmp_path, "away"), ScriptedHost(tmp_path, "full", cores=0)
    away.away = True
    outcome = Run(away, full).provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NO_CAPACITY
    assert "away does not answer" in outcome.error.message
    assert "full lacks 1 cores" in outcome.error.message
    assert outcome.error.hint == ""  # what to do about the other host is no help with this code


def test_a_host_whose_storage_is_broken_fails_it_alone_and_waits_beside_a_full_one(tmp_path: Path) -> None:
    class Broken(ScriptedHost):
        def capacity(self) -> Capacity:
            raise ProvisioningError(ErrorCode.DISK_FAILED, f"the pool of {self.name} is broken")

    first, second = Broken(tmp_path, "first"), Broken(tmp_path, "second")
    failed = Run(first, second).provision()
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.FAILED, ErrorCode.DISK_FAILED)
    full = ScriptedHost(tmp_path, "full", cores=0)
    waits = Run(first, full).provision()
    assert waits.error is not None
    assert (waits.status, waits.error.code) == (Status.PENDING_PROVISION, ErrorCode.NO_CAPACITY)
    assert "the pool of first is broken" in waits.error.message


@pytest.mark.parametrize("count", [1, 2])
def test_when_no_host_answers_it_waits(tmp_path: Path, count: int) -> None:
    hosts = [ScriptedHost(tmp_path, f"h{i}") for i in range(count)]
    for host in hosts:
        host.away = True
    outcome = Run(*hosts).provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.hint) == (ErrorCode.HOST_UNREACHABLE, "start libvirt")


def _refusing(folder: Path, name: str, code: ErrorCode, call: str = "wait_ready", **settings: Any) -> ScriptedHost:
    """A host that claims and then, while it makes the machine, says this."""
    host = ScriptedHost(folder, name, **settings)

    def refuse() -> None:
        raise ProvisioningError(code, f"{name} says {code}")

    host.hooks[call] = refuse
    return host


@pytest.mark.parametrize("call", ["ensure_image", "create_disk", "start", "wait_ready"])
@pytest.mark.parametrize(
    ("code", "status", "attempts"),
    [
        (ErrorCode.NO_CAPACITY, Status.PENDING_PROVISION, 1),
        (ErrorCode.POOL_UNUSABLE, Status.PENDING_PROVISION, 1),
        (ErrorCode.HOST_UNREACHABLE, Status.PENDING_PROVISION, 3),
        (ErrorCode.STORAGE_FULL, Status.FAILED, 3),
    ],
)
def test_what_has_to_wait_waits_whenever_its_host_finds_out(
    tmp_path: Path, call: str, code: ErrorCode, status: Status, attempts: int
) -> None:
    host = _refusing(tmp_path, "late", code, call)
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code, outcome.attempts) == (status, code, attempts)
    assert (outcome.stage is Stage.PLACING) == (status is Status.PENDING_PROVISION)
    assert host.things() == []
    assert not (status is Status.PENDING_PROVISION and host.kept())


def test_a_host_that_has_no_room_after_all_is_passed_over(tmp_path: Path) -> None:
    late, small = _refusing(tmp_path, "late", ErrorCode.NO_CAPACITY, cores=8), ScriptedHost(tmp_path, "small", cores=1)
    outcome = Run(late, small).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "small", 2)


@pytest.mark.parametrize("cores", [0, 1])
def test_where_no_host_has_room_after_all_it_waits(tmp_path: Path, cores: int) -> None:
    late = _refusing(tmp_path, "late", ErrorCode.NO_CAPACITY, cores=8)
    other = _refusing(tmp_path, "other", ErrorCode.NO_CAPACITY, cores=cores)
    outcome = Run(late, other).provision()
    assert (outcome.status, outcome.attempts) == (Status.PENDING_PROVISION, 2)
    assert late.things() == other.things() == []


def test_what_waits_after_its_registration_has_none(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()

    def away() -> None:
        raise ProvisioningError(ErrorCode.NO_CAPACITY, "stopped, and there is no room to start it")

    host.hooks["set_password"] = away
    assert run.provision().status is Status.PENDING_PROVISION
    assert organisation.devices == {}
    assert host.things() == []


def test_a_broken_host_does_not_get_every_attempt(tmp_path: Path) -> None:
    broken = ScriptedHost(tmp_path, "broken", cores=64, faults=[{"call": "create_disk", "fault": "error"}])
    sound = ScriptedHost(tmp_path, "sound", cores=2)
    outcome = Run(broken, sound).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "sound", 2)
    assert broken.things() == []


_CORP = NetworkChoice(kind="network", source="corp")
_BRIDGE = NetworkChoice(kind="bridge", source="br0")
_HOSTED = NetworkChoice(kind="hosted")


@pytest.mark.parametrize(
    ("known", "used"), [([], ("hosted", "")), (["br0"], ("bridge", "br0")), (["br0", "corp"], ("network", "corp"))]
)
def test_the_first_network_that_is_there_is_used(tmp_path: Path, known: list[str], used: tuple[str, str]) -> None:
    host = ScriptedHost(tmp_path, networks=known)
    assert Run(host).provision(desired(networks=(_CORP, _BRIDGE, _HOSTED))).status is Status.PROVISIONED
    [spec] = host.claimed
    assert (spec.network.kind, spec.network.source) == used


def test_a_better_network_is_worth_a_fuller_host(tmp_path: Path) -> None:
    roomy = ScriptedHost(tmp_path, "roomy", cores=64)
    connected = ScriptedHost(tmp_path, "connected", cores=2, networks=["corp"])
    assert Run(roomy, connected).provision(desired(networks=(_CORP, _HOSTED))).host == "connected"


def test_while_no_connection_is_healthy_it_waits(host: ScriptedHost) -> None:
    run = Run(host)
    run.healthy = lambda choice, _afresh: ProvisioningError(
        ErrorCode.CONNECTION_NOT_HEALTHY, f"no answer through {choice.connection}"
    )
    outcome = run.provision(desired(networks=(_THROUGH_HQ,)))
    assert outcome.error is not None
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.PENDING_PROVISION, Stage.PLACING, 1)
    assert outcome.error.code is ErrorCode.CONNECTION_NOT_HEALTHY
    assert "no answer through hq" in outcome.error.message


def test_a_connection_may_be_used_without_joining_a_domain(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    outcome = run.provision(desired(networks=(NetworkChoice(kind="hosted", connection="hq"),)))
    assert (outcome.status, outcome.connection) == (Status.PROVISIONED, "hq")
    assert organisation.calls == ["register"]
    assert host.tags[0].joined_through == ""


def test_without_any_of_the_networks_it_waits(host: ScriptedHost) -> None:
    outcome = Run(host).provision(desired(networks=(_CORP, _BRIDGE)))
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NETWORK_NOT_FOUND
    assert "corp" in outcome.error.message
    assert "br0" in outcome.error.message


# ---- set-up: extras warn


_EXTRAS: dict[str, Any] = {"packages": ("git", "vim"), "time_zone": "Europe/Berlin", "locale": "de-DE"}
_CODES = [
    ErrorCode.TIME_ZONE_FAILED,
    ErrorCode.PACKAGES_FAILED,
    ErrorCode.LOCALE_FAILED,
    ErrorCode.POST_PROVISIONING_SCRIPT_FAILED,
]


def test_extras_that_fail_leave_a_usable_cloud_pc(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, exit_code=3)
    run = Run(host)
    run.script = lambda: b"#!/bin/sh\nexit 3\n"
    outcome = run.provision(desired(**_EXTRAS, script=Script(path="setup.sh", sha256="11")))
    assert outcome.status is Status.PROVISIONED_WITH_WARNINGS
    assert [warned.code for warned in outcome.warnings] == _CODES
    assert outcome.credentials is not None
    for warned in outcome.warnings:
        assert "exit code 3: said by the fake guest" in warned.message
    assert outcome.attempts == 1


def test_extras_that_take_too_long_are_a_warning(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "run", "fault": "timeout", "times": 1}])
    outcome = Run(host).provision(desired(**_EXTRAS, set_up_in_seconds=9))
    assert outcome.status is Status.PROVISIONED_WITH_WARNINGS
    assert [(w.code, w.message) for w in outcome.warnings] == [
        (ErrorCode.TIME_ZONE_FAILED, "time zone Europe/Berlin: took longer than 9 seconds")
    ]


def test_warnings_of_a_failed_attempt_are_forgotten(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, faults=[
        {"call": "run", "fault": "timeout", "times": 1}, {"call": "set_password", "fault": "error", "times": 1},
    ])  # fmt: skip
    outcome = Run(host).provision()
    assert (outcome.status, outcome.attempts, outcome.warnings) == (Status.PROVISIONED, 2, ())


def test_nothing_is_run_for_a_policy_that_asks_for_nothing(host: ScriptedHost) -> None:
    Run(host).provision(desired(packages=()))
    assert "run" not in host.calls


def test_user_input_reaches_the_guest_as_arguments_only(tmp_path: Path) -> None:
    seen: list[tuple[tuple[str, ...], bytes]] = []

    class Listening(ScriptedHost):
        def run_script(self, machine_id: Any, script: Any, watch: Any) -> Any:
            if script.name != "facts":
                seen.append((script.argv, script.stdin))
            return super().run_script(machine_id, script, watch)

    run = Run(Listening(tmp_path))
    script = b"#!/bin/sh\necho $(hostname)\n"
    run.script = lambda: script
    run.provision(desired(**_EXTRAS, script=Script(path="setup.sh", sha256="11")))
    for argv, _ in seen:
        assert argv[:3] == ("setsid", "/bin/sh", "-c")
        assert not [word for word in ("Berlin", "git", "de_DE", "hostname") if word in argv[3]]
    assert [argv[5:] for argv, _ in seen] == [("Europe/Berlin",), ("45", "git", "vim"), ("de_DE",), ()]
    assert [stdin for _, stdin in seen] == [b"", b"", b"", script]


# ---- the rim's own refusals


def test_an_image_that_needs_more_memory_than_the_plan_has(host: ScriptedHost) -> None:
    run = Run(host)
    run.image = lambda _note: image(minimum_memory_mib=512)
    assert run.provision(desired(user_id="u-bob")).status is Status.PROVISIONED
    host.delete(host.machines()[0].id, Watch())
    run.image = lambda _note: image(minimum_memory_mib=513)
    outcome = run.provision()
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.IMAGE_INVALID
    assert outcome.attempts == 1
    assert host.things() == []


def test_an_image_larger_than_the_plans_disk_is_brought_to_no_host(host: ScriptedHost) -> None:
    run = Run(host)
    run.image = lambda _note: image(disk_gib=8.1)
    outcome = run.provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.FAILED, Stage.IMAGE, 1)
    assert (outcome.error.code, "has a disk of 8.1 GB" in outcome.error.message) == (ErrorCode.IMAGE_INVALID, True)
    assert "ensure_image" not in host.calls


def test_an_image_that_is_needed_to_give_a_place_fails_as_one(
    host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "claim", lambda order, watch: order.image(watch))
    run = Run(host)
    run.image = lambda _note: image(disk_gib=8.1)
    assert run.provision().stage is Stage.IMAGE
    assert run.lines.steps[-1].startswith(Stage.IMAGE)


@pytest.mark.parametrize(("what", "stage"), [("image", Stage.IMAGE), ("script", Stage.SET_UP)])
def test_what_the_rim_refuses_fails_in_its_stage(host: ScriptedHost, what: str, stage: Stage) -> None:
    def refuse(*_: Any) -> Any:
        raise ProvisioningError(ErrorCode.SET_UP_FAILED, "was changed during this run", retriable=False)

    run = Run(host)
    setattr(run, what, refuse)
    outcome = run.provision()
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.FAILED, stage, 1)
    assert host.things() == []


@pytest.mark.parametrize("key", [None, b"", b"ssh-ed25519 AAAAfake fake", b"\xff\xfe", b"ssh-rsa AAAA"])
def test_a_guest_without_host_key_is_not_handed_out(tmp_path: Path, key: bytes | None) -> None:
    host = ScriptedHost(tmp_path)
    host.facts = said(tmp_path, key=key)
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.CREDENTIALS_FAILED
    assert host.things() == []


def test_a_system_that_nobody_knows_is_no_reason_to_try_again(host: ScriptedHost) -> None:
    outcome = Run(host).provision(desired(guest_os="later"))
    assert outcome.error is not None
    assert outcome.error.message == "'later' is no system of guests; there: linux"
    assert (outcome.attempts, host.things()) == (1, [])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Completed(127, "sh: setsid: not found\n"), "exit code 127: sh: setsid: not found"),
        (Completed(124, "took longer than 90 s", timed_out=True), "took longer than 90 s"),
    ],
)
def test_a_guest_that_can_not_be_asked_what_it_is_fails(tmp_path: Path, said: Completed, told: str) -> None:
    class Dumb(ScriptedHost):
        def run_script(self, machine_id: Any, script: Any, watch: Any) -> Any:
            return said if script.name == "facts" else super().run_script(machine_id, script, watch)

    outcome = Run(Dumb(tmp_path)).provision()
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.SET_UP_FAILED
    assert outcome.error.message == f"The guest does not say what it is: {told}."


def test_the_network_may_be_as_late_as_the_first_boot_and_what_needs_it_waits(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []

    class Late(ScriptedHost):
        def access(self, machine_id: Any, watch: Any) -> Any:
            seen.append(("access", watch.remaining))
            return super().access(machine_id, watch)

        def run_script(self, machine_id: Any, script: Any, watch: Any) -> Any:
            if script.name != "facts":
                seen.append(("run", script.timeout))
            return super().run_script(machine_id, script, watch)

    assert Run(Late(tmp_path)).provision(desired(first_boot_in_seconds=600)).status is Status.PROVISIONED
    assert [call for call, _ in seen] == ["access", "run", "access"]
    assert 500 < seen[0][1] <= 600
    assert seen[1][1] == 60
    assert 500 < seen[2][1] <= 600


def test_the_machine_is_what_the_service_plan_says(host: ScriptedHost) -> None:
    Run(host).provision()
    [spec] = host.claimed
    assert isinstance(spec, Order)
    assert (spec.size.vcpus, spec.size.memory_mib, spec.size.disk_gib) == (1, 512, 8)
    assert spec.name.startswith("cloudpc-")
    [machine] = host.machines()
    wanted = desired()
    assert spec.title == f"{wanted.device_name} (u-alice@contoso.example)"
    assert len(machine.tag.settings_hash) == 16
    made_with = json.loads(machine.tag.made_with)
    assert made_with["userPrincipalName"] == "u-alice@contoso.example"
    assert "desiredStatus" not in made_with, "what is as always takes no place in the tag"
    assert replace(machine.tag, attempt="", settings_hash="") == replace(
        machine.tag, installation=make.INSTALLATION, policy_id="lab", user_id="u-alice", service_plan_id="small",
        generation=1, device_name=wanted.device_name, phase=Phase.READY, attempt="", settings_hash="",
    )  # fmt: skip


def test_a_gigabyte_of_memory_has_1024_mib(host: ScriptedHost) -> None:
    Run(host).provision(_of_two_gb())
    assert host.claimed[0].size.memory_mib == 2048


def test_progress_says_which_attempt_it_is(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "start", "fault": "error", "times": 1}])
    run = Run(host)
    run.provision()
    again: Callable[[str], bool] = lambda line: line.endswith("(attempt 2 of 3)")  # noqa: E731
    assert [line for line in run.lines.steps if again(line)]
    assert run.lines.milestones == ["attempt 1 of 3 failed in starting: injected fault in start; next in 2 s"]
    assert run.lines.warnings == run.lines.milestones


def test_a_custom_image_is_told_to_remember_its_first_boot(host: ScriptedHost, tmp_path: Path) -> None:
    """Before anything else of the set-up; a guest that can't be told is handed over all the same."""
    host.configure(faults=[{"call": "run", "fault": "timeout", "times": 1}])
    outcome = Run(host).provision(desired(image_type="custom", packages=()))
    assert (outcome.status, outcome.attempts) == (Status.PROVISIONED, 1)
    assert host.calls.count("run") == 1


def test_cloud_init_remembers_its_first_boot(tmp_path: Path) -> None:
    def run() -> None:
        subprocess.run(extras.keep_first_boot(str(tmp_path)).script.argv, timeout=30, check=False)

    run()
    assert list(tmp_path.iterdir()) == [], "it has no cloud-init"
    instance = tmp_path / "var/lib/cloud/instances/i-1"
    (tmp_path / "etc/cloud").mkdir(parents=True)
    run()
    assert not (tmp_path / "var").exists()
    instance.mkdir(parents=True)
    (tmp_path / "var/lib/cloud/instance").symlink_to(instance)
    run()
    assert (instance / "manual-clean").exists(), "where ds-identify looks, which decides whether cloud-init runs at all"
    written = yaml.safe_load((tmp_path / "etc/cloud/cloud.cfg.d/99_cloudpc.cfg").read_text())
    assert written == {"manual_cache_clean": True, "ssh_deletekeys": False}
    [in_guest] = extras.wanted(make.settings(image_type="custom"), None)
    assert in_guest.script.arguments == ("",), "it is the root folder"


def _of_two_gb() -> DesiredCloudPC:
    wanted = desired()
    return wanted.model_copy(update={"service_plan": wanted.service_plan.model_copy(update={"ram_in_gb": 2})})


def test_what_would_fail_anywhere_is_seen_before_anything_is_removed(host: ScriptedHost) -> None:
    def resources(made: Image, script: Callable[[], bytes | None] = lambda: None) -> Resources:
        def find(watch: Watch) -> Image:
            watch.note("checking it")
            return made

        return Resources([host], find, script, guests.named)

    lines = Lines()
    pipeline.check_before(desired(), resources(image(minimum_memory_mib=512, disk_gib=8.0)), lines)
    assert lines.steps == ["image: checking it"]
    with pytest.raises(ProvisioningError, match="513 MiB of memory"):
        pipeline.check_before(desired(), resources(image(minimum_memory_mib=513)), lines)
    with pytest.raises(ProvisioningError, match=r"has a disk of 8\.1 GB"):
        pipeline.check_before(desired(), resources(image(disk_gib=8.1)), lines)
    with pytest.raises(ProvisioningError, match="2049 MiB of memory"):
        pipeline.check_before(_of_two_gb(), resources(image(minimum_memory_mib=2049)), lines)

    def gone() -> bytes:
        raise OSError("gone")

    with pytest.raises(ProvisioningError, match="unexpected OSError: gone"):
        pipeline.check_before(desired(), resources(image(), gone), lines)
    assert host.calls == []


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)"),
        (b"PRETTY_NAME=Small\n", "Small"),
        (b'PRETTY_NAME="\x1b[31mRed\xff\x1b[0m"\n', "Red\ufffd"),
        (b"PRETTY_NAME=" + b"x" * 100, "x" * 64),
        (b"NAME=x\n", ""),
        (None, ""),
    ],
)
def test_a_device_is_registered_with_what_its_guest_is(
    host: ScriptedHost, organisation: Organisation, tmp_path: Path, content: bytes | None, name: str
) -> None:
    host.facts = said(tmp_path, system=content, key=f"{_KEY} a comment".encode())
    run = Run(host)
    run.registration = organisation.registration()
    assert run.provision().status in USABLE
    [device] = organisation.devices.values()
    assert (device.operating_system, device.operating_system_version) == ("Linux", name)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows another time than UTC."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "XST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_what_is_kept_says_where_and_until_when(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted: list[UUID] = []
    original = host.delete

    def delete(identity: UUID, watch: Watch) -> Removed:
        deleted.append(identity)
        return original(identity, watch)

    monkeypatch.setattr(host, "delete", delete)
    host.configure(faults=[{"call": "start", "fault": "error"}])
    before = datetime.now(UTC)
    outcome = Run(host).provision()
    [log] = host.kept()
    until = datetime.fromtimestamp(int(log.stem.rpartition("-")[2]), UTC)
    assert before - timedelta(seconds=1) <= until - KEPT_FOR <= datetime.now(UTC)
    assert outcome.kept.endswith(f"{log.name} on local, until {until:%Y-%m-%d %H:%M} UTC")
    assert len(deleted) == 2, "what is kept of the third is not deleted after that"


def test_a_host_that_keeps_nothing_is_told_of_as_such(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.configure(faults=[{"call": "start", "fault": "error", "retriable": False}])
    monkeypatch.setattr(host, "keep_for_diagnosis", lambda _identity, _until: "")
    assert Run(host).provision().kept == ""
    assert host.things() == []


class Cloud(ScriptedHost):
    """Has nothing that not all hosts have."""

    keep_for_diagnosis = None


def test_on_a_host_that_keeps_nothing_for_diagnosis_a_failed_one_is_deleted(tmp_path: Path) -> None:
    host = Cloud(tmp_path, faults=[{"call": "wait_ready", "fault": "error", "retriable": False}])
    assert not isinstance(host, KeepsForDiagnosis)
    outcome = Run(host).provision()
    assert (outcome.status, outcome.kept) == (Status.FAILED, "")
    assert (host.things(), host.kept()) == ([], [])
