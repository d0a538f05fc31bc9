"""Whose users are whose: the strongest claim, then who was assigned first, then the policy's id."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.directory import Group, Snapshot
from cloudpc.rules.ownership import PolicyFacts, held, owners

from . import make
from .test_plan import KEY, recorded

HERS = Group("g", "G", frozenset({"u1"}))
ALSO = Group("h", "H", frozenset({"u1"}))
SNAPSHOT = Snapshot({"u1": make.user("u1", "small")}, {"g": HERS, "h": ALSO}, {"small": make.plan()})
FIRST, THEN, LAST = make.NOW, make.NOW + timedelta(hours=1), make.NOW + timedelta(hours=2)


def facts(policy_id: str, *cloud_pcs: RecordedCloudPC, **assigned: object) -> PolicyFacts:
    return PolicyFacts(policy_id, assigned, {f"u1/{n}": each for n, each in enumerate(cloud_pcs)})  # type: ignore[arg-type]


def owner(*policies: PolicyFacts) -> str | None:
    found = owners(policies, SNAPSHOT)
    assert owners(reversed(policies), SNAPSHOT) == found
    return found.get("u1")


def test_the_first_assigned_to_any_group_of_hers() -> None:
    assert owner(facts("a", g=THEN), facts("b", g=FIRST)) == "b"
    assert owner(facts("a", g=FIRST, h=LAST), facts("b", h=THEN)) == "a"
    assert owner(facts("a", g=LAST, h=FIRST), facts("b", h=THEN)) == "a"
    assert owner(facts("b", g=FIRST), facts("a", g=FIRST)) == "a"


def test_a_group_that_is_gone_is_nobodys() -> None:
    assert owner(facts("a", gone=FIRST), facts("b", g=THEN)) == "b"
    assert owner(facts("a", gone=FIRST)) is None


@pytest.mark.parametrize("status", [Status.PENDING_PROVISION, Status.FAILED])
def test_who_has_tried_comes_before_who_has_not(status: Status) -> None:
    assert owner(facts("a", recorded(status), g=THEN), facts("b", g=FIRST)) == "a"
    assert owner(facts("a", recorded(Status.NOT_PROVISIONED), g=THEN), facts("b", g=FIRST)) == "b"


def test_a_policy_s_strongest_claim_counts_whichever_comes_last() -> None:
    works, waits = recorded(Status.PROVISIONED), recorded(Status.PENDING_PROVISION)
    for both in ((works, waits), (waits, works)):
        assert owner(facts("a", *both, g=LAST), facts("b", waits, g=FIRST)) == "a"


def test_of_two_that_work_one_without_an_assignment_comes_last() -> None:
    works = recorded(Status.PROVISIONED)
    assert owner(facts("a", works), facts("b", works, g=LAST)) == "b"
    assert owner(facts("b", works), facts("a", works)) == "a"


def test_what_is_not_removed_whole_is_still_held() -> None:
    left = recorded(Status.DEPROVISIONING, leftovers=("its disk",))
    for each, holds in ((left, True), (recorded(Status.DEPROVISIONING), False), (recorded(Status.FAILED), False)):
        assert held([PolicyFacts("a", {}, {KEY: each})]) == ({KEY: "a"} if holds else {})
