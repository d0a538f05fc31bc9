"""A remote action is one file and its place in a list: schema, configuration, plan and command know it from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import ValidationError
from typer.testing import CliRunner

from cloudpc.cli import actions, generations
from cloudpc.configuration.actions import model, traces
from cloudpc.iac import outputs
from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.problems import from_validation
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.reasons import Done, Ignored
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.lifecycle import next_step, reconcile
from cloudpc.rules.notices import UnknownKey
from cloudpc.rules.step import Step
from tests.fakes.added_action.hostname import Hostname, IsItsName, NewName
from tests.fakes.added_action.sign_out import SignOut

from . import make

OWED = Entitlement(make.user("u1", "small"), make.plan())
KEY = OWED.key


@pytest.fixture
def sign_out() -> Iterator[SignOut]:
    added = SignOut()
    ACTIONS.append(added)
    yield added
    ACTIONS.remove(added)


@pytest.fixture
def hostname() -> Iterator[Hostname]:
    added = Hostname()
    ACTIONS.append(added)
    yield added
    ACTIONS.remove(added)


def recorded(status: Status = Status.PROVISIONED) -> RecordedCloudPC:
    [desired] = reconcile({}, [OWED], {}, make.today(), make.NOW).desired
    return RecordedCloudPC(**desired.model_dump(), status=status)


def test_its_key_is_in_the_schema_and_its_values_are_read(sign_out: SignOut) -> None:
    field = model().model_json_schema()["properties"]["signOut"]
    assert field["description"] == sign_out.description
    given = model().model_validate({"signOut": {KEY: 2}})
    assert traces(given)["signOut"] == {KEY: 2}
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        model().model_validate({"signOut": {KEY: 0}})


def test_without_it_its_key_is_unknown() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        model().model_validate({"signOut": {KEY: 2}})


def test_it_is_told_and_done_once(sign_out: SignOut) -> None:
    today, before = make.today(actions={"signOut": {KEY: 2}}), recorded()
    plan = reconcile({KEY: before}, [OWED], {}, today, make.NOW)
    [desired] = plan.desired
    assert [notice.reason for notice in plan.notices] == [Done("signOut", sign_out.notice)]
    assert next_step(before, desired) is sign_out
    after = sign_out.after(before, desired)
    assert after.actions == {"signOut": 2}
    again = reconcile({KEY: after}, [OWED], {}, today, make.NOW)
    assert (again.notices, next_step(after, again.desired[0])) == ((), Step.NONE)


@pytest.mark.parametrize("status", [Status.FAILED, Status.PENDING_PROVISION])
def test_what_is_made_anew_has_spent_it(sign_out: SignOut, status: Status) -> None:
    today = make.today(actions={"signOut": {KEY: 2}, "retry": {KEY: 1}})
    before = recorded(status)
    [desired] = reconcile({KEY: before}, [OWED], {}, today, make.NOW).desired
    assert next_step(before, desired) is not sign_out
    assert desired.actions == {"signOut": 2}


def test_what_was_asked_for_before_state_was_lost_is_over(sign_out: SignOut) -> None:
    made, asked = recorded(), recorded().model_copy(update={"actions": {"signOut": 2}})
    assert sign_out.taken_back(made, asked).actions == {"signOut": 2}
    assert sign_out.taken_back(made, made) is made


def test_a_key_that_nobody_has_is_told(sign_out: SignOut) -> None:
    plan = reconcile({}, [], {}, make.today(actions={"signOut": {"u1/smal": 1}}), make.NOW)
    assert [notice.reason for notice in plan.notices] == [UnknownKey(sign_out.name, "u1/smal")]


def test_names_in_graph_are_graphs() -> None:
    contract = json.loads((Path(__file__).parents[1] / "contracts" / "graph-v1.0.json").read_text())
    paths = [path for path in contract["paths"] if "/cloudPCs/{cloudPC-id}/" in path]
    known = {path.rpartition("/")[2] for path in paths}
    named = {action.graph for action in ACTIONS if action.graph}
    assert named == {"reprovision", "endGracePeriod", "reboot", "rename", "troubleshoot"} <= known


def test_it_has_a_command(sign_out: SignOut) -> None:
    app = typer.Typer()
    actions.mount(app)
    shown = CliRunner().invoke(app, ["sign-out", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    assert "Sign out whoever works on Cloud PCs." in shown
    for option in ("--policy", "--service-plan", "--yes", "--write-only"):
        assert option in shown


# ---- with arguments


def asked(**values: object) -> dict[str, dict[str, NewName]]:
    return {"hostname": {KEY: NewName.model_validate({"generation": 2, "to": "ada", **values})}}


def wrong(value: object) -> list[str]:
    found = model()
    with pytest.raises(ValidationError) as error:
        found.model_validate({"hostname": {KEY: value}})
    return [f"{each.field}: {each.message}" for each in from_validation("", "cloudpc:actions", found, error.value)]


def test_arguments_stand_beside_the_generation(hostname: Hostname) -> None:
    schema = model().model_json_schema(by_alias=True)
    assert schema["properties"]["hostname"]["additionalProperties"] == {"$ref": "#/$defs/NewName"}
    fields = schema["$defs"]["NewName"]
    assert list(fields["properties"]) == ["generation", "to", "shownAs"]
    assert fields["required"] == ["generation", "to"]
    assert fields["properties"]["to"]["description"] == "The guest's name: up to 15 of a-z, 0-9 and -."
    given = model().model_validate({"hostname": {KEY: {"generation": 2, "to": "ada", "shownAs": "Ada"}}})
    assert traces(given)["hostname"] == asked(shownAs="Ada")["hostname"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2, ": must be {generation: ..., to: ..., shownAs: ...}: a number alone does not say with what"),
        ({"generation": 2}, ".to: is required"),
        ({"to": "ada"}, ".generation: is required"),
        ({"generation": 0, "to": "ada"}, ".generation: must be greater than or equal to 1"),
        ({"generation": 2, "to": "A d a"}, ".to: must match the pattern ^[a-z0-9-]{1,15}$"),
        ({"generation": 2, "to": "ada", "too": 1},
         ".too: is not a known field (did you mean 'to'?); allowed here: generation, shownAs, to"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_them_is_told_where_it_stands(hostname: Hostname, value: object, told: str) -> None:
    assert wrong(value) == [f"cloudpc:actions.hostname.{KEY}{told}"]


def test_an_action_without_them_takes_none(sign_out: SignOut) -> None:
    with pytest.raises(ValueError, match="valid integer"):
        model().model_validate({"signOut": {KEY: {"generation": 2}}})


@pytest.mark.parametrize(("written", "meant"), [(7, "7"), (True, "true"), ("007", "007")])
def test_text_is_read_as_the_engine_writes_it(hostname: Hostname, written: object, meant: str) -> None:
    given = model().model_validate({"hostname": {KEY: {"generation": 1, "to": written}}})
    assert traces(given)["hostname"][KEY].to == meant


def test_they_are_told_and_recorded_and_the_next_ones_take_their_place(hostname: Hostname) -> None:
    today, before = make.today(actions=asked(shownAs="Ada")), recorded()
    plan = reconcile({KEY: before}, [OWED], {}, today, make.NOW)
    [desired] = plan.desired
    assert [str(notice.reason) for notice in plan.notices] == ["its guest is to be called ada"]
    assert next_step(before, desired) is hostname
    through = DesiredCloudPC.model_validate(make.through_pulumi(outputs.pinned(desired)))
    assert hostname.given(through) == NewName.model_validate({"generation": 2, "to": "ada", "shownAs": "Ada"})
    after = hostname.after(before, through)
    assert after.action_arguments == {"hostname": {"to": "ada", "shownAs": "Ada"}}
    assert outputs.read(make.through_pulumi(outputs.written(after))) == after
    assert next_step(after, reconcile({KEY: after}, [OWED], {}, today, make.NOW).desired[0]) is Step.NONE
    later = make.today(actions=asked(generation=3, to="bob"))
    [other] = reconcile({KEY: after}, [OWED], {}, later, make.NOW).desired
    assert hostname.after(after, other).action_arguments == {"hostname": {"to": "bob"}}


def test_state_without_arguments_says_nothing_of_them() -> None:
    written = outputs.written(recorded())
    assert "actionArguments" not in written
    assert outputs.read(written).action_arguments == {}


def test_what_speaks_against_an_argument(hostname: Hostname) -> None:
    name = recorded().device_name.lower()
    plan = reconcile({KEY: recorded()}, [OWED], {}, make.today(actions=asked(to=name)), make.NOW)
    assert [notice.reason for notice in plan.notices] == [Ignored("hostname", str(IsItsName(name)))]
    assert plan.desired[0].action_arguments == {}


def test_arguments_of_what_is_made_anew_or_taken_back(hostname: Hostname) -> None:
    before, today = recorded(Status.FAILED), make.today(actions={**asked(), "retry": {KEY: 1}})
    [new] = reconcile({KEY: before}, [OWED], {}, today, make.NOW).desired
    assert (new.actions, new.action_arguments) == ({"hostname": 2}, {"hostname": {"to": "ada"}})
    assert hostname.taken_back(recorded(), new).action_arguments == {"hostname": {"to": "ada"}}
    kept = {"actions": new.actions, "action_arguments": new.action_arguments}
    again = hostname.spent(recorded(), recorded().model_copy(update=kept), None)
    assert (again.actions, again.action_arguments) == (new.actions, new.action_arguments)


def test_a_command_writes_them_above_what_stands_there(hostname: Hostname) -> None:
    written = hostname.asks(recorded(), {"generation": 4, "to": "bob"}, NewName(generation=1, to="ada"))
    assert written == NewName(generation=5, to="ada")
    assert not hostname.is_done(recorded(), written)


def test_its_command_has_them_as_options(hostname: Hostname) -> None:
    app, terminal = typer.Typer(), {"COLUMNS": "200", "NO_COLOR": "1"}
    actions.mount(app)
    shown = CliRunner().invoke(app, ["hostname", "--help"], env=terminal).output
    for said in ("--to", "[required]", "The guest's name", "--shown-as"):
        assert said in shown
    assert "Missing option '--to'" in CliRunner().invoke(app, ["hostname", "u1"], env=terminal).output
    refused = CliRunner().invoke(app, ["hostname", "u1", "--to", "A d a"], env=terminal).exception
    assert str(refused) == "--to: must match the pattern ^[a-z0-9-]{1,15}$"
    changed = CliRunner().invoke(app, ["hostname", "u1", "--to", "a", "--shown-as", "+49"], env=terminal).exception
    assert str(changed) == "--shown-as: the engine would write +49 as 49; write it into the file, in quotes"


@pytest.mark.parametrize(
    ("text", "otherwise"), [("+49", True), ("-07", True), ("-7", False), ("007", False), ("+a", False)]
)
def test_text_that_the_engine_would_change(text: str, otherwise: bool) -> None:
    assert generations.is_written_otherwise(text) is otherwise
