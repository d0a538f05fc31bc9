"""A host that accepts a removal and is at it for a while: nobody waits for it, and each run looks again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.machines import Removed, State
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch

from .fake_rim import IDENTITY, Run, ScriptedHost, desired, machines


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
