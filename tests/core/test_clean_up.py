"""What a failed attempt leaves: nothing, or what is kept for diagnosis; what can't be removed is reported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from cloudpc.model.abilities import KeepsForDiagnosis
from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Removed
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.provisioning.clean_up import KEPT_FOR

from .fake_rim import CALLS, IDENTITY, STAGES, Run, ScriptedHost, machines

every_call = pytest.mark.parametrize("call", CALLS)


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
