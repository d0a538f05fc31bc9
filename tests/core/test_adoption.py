"""What an earlier run left: a complete machine is taken, an unfinished one made again, a used one never touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase

from . import make
from .fake_rim import CALLS, IDENTITY, Run, ScriptedHost, desired, hand_over, machines


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


@pytest.mark.parametrize(
    "edited", [{"locale": "fr-FR"}, {"image_digest": "cd" * 32}, {"local_admin_enabled": True}, {"packages": ("vim",)}]
)
def test_an_edit_of_the_policy_does_not_make_a_complete_one_anew(host: ScriptedHost, edited: dict[str, Any]) -> None:
    """Its user may have signed in with a key of their own before the run was killed."""
    Run(host).provision(desired(locale="de-DE"))
    host.calls.clear()
    run = Run(host)
    taken = run.provision(desired(**{"locale": "de-DE", **edited}))
    assert host.calls == ["set_password", "finish ready", "finished ready"]
    assert taken.status is Status.PROVISIONED
    assert taken.desired is not None
    assert taken.desired.settings == desired(locale="de-DE").settings
    assert "before the policy was edited" in run.lines.milestones[0]


def test_nor_does_one_of_how_devices_are_named(host: ScriptedHost) -> None:
    first = desired()
    Run(host).provision(first)
    host.calls.clear()
    taken = Run(host).provision(first.model_copy(update={"device_name": "VDI-ALICE"}))
    assert "claim" not in host.calls
    assert taken.desired is not None
    assert taken.desired.device_name == first.device_name == host.machines()[0].tag.device_name


@pytest.mark.parametrize("phase", [Phase.READY, Phase.PROVISIONING])
def test_one_of_another_generation_or_half_made_is_made_anew(host: ScriptedHost, phase: Phase) -> None:
    Run(host).provision(desired(locale="de-DE"))
    host.finish(IDENTITY, phase)
    generation = 2 if phase is Phase.READY else 1
    host.calls.clear()
    made = Run(host).provision(desired(locale="fr-FR").model_copy(update={"generation": generation})).desired
    assert "claim" in host.calls
    assert made is not None
    assert (made.settings.locale, made.generation) == ("fr-FR", generation)


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
        # like SIGKILL: no clean-up reaches the host any longer
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
