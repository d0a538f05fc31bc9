"""A remote action is one file and its place in a list: schema, configuration, plan and command know it from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cloudpc.cli import actions
from cloudpc.configuration.actions import model, traces
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Done
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.lifecycle import next_step, reconcile
from cloudpc.rules.notices import UnknownKey
from cloudpc.rules.step import Step
from tests.fakes.added_action.restart import Restart

from . import make

OWED = Entitlement(make.user("u1", "small"), make.plan())
KEY = OWED.key


@pytest.fixture
def restart() -> Iterator[Restart]:
    added = Restart()
    ACTIONS.append(added)
    yield added
    ACTIONS.remove(added)


def recorded(status: Status = Status.PROVISIONED) -> RecordedCloudPC:
    [desired] = reconcile({}, [OWED], {}, make.today(), make.NOW).desired
    return RecordedCloudPC(**desired.model_dump(), status=status)


def test_its_key_is_in_the_schema_and_its_values_are_read(restart: Restart) -> None:
    field = model().model_json_schema()["properties"]["restart"]
    assert field["description"] == restart.description
    given = model().model_validate({"restart": {KEY: 2}})
    assert traces(given)["restart"] == {KEY: 2}
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        model().model_validate({"restart": {KEY: 0}})


def test_without_it_its_key_is_unknown() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        model().model_validate({"restart": {KEY: 2}})


def test_it_is_told_and_done_once(restart: Restart) -> None:
    today, before = make.today(actions={"restart": {KEY: 2}}), recorded()
    plan = reconcile({KEY: before}, [OWED], {}, today, make.NOW)
    [desired] = plan.desired
    assert [notice.reason for notice in plan.notices] == [Done("restart", restart.notice)]
    assert next_step(before, desired) is restart
    after = restart.after(before, desired)
    assert after.actions == {"restart": 2}
    again = reconcile({KEY: after}, [OWED], {}, today, make.NOW)
    assert (again.notices, next_step(after, again.desired[0])) == ((), Step.NONE)


@pytest.mark.parametrize("status", [Status.FAILED, Status.PENDING_PROVISION])
def test_what_is_made_anew_has_spent_it(restart: Restart, status: Status) -> None:
    today = make.today(actions={"restart": {KEY: 2}, "retry": {KEY: 1}})
    before = recorded(status)
    [desired] = reconcile({KEY: before}, [OWED], {}, today, make.NOW).desired
    assert next_step(before, desired) is not restart
    assert desired.actions == {"restart": 2}


def test_what_was_asked_for_before_state_was_lost_is_over(restart: Restart) -> None:
    made, asked = recorded(), recorded().model_copy(update={"actions": {"restart": 2}})
    assert restart.taken_back(made, asked).actions == {"restart": 2}
    assert restart.taken_back(made, made) is made


def test_a_key_that_nobody_has_is_told(restart: Restart) -> None:
    plan = reconcile({}, [], {}, make.today(actions={"restart": {"u1/smal": 1}}), make.NOW)
    assert [notice.reason for notice in plan.notices] == [UnknownKey(restart.name, "u1/smal")]


def test_names_in_graph_are_graphs(restart: Restart) -> None:
    contract = json.loads((Path(__file__).parents[1] / "contracts" / "graph-v1.0.json").read_text())
    paths = [path for path in contract["paths"] if "/cloudPCs/{cloudPC-id}/" in path]
    known = {path.rpartition("/")[2] for path in paths}
    assert {action.graph for action in ACTIONS if action.graph} == {"reprovision", "endGracePeriod", "reboot"} <= known


def test_it_has_a_command(restart: Restart) -> None:
    app = typer.Typer()
    actions.mount(app)
    shown = CliRunner().invoke(app, ["restart", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    assert "Restart the guests of Cloud PCs." in shown
    for option in ("--policy", "--service-plan", "--yes", "--write-only"):
        assert option in shown
