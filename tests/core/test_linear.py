"""What commands and pages do for each Cloud PC of state, counted in calls of functions: no more for many than for few.

Calls don't depend on how busy a machine is. A comparison of each with each, or a list that is looked through for each,
shows as calls that grow with the square.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.iac.records import Resource, stack_record
from cloudpc.iac.type_tokens import CLOUD_PC
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.directory import Group
from cloudpc.model.directory import Snapshot as Directory
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules import lifecycle
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.ownership import PolicyFacts
from cloudpc.web.fleet import Snapshot, Today

from . import make

_FEW = 50


@cache
def _recorded(count: int) -> tuple[RecordedCloudPC, ...]:
    owed = [Entitlement(make.user(f"u{number}", "small"), make.plan()) for number in range(count)]
    plan = lifecycle.reconcile({}, owed, {}, make.today(), make.NOW)
    return tuple(RecordedCloudPC(**each.model_dump(), status=Status.PROVISIONED, host="h0") for each in plan.desired)


@cache
def _resources(count: int) -> Sequence[Resource]:
    outputs = [pc.model_dump(by_alias=True, mode="json") for pc in _recorded(count)]
    return [Resource(CLOUD_PC, f"urn::{number}", each) for number, each in enumerate(outputs)]


@cache
def _records(count: int) -> StackRecord:
    cloud_pcs = (CloudPCRecord("lab", pc, f"{pc.user_id}@contoso.example") for pc in _recorded(count))
    return StackRecord("lab", cloud_pcs=tuple(cloud_pcs))


def _listed(count: int) -> None:
    print_rows([cloud_pc.as_json() for cloud_pc in _records(count).cloud_pcs])


def _planned(count: int, *, leaving: bool = False) -> None:
    users = {pc.user_id: make.user(pc.user_id, "small") for pc in _recorded(count)}
    group = Group("g", "G", frozenset(() if leaving else users))
    directory = Directory(users, {"g": group}, {"small": make.plan()})
    own = PolicyFacts("lab", {"g": make.NOW}, {pc.key: pc for pc in _recorded(count)})
    other = PolicyFacts("hq", {}, {pc.key: pc for pc in _recorded(count)})
    lifecycle.plan(make.policy("g"), directory, own, [] if leaving else [other], make.today(), make.NOW)


def _paged(count: int) -> None:
    snapshot = Snapshot([_records(count)], {"lab": Today(settings=make.settings(locale="de-DE"))})
    assert len(snapshot.by_id) == sum(snapshot.counts.values()) == count
    assert all((row.why, row.place, row.searched, row.outdated) for row in snapshot.rows)


_DONE: dict[str, tuple[Callable[[int], object], int]] = {
    "read from state": (lambda count: stack_record("lab", _resources(count)), 150),
    "list": (_listed, 1000),
    "preview": (_planned, 450),
    "preview when all leave": (lambda count: _planned(count, leaving=True), 230),
    "pages": (_paged, 190),
}
"""What is done, and how many calls it may make for each Cloud PC: about half as many again as it does."""


def _calls(done: Callable[[int], object], count: int) -> int:
    found = 0

    def count_it(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count_it)
    try:
        done(count)
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("what", _DONE)
def test_each_takes_as_many_calls_however_many_there_are(what: str) -> None:
    done, at_most = _DONE[what]
    counts = [_FEW, 2 * _FEW, 4 * _FEW]
    for count in counts:
        done(count)  # what is kept for later is made now
    few, more, many = (_calls(done, count) for count in counts)
    first, then = (more - few) / _FEW, (many - more) / (2 * _FEW)
    assert then <= 1.1 * first
    assert then <= at_most
