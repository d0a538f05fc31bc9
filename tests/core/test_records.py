"""One reader of state: what a run sees of it, and what commands do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloudpc.iac.engine import EngineError
from cloudpc.iac.records import Resource, StateError, ended_outputs, stack_record
from cloudpc.model.machines import Amount, Machine, PowerState
from cloudpc.model.tags import Phase, Tag
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.records import EndedRecord, StackRecord

RECORD = json.loads((Path(__file__).parents[1] / "state" / "2026-11-29.json").read_text())
RESOURCES: list[dict[str, Any]] = RECORD["state"]["deployment"]["resources"]


def _read(*, inputs: bool = True, **changes: Any) -> StackRecord:
    """The recorded stack; with other outputs of its Cloud PCs."""
    return stack_record(
        "demo",
        [
            Resource(
                r["type"],
                r["urn"],
                {**r.get("outputs", {}), **(changes if r["type"].endswith(":CloudPC") else {})},
                r.get("inputs", {}) if inputs else {},
            )
            for r in RESOURCES
        ],
    )


def test_a_run_and_commands_read_the_same() -> None:
    assert _read(inputs=False) == _read()
    record = _read()
    assert record.has_run
    assert len(record.cloud_pcs) == 9
    assert record.installation == record.cloud_pcs[0].recorded.installation
    assert list(record.assigned) == ["everybody"]
    assert all(c.recorded.credentials is None for c in record.cloud_pcs), "sealed"


def test_what_can_not_be_read_is_told_by_each_command_as_by_a_run() -> None:
    with pytest.raises(EngineError, match="in a form that this version can't read: status") as told:
        _read(status="hibernating")
    assert isinstance(told.value, StateError)


def test_an_ended_one_is_remembered_once() -> None:
    ends = _read(status="deprovisioning", leftovers=[])
    assert len(ends.newly_ended) == 9
    policy = next(r for r in RESOURCES if r["type"].endswith(":ProvisioningPolicy"))
    entries = [ended_outputs(ended) for ended in ends.newly_ended]
    again = stack_record("demo", [Resource(policy["type"], policy["urn"], {**policy["outputs"], "ended": entries})])
    assert again.ended == ends.newly_ended
    assert again.facts({}).ended == {ended.key: ended.generation for ended in ends.newly_ended}
    assert EndedRecord.of("demo", ends.cloud_pcs[0].recorded) in again.ended


def _machine(record: StackRecord, user: str, phase: Phase, policy: str = "demo") -> Machine:
    pc = next((c.recorded for c in record.cloud_pcs if c.user_id == user), record.cloud_pcs[0].recorded)
    tag = Tag(pc.installation, policy, user, pc.service_plan.id, pc.generation, pc.device_name, "", phase=phase)
    return Machine(tag.machine_id, f"cloudpc-{user}", tag, PowerState.RUNNING, Amount(1, 512, 8))


@pytest.mark.parametrize(
    ("user", "phase", "policy", "lost", "unfinished"),
    [
        ("well", Phase.HANDED_OVER, "demo", False, False),
        ("nobody", Phase.HANDED_OVER, "demo", True, False),
        ("nobody", Phase.PROVISIONING, "demo", False, True),
        ("nobody", Phase.PROVISIONING, "theirs", False, False),
        ("nobody", Phase.READY, "demo", False, False),
        ("fails", Phase.READY, "demo", False, True),
    ],
)
def test_a_machine_is_known_lost_unfinished_or_somebody_elses(
    user: str, phase: Phase, policy: str, lost: bool, unfinished: bool
) -> None:
    record = _read()
    inventory, machine = Inventory.of([record]), _machine(record, user, phase, policy)
    assert (inventory.is_lost(machine), inventory.is_unfinished(machine)) == (lost, unfinished)
    assert inventory.is_strange(machine) is (user == "nobody" and not unfinished)
