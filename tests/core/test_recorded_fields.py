"""Every field of state is read under the name that it was recorded by (tests/state/record_fields.py)."""

from __future__ import annotations

import ast
import inspect
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cloudpc.iac import outputs, stack_program
from cloudpc.iac.provider import CloudPCProvider, ProvisioningPolicyProvider
from cloudpc.iac.records import Resource, stack_record
from cloudpc.iac.type_tokens import CLOUD_PC, PROVISIONING_POLICY
from tests.state import record_fields

from . import make

RECORDS = sorted((Path(__file__).parents[1] / "state" / "fields").glob("*.json"))


def _models(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _models(each)


def _said(record: dict[str, Any]) -> dict[type[BaseModel], set[str]]:
    """Of each kind of value in state: the fields that are something else than their default, in some Cloud PC."""
    found: dict[type[BaseModel], set[str]] = defaultdict(set)
    for each in record["cloudPCs"]:
        for model in _models(outputs.read(make.through_pulumi(each))):
            fields = type(model).model_fields
            found[type(model)] |= {name for name, field in fields.items() if getattr(model, name) != field.default}
    return found


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def record(request: pytest.FixtureRequest) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(request.param).read_text())
    return read


def test_all_that_was_recorded_is_read_and_written_under_its_name(record: dict[str, Any]) -> None:
    for each in record["cloudPCs"]:
        read = outputs.read(each)
        assert not read.model_extra, "a field that was renamed, or that nothing reads any more"
        assert outputs.written(read) == each


def test_the_newest_record_has_every_field() -> None:
    """One that is missing is new: `python -m tests.state.record_fields` writes a record with it."""
    said = _said(json.loads(RECORDS[-1].read_text()))
    missing = {model.__name__: sorted(model.model_fields.keys() - names) for model, names in said.items()}
    literal = {"protocol"}  # of a way in: each has its own, which is its default
    assert not {name: left for name, fields in missing.items() if (left := set(fields) - literal)}


def test_the_newest_record_is_what_this_version_writes() -> None:
    record = json.loads(RECORDS[-1].read_text())
    assert record["cloudPCs"] == [outputs.written(record_fields.cloud_pc(way)) for way in record_fields._WAYS]


def test_what_was_recorded_of_a_policy_is_read(record: dict[str, Any]) -> None:
    policy = record["policy"]
    read = stack_record("demo", [Resource(PROVISIONING_POLICY, "urn", make.through_pulumi(policy))])
    assert read.installation == policy["installation"]
    assert read.policies == {"demo": "urn"}
    assert read.assigned == {"staff": record_fields.AT}
    assert read.group_names == {"staff": "Staff"}
    assert read.taken_away == {"u-alice/LAB": ("staff",)}
    [ended] = read.ended
    assert (ended.key, ended.user_principal_name, ended.device_name, ended.generation, ended.event) == (
        *(policy["ended"][0][name] for name in ("key", "userPrincipalName", "deviceName")),
        2,
        policy["ended"][0]["event"],
    )


def test_the_record_of_a_policy_has_what_a_run_writes() -> None:
    source = ast.parse(inspect.getsource(stack_program._policy_props))
    [written] = [node.value for node in ast.walk(source) if isinstance(node, ast.Return)]
    assert isinstance(written, ast.Dict)
    names = {key.value for key in written.keys if isinstance(key, ast.Constant)}
    assert names | {"policyId"} == json.loads(RECORDS[-1].read_text())["policy"].keys()


def test_the_provider_s_module_and_the_types_of_resources_are_state() -> None:
    assert (CLOUD_PC, PROVISIONING_POLICY) == (
        "pulumi-python:dynamic/cloudpc:CloudPC", "pulumi-python:dynamic/cloudpc:ProvisioningPolicy",
    )  # fmt: skip
    assert {each.__module__ for each in (CloudPCProvider, ProvisioningPolicyProvider)} == {"cloudpc.iac.provider"}
