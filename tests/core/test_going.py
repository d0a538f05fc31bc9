"""A host that accepts a removal and is at it for a while: nobody waits for it, and each run looks again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from fake_driver import FakeHostConfig

from cloudpc.cli import doctor_hosts
from cloudpc.cli.doctor_organisation import SeenOnHosts
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.machines import Removed, State
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.removal import Removal
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.provisioning.registration import Registration

from . import make
from .fake_rim import IDENTITY, Run, ScriptedHost, desired, hand_over, machines


class Slow(ScriptedHost):
    """Says that it is at it, until it is told to be done."""

    done = False

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:
        if self.done or self.describe(machine_id) is None:
            return super().delete(machine_id, watch)
        self._change(machine_id, lambda m: replace(m, tag=replace(m.tag, phase=Phase.GOING)))
        return Removed.GOING


@pytest.fixture
def host(tmp_path: Path) -> Slow:
    return Slow(tmp_path)


def test_one_that_is_made_anew_waits_for_the_one_of_before(host: Slow) -> None:
    Run(host).provision()
    host.delete(IDENTITY, Watch())
    assert [machine.state for machine in host.machines()] == [State.GOING]
    again = desired().model_copy(update={"generation": 2})
    waits = Run(host).provision(again)
    assert (waits.status, waits.attempts) == (Status.PENDING_PROVISION, 1)
    assert waits.error is not None
    assert waits.error.code is ErrorCode.MACHINE_GOING
    assert waits.error.message.endswith("on local is still being removed")
    host.done = True
    assert Run(host).provision(again).status is Status.PROVISIONED


def test_what_failed_is_told_before_what_is_still_going(host: Slow) -> None:
    host.configure(faults=[{"call": "start", "fault": "error", "times": 1}])
    failed = Run(host).provision()
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.code is ErrorCode.START_FAILED
    assert "is still being removed" in failed.remains
    assert machines([host]) == {"local": [Phase.GOING]}
    host.done = True
    assert Run(host).provision().status is Status.PROVISIONED


def _removal(host: ScriptedHost) -> Removal:
    nobody: Any = SimpleNamespace(registration=lambda _recorded=None: Registration())
    return Removal([host], nobody, Consent())


def _recorded() -> RecordedCloudPC:
    return RecordedCloudPC.model_validate({**desired().model_dump(), "status": Status.PROVISIONED, "host": "local"})


def test_what_ends_keeps_it_among_its_leftovers_until_it_is_gone(host: Slow) -> None:
    Run(host).provision()
    hand_over(host)
    for _run in range(2):
        [left] = _removal(host).remove(IDENTITY, _recorded())
        assert left.endswith("on local is still being removed")
    host.done = True
    assert _removal(host).remove(IDENTITY, _recorded()) == []
    assert host.things() == []


def test_it_keeps_nobody_from_making_another(host: Slow) -> None:
    Run(host).provision()
    hand_over(host)
    assert _removal(host).remove(IDENTITY, _recorded(), below=2) == []
    assert machines([host]) == {"local": [Phase.GOING]}


@pytest.mark.parametrize("living", [True, False])
def test_a_run_that_tidies_hands_it_to_nobody(host: Slow, *, living: bool) -> None:
    Run(host).provision()
    host.delete(IDENTITY, Watch())
    meant = Meant(make.INSTALLATION, "lab", {IDENTITY: _recorded()} if living else {})
    assert tidy([host], _removal(host), meant) == []
    assert machines([host]) == {"local": [Phase.GOING]}
    host.done = True
    assert len(tidy([host], _removal(host), meant)) == (not living)


def test_it_is_unfinished_business_and_nobodys_lost_machine(host: Slow) -> None:
    Run(host).provision()
    hand_over(host)
    host.delete(IDENTITY, Watch())
    [machine] = host.machines()
    assert Inventory().is_unfinished(machine)


def test_doctor_tells_of_it_and_asks_again(host: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(host).provision()
    host.delete(IDENTITY, Watch())
    monkeypatch.setattr(doctor_hosts, "connect", lambda _: host)
    config = FakeHostConfig(name="local", uri=host.folder.as_uri().replace("file:", "fake:", 1))

    def look(*, remove: bool) -> list[str]:
        ours = doctor_hosts.Ours([make.INSTALLATION], Inventory(), set(), remove=remove)
        left = doctor_hosts._host(config, ours, SeenOnHosts())
        return [check.detail for check in left if check.what.endswith("left over")]

    for remove in (False, True):
        [told] = look(remove=remove)
        assert told.endswith(" is being removed")
    host.done = True
    assert look(remove=True)[0].startswith("removed cloudpc-")
