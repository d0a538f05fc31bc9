"""After a run that has written its state at its end: what state has is its users' now, and nothing else is marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.tags import Phase
from cloudpc.operations.handing_over import hand_over

from .fake_rim import Run, ScriptedHost, desired, machines


def _recorded(**changed: Any) -> RecordedCloudPC:
    pc = RecordedCloudPC(**desired().model_dump(), status=Status.PROVISIONED, host="local")
    return pc.model_copy(update=changed)


def test_what_state_has_is_handed_over(host: ScriptedHost) -> None:
    Run(host).provision()
    assert hand_over([host], [_recorded()], print) == 0
    assert machines([host]) == {"local": [Phase.HANDED_OVER]}
    host.calls.clear()
    assert hand_over([host], [_recorded()], print) == 0
    assert host.calls == [], "it says so itself"


@pytest.mark.parametrize("changed", [{"generation": 2}, {"policy_id": "another"}])
def test_a_machine_that_is_another_by_now_is_left_to_its_run(host: ScriptedHost, changed: dict[str, Any]) -> None:
    Run(host).provision()
    assert hand_over([host], [_recorded(**changed)], print) == 0
    assert machines([host]) == {"local": [Phase.READY]}


def test_what_can_not_be_reached_is_counted_and_stops_nobody(tmp_path: Path) -> None:
    away, host = ScriptedHost(tmp_path, "away"), ScriptedHost(tmp_path)
    Run(host).provision()
    away.away = True
    gone = [_recorded(host="away"), _recorded(host="not configured")]
    assert hand_over([away, host], [*gone, _recorded()], print) == 2
    assert machines([host]) == {"local": [Phase.HANDED_OVER]}


def test_whatever_is_wrong_with_a_driver_it_is_the_next_runs_turn(host: ScriptedHost) -> None:
    Run(host).provision()
    host.configure(faults=[{"call": "finish handedOver", "fault": "crash"}])
    assert hand_over([host], [_recorded()], print) == 1
