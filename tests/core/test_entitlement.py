"""Who is owed a Cloud PC: properties over directories and policies at random."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.directory.opening import names_of
from cloudpc.model.directory import Group, Snapshot
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules.entitlement import (
    Loss,
    Lost,
    NotOwed,
    assigned_groups,
    entitled,
    loss,
    names_written,
    not_provisioned,
)

from . import make

T = TypeVar("T")
_POLICIES = make.policies()


@given(make.snapshots(), _POLICIES)
def test_one_for_each_user_and_plan(snapshot: Snapshot, policies: dict[str, ProvisioningPolicy]) -> None:
    for policy in policies.values():
        keys = [e.key for e in entitled(policy, snapshot)]
        assert len(keys) == len(set(keys))


@given(make.snapshots(), _POLICIES)
def test_exactly_the_enabled_licensed_members(snapshot: Snapshot, policies: dict[str, ProvisioningPolicy]) -> None:
    for policy in policies.values():
        owed = {(e.user.id, e.service_plan.id) for e in entitled(policy, snapshot)}
        for user in snapshot.users.values():
            member = any(user.id in group.members for group in assigned_groups(policy, snapshot))
            for plan in snapshot.service_plans:
                licensed = plan in user.service_plans
                assert ((user.id, plan) in owed) == (member and licensed and user.account_enabled)
        assert {user for user, _ in owed} <= set(snapshot.users)


@given(make.snapshots(), _POLICIES)
def test_everybody_is_entitled_or_told_why_not_and_never_both(
    snapshot: Snapshot, policies: dict[str, ProvisioningPolicy]
) -> None:
    owed = {(e.user.id, e.service_plan.id) for policy in policies.values() for e in entitled(policy, snapshot)}
    explained = not_provisioned(policies, snapshot)
    by_user = {none.user.id: none for none in explained if none.service_plan is None}
    by_plan = {(none.user.id, none.service_plan.id): none for none in explained if none.service_plan is not None}
    assert len(explained) == len(by_user) + len(by_plan)  # each thing is explained once
    assert not owed & by_plan.keys()
    assert not {user for user, _ in owed} & by_user.keys()
    groups = {g.id: g for policy in policies.values() for g in assigned_groups(policy, snapshot)}
    for user in snapshot.users.values():
        member = any(user.id in group.members for group in groups.values())
        plans = [p for p in user.service_plans if p in snapshot.service_plans]
        if not member and not plans:
            assert user.id not in by_user
        if member and not plans:
            assert user.id in by_user
        for plan in plans:
            assert ((user.id, plan) in owed) + ((user.id, plan) in by_plan) + (user.id in by_user) == 1


@given(make.snapshots(), _POLICIES, st.randoms())
def test_the_order_of_things_means_nothing(
    snapshot: Snapshot, policies: dict[str, ProvisioningPolicy], chance: random.Random
) -> None:
    def shuffled(mapping: Mapping[str, T]) -> dict[str, T]:
        items = list(mapping.items())
        chance.shuffle(items)
        return dict(items)

    other = Snapshot(
        {i: replace(u, service_plans=tuple(reversed(u.service_plans))) for i, u in shuffled(snapshot.users).items()},
        shuffled(snapshot.groups),
        shuffled(snapshot.service_plans),
    )
    turned = {
        name: policy.model_copy(update={"assignments": list(reversed(policy.assignments))})
        for name, policy in shuffled(policies).items()
    }
    for name, policy in policies.items():
        assert {e.key for e in entitled(policy, snapshot)} == {e.key for e in entitled(turned[name], other)}

    def told(policies: dict[str, ProvisioningPolicy], snapshot: Snapshot) -> set[tuple[object, ...]]:
        return {
            (n.user.id, n.service_plan and n.service_plan.id, n.policy_id, n.code, n.message)
            for n in not_provisioned(policies, snapshot)
        }

    assert told(policies, snapshot) == told(turned, other)


def test_groups_in_groups_do_not_count() -> None:
    outer = Group("outer", "Outer", frozenset({"inner"}))
    inner = Group("inner", "Inner", frozenset({"u-alice"}))
    users = {"u-alice": make.user("u-alice", "small")}
    snapshot = Snapshot(users, {"outer": outer, "inner": inner}, {"small": make.plan()})
    assert entitled(make.policy("outer"), snapshot) == []
    assert [e.key for e in entitled(make.policy("inner"), snapshot)] == ["u-alice/small"]


def test_two_plans_give_two_cloud_pcs_and_two_groups_do_not() -> None:
    groups = {name: Group(name, name, frozenset({"u-alice"})) for name in ("a", "b")}
    users = {"u-alice": make.user("u-alice", "small", "big", "small")}
    snapshot = Snapshot(users, groups, {"small": make.plan(), "big": make.plan("big")})
    assert [e.key for e in entitled(make.policy("a", "b"), snapshot)] == ["u-alice/small", "u-alice/big"]


def test_a_group_is_found_by_id_before_display_name_and_never_by_an_ambiguous_one() -> None:
    groups = {
        "sales": Group("sales", "Marketing"),
        "g2": Group("g2", "sales"),
        "g3": Group("g3", "Twin"),
        "g4": Group("g4", "Twin"),
    }
    snapshot = Snapshot({}, groups, {})
    assert assigned_groups(make.policy("sales"), snapshot) == [groups["sales"]]
    assert assigned_groups(make.policy("Marketing"), snapshot) == [groups["sales"]]
    assert assigned_groups(make.policy("Twin"), snapshot) == []


def test_reasons() -> None:
    users = {
        u.id: u
        for u in (
            make.user("licensed", "small"),
            make.user("member"),
            make.user("disabled", "small", account_enabled=False),
            make.user("unlicensed", account_enabled=False),
            make.user("outside", "small", account_enabled=False),
            make.user("stranger"),
            make.user("stranger-disabled", account_enabled=False),
        )
    }
    members = frozenset({"member", "disabled", "unlicensed"})
    snapshot = Snapshot(users, {"g": Group("g", "G", members)}, {"small": make.plan()})
    told = {n.user.id: (n.code, n.policy_ids) for n in not_provisioned({"lab": make.policy("g")}, snapshot)}
    assert told == {
        "licensed": (NotOwed.LICENCE_WITHOUT_POLICY, ()),
        "member": (NotOwed.POLICY_WITHOUT_LICENCE, ("lab",)),
        "disabled": (NotOwed.ACCOUNT_DISABLED, ("lab",)),
        "unlicensed": (NotOwed.ACCOUNT_DISABLED, ("lab",)),
        "outside": (NotOwed.ACCOUNT_DISABLED, ()),
    }


# ---- why somebody is no longer owed one, case by case: the first reason that holds

_LAB, _OTHER, _GONE = Group("g-lab", "Lab", frozenset({"u1"})), Group("g-other", "Other", frozenset({"u2"})), "g-gone"


def _snapshot(*groups: Group, **changes: Any) -> Snapshot:
    users = {"u1": make.user("u1", "small", **changes), "u2": make.user("u2", "small")}
    return Snapshot(users, {group.id: group for group in groups}, {"small": make.plan()})


@pytest.mark.parametrize(
    ("policy", "snapshot", "former", "expected"),
    [
        (make.policy("g-lab"), Snapshot(), {}, Loss(Lost.DIRECTORY_ENTRY)),
        (
            make.policy("g-lab"),
            _snapshot(_LAB, account_enabled=False),
            {},
            Loss(Lost.ENABLED_ACCOUNT),
        ),
        (
            make.policy("g-other"),
            _snapshot(_LAB, _OTHER),
            {"g-lab": "Lab as it was", "g-other": "Other"},
            Loss(Lost.ASSIGNMENT, ("Lab",), taken_away=("g-lab",)),
        ),
        (
            make.policy(),
            _snapshot(_LAB, replace(_OTHER, members=frozenset({"u1", "u2"}))),
            {"g-lab": "Lab", "g-other": "Other", _GONE: "Gone"},
            Loss(Lost.ASSIGNMENT, ("Lab", "Other"), taken_away=("g-lab", "g-other")),
        ),
        (make.policy(), _snapshot(), None, Loss(Lost.ANY_ASSIGNMENT)),
        (make.policy(), _snapshot(_OTHER), {"g-other": "Other"}, Loss(Lost.ANY_ASSIGNMENT)),
        (make.policy("g-other"), _snapshot(_OTHER), {"g-other": "Other"}, Loss(Lost.MEMBERSHIP, ("Other",))),
        (
            make.policy("g-other", "g-third"),
            _snapshot(_OTHER, Group("g-third", "Third")),
            {_GONE: "Gone", "g-less": "Less"},
            Loss(Lost.MEMBERSHIP, ("Other", "Third"), gone=("Gone", "Less")),
        ),
        (
            make.policy("g-lab"),
            replace(_snapshot(_LAB), users={"u1": make.user("u1", "large")}),
            None,
            Loss(Lost.LICENCE, ("small",)),
        ),
        (make.policy("g-lab"), _snapshot(_LAB), {}, Loss(Lost.POLICY)),
        (make.policy("g-other", "g-lab"), _snapshot(_LAB, _OTHER), {}, Loss(Lost.POLICY)),
    ],
)
def test_why_one_is_not_owed_any_more(
    policy: ProvisioningPolicy, snapshot: Snapshot, former: dict[str, str] | None, expected: Loss
) -> None:
    assert loss(policy, snapshot, "u1", "small", former) == expected


def test_a_name_means_the_group_that_the_policy_has_had_under_it() -> None:
    first, second = Group("g1", "Old sales", frozenset({"u-alice"})), Group("g2", "Sales", frozenset({"u-bob"}))
    renamed = Snapshot({}, {"g1": first}, meant={"Sales": "g1"})
    assert assigned_groups(make.policy("Sales"), renamed) == [first]
    assert names_written(make.policy("Sales"), renamed) == {"g1": "Sales"}
    assert renamed.of_another_now("Sales") == []

    taken = Snapshot({}, {"g1": first, "g2": second}, meant={"Sales": "g1"})
    assert assigned_groups(make.policy("Sales"), taken) == [], "neither the one nor the other without a person's word"
    assert taken.of_another_now("Sales") == ["g2"]
    for id_, group in (("g1", first), ("g2", second), ("G1", None)):
        assert assigned_groups(make.policy(id_), taken) == ([group] if group else [])
    assert names_written(make.policy("g1", "g2"), taken) == {"g1": "Old sales", "g2": "Sales"}

    again = Group("g1", "Sales", frozenset({"u-alice"}))
    for twin in (Snapshot({}, {"g1": again, "g2": second}), Snapshot({}, {"g1": again}, hidden_groups={"g2": "Sales"})):
        known = replace(twin, meant={"Sales": "g1"})
        assert assigned_groups(make.policy("Sales"), known) == [again], "whoever may make groups stops no policy"
        assert known.of_another_now("Sales") == []

    gone = Snapshot({}, {"g2": second}, meant={"Sales": "g1"})
    assert (assigned_groups(make.policy("Sales"), gone), gone.of_another_now("Sales")) == ([], ["g2"])
    by_id = Snapshot({}, {"Sales": Group("Sales", "x"), "g1": first}, meant={"Sales": "g1"})
    assert by_id.of_another_now("Sales") == ["Sales"], "a new group with that id is another one, too"


def test_names_that_two_groups_had_or_that_are_ids_say_nothing() -> None:
    assert names_of({"g1": "Sales", "g2": "Twin", "g3": "Twin", "Lab": "x", "g4": "Lab"}) == {"Sales": "g1", "x": "Lab"}
