"""One run's plan, from facts and directory to Cloud PCs: what each part of it is given by the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from cloudpc.model.cloud_pc import RecordedCloudPC, Status, StatusDetail
from cloudpc.model.directory import Group, Snapshot, User
from cloudpc.model.errors import ErrorCode
from cloudpc.rules import lifecycle
from cloudpc.rules.actions.reprovision import GenerationIsOver, NotInState, Reprovisioned
from cloudpc.rules.actions.retry import AttemptsAgain
from cloudpc.rules.drift import outdated
from cloudpc.rules.entitlement import Entitlement, Loss, Lost
from cloudpc.rules.lifecycle import Reconciliation, reconcile
from cloudpc.rules.notices import (
    BeginsGrace,
    GraceEnds,
    New,
    Notice,
    NotRemovedWhole,
    Reason,
    StandsStill,
    StillWaiting,
    UnknownKey,
)
from cloudpc.rules.ownership import PolicyFacts
from cloudpc.rules.today import Traces

from . import make

KEY = "u1/small"
HERS = Group("g", "G", frozenset({"u1"}))
EARLIER = make.NOW - timedelta(days=1)


def snapshot(*groups: Group, user: User | None = None) -> Snapshot:
    users = {"u1": user or make.user("u1", "small")}
    return Snapshot(users, {group.id: group for group in groups}, {"small": make.plan()})


def recorded(status: Status, **changes: Any) -> RecordedCloudPC:
    [desired] = reconcile({}, [Entitlement(make.user("u1"), make.plan())], {}, make.today(), make.NOW).desired
    detail = StatusDetail(code="bootTimeout", message="not ready") if status is Status.FAILED else None
    return RecordedCloudPC(**{**desired.model_dump(), "status": status, "status_detail": detail, **changes})


def plan(
    directory: Snapshot,
    mine: RecordedCloudPC | None = None,
    *siblings: PolicyFacts,
    assigned: Sequence[str] = ("g",),
    ended: Mapping[str, int] | None = None,
    actions: Traces | None = None,
    **more: Any,
) -> Reconciliation:
    own = PolicyFacts("lab", dict.fromkeys(assigned, make.NOW), {KEY: mine} if mine else {}, ended or {})
    today = make.today(actions=actions or {}, grace_period_in_hours=24)
    return lifecycle.plan(make.policy(*assigned), directory, own, siblings, today, make.NOW, **more)


def other(status: Status, **changes: Any) -> PolicyFacts:
    return PolicyFacts("other", {}, {KEY: recorded(status, policy_id="other", **changes)})


def only(result: Reconciliation) -> Reason:
    [notice] = result.notices
    return notice.reason


def begins_grace(why: Loss) -> BeginsGrace:
    return BeginsGrace(make.NOW + timedelta(hours=24), str(why))


# ---- who makes it


def test_a_new_one_is_made_where_nobody_else_has_one() -> None:
    [desired] = plan(snapshot(HERS)).desired
    assert (desired.key, desired.generation) == (KEY, 1)


@pytest.mark.parametrize(
    "sibling",
    [
        other(Status.PROVISIONED),  # it serves the user
        other(Status.DEPROVISIONING, leftovers=("its machine on far",)),  # and what it leaves keeps the place
        other(Status.IN_GRACE_PERIOD),
    ],
)
def test_none_is_made_where_another_policy_has_one(sibling: PolicyFacts) -> None:
    assert plan(snapshot(HERS), None, sibling).desired == ()


def test_one_that_another_has_removed_whole_is_in_nobodys_way() -> None:
    assert len(plan(snapshot(HERS), None, other(Status.DEPROVISIONING)).desired) == 1


def test_one_that_only_waits_gives_way_to_what_another_leaves_behind() -> None:
    left = other(Status.DEPROVISIONING, leftovers=("its machine on far",))
    [desired] = plan(snapshot(HERS), recorded(Status.PENDING_PROVISION), left).desired
    assert desired.desired_status is Status.DEPROVISIONING


def test_a_generation_that_has_ended_comes_once() -> None:
    [desired] = plan(snapshot(HERS), ended={KEY: 4}).desired
    assert desired.generation == 5
    [desired] = plan(snapshot(HERS), None, PolicyFacts("other", {}, {}, {KEY: 6})).desired
    assert desired.generation == 7


def test_actions_on_what_has_ended_are_no_slip() -> None:
    asked = make.asked({KEY: 2})
    assert plan(snapshot(Group("g", "G")), ended={KEY: 4}, actions=asked).notices == ()
    assert only(plan(snapshot(Group("g", "G")), actions=asked)) == UnknownKey("reprovision", KEY)


# ---- why it leaves


def test_who_left_the_group_is_told_with_its_name_and_counts_for_a_mass_loss() -> None:
    result = plan(snapshot(Group("g", "G")), recorded(Status.PROVISIONED), formerly_assigned={"g": "G"})
    assert only(result) == begins_grace(Loss(Lost.MEMBERSHIP, ("G",)))
    assert result.desired[0].why == "left group G"
    assert result.lost_by_directory == (KEY,)
    assert result.taken_away == {}


def test_who_has_no_licence_any_more_is_told_which() -> None:
    result = plan(snapshot(HERS, user=make.user("u1", "large")), recorded(Status.PROVISIONED))
    assert only(result) == begins_grace(Loss(Lost.LICENCE, ("small",)))


def test_whose_group_is_assigned_no_more_is_the_policys_doing_also_in_the_run_after() -> None:
    old = Group("old", "Old", frozenset({"u1"}))
    first = plan(snapshot(old, Group("g", "G")), recorded(Status.PROVISIONED), formerly_assigned={"old": "Old"})
    assert only(first) == begins_grace(Loss(Lost.ASSIGNMENT, ("Old",)))
    assert (first.lost_by_directory, first.taken_away) == ((), {KEY: ("old",)})
    # that run was killed when it had recorded its assignments, and nothing else
    mine, both = recorded(Status.PROVISIONED), snapshot(old, Group("g", "G"))
    again = plan(both, mine, formerly_assigned={"g": "G"}, taken_away={KEY: ["old"]})
    assert only(again) == begins_grace(Loss(Lost.ASSIGNMENT, ("Old",)))
    assert (again.lost_by_directory, again.taken_away) == ((), {KEY: ("old",)})
    others = plan(both, mine, taken_away={"u2/small": ["old"]})
    assert others.lost_by_directory == (KEY,)


def test_a_group_that_is_gone_has_the_name_it_had() -> None:
    gone = plan(snapshot(Group("g", "G")), recorded(Status.PROVISIONED), formerly_assigned={"old": "Old"})
    assert only(gone) == begins_grace(Loss(Lost.MEMBERSHIP, ("G",), gone=("Old",)))
    unnamed = plan(snapshot(Group("g", "G")), recorded(Status.PROVISIONED), taken_away={KEY: ["old"]})
    assert only(unnamed) == begins_grace(Loss(Lost.MEMBERSHIP, ("G",), gone=("another group",)))


def test_what_was_taken_away_stays_so_when_its_group_leaves_the_directory() -> None:
    """Or a preview would show that it is forgotten, and nothing that happens to anybody."""
    mine = recorded(Status.IN_GRACE_PERIOD)
    vanished = plan(snapshot(Group("g", "G")), mine, taken_away={KEY: ["old"]})
    assert (vanished.taken_away, vanished.lost_by_directory) == ({KEY: ("old",)}, ())
    returned = plan(snapshot(HERS), mine, taken_away={KEY: ["old"]})
    assert returned.taken_away == {}


def test_of_what_is_gone_nothing_is_remembered() -> None:
    old = Group("old", "Old", frozenset({"u1"}))
    mine = recorded(Status.DEPROVISIONING)
    assert plan(snapshot(old), mine, assigned=(), formerly_assigned={"old": "Old"}).taken_away == {}
    left = recorded(Status.DEPROVISIONING, leftovers=("its disk",))
    assert plan(snapshot(old), left, assigned=(), formerly_assigned={"old": "Old"}).taken_away == {KEY: ("old",)}


def test_who_has_left_the_directory_keeps_the_name_of_before() -> None:
    mine = recorded(Status.PROVISIONED)
    result = plan(Snapshot({}, {"g": Group("g", "G")}, {"small": make.plan()}), mine)
    assert only(result) == begins_grace(Loss(Lost.DIRECTORY_ENTRY))
    assert result.notices[0].who == "u1@contoso.example (Small)"


# ---- the words and the why of each end


def grace(**changes: Any) -> RecordedCloudPC:
    end = make.NOW + timedelta(hours=1)
    values = {"status_before_grace": Status.PROVISIONED, "grace_period_end_date_time": end, "why": "left group G"}
    return recorded(Status.IN_GRACE_PERIOD, **{**values, **changes})


@pytest.mark.parametrize(
    ("end", "asked", "why"),
    [
        (timedelta(hours=1), timedelta(hours=1), "ended by the admin; left group G"),
        (timedelta(0), timedelta(0), "grace period ended on 2026-11-24 09:00 UTC; left group G"),
        (timedelta(hours=-1), timedelta(hours=-1), "grace period ended on 2026-11-24 08:00 UTC; left group G"),
        (timedelta(0), None, "grace period ended on 2026-11-24 09:00 UTC; left group G"),
        (timedelta(hours=-1), timedelta(hours=1), "grace period ended on 2026-11-24 08:00 UTC; left group G"),
    ],
)
def test_why_a_grace_period_ends(end: timedelta, asked: timedelta | None, why: str) -> None:
    actions = make.asked(end_grace={} if asked is None else {KEY: make.NOW + asked})
    result = plan(snapshot(Group("g", "G")), grace(grace_period_end_date_time=make.NOW + end), actions=actions)
    [desired] = result.desired
    assert (desired.desired_status, desired.why) == (Status.DEPROVISIONING, why)
    reason = only(result)
    assert isinstance(reason, GraceEnds)
    assert reason.whole_why == why


@pytest.mark.parametrize(("asked", "told"), [(timedelta(minutes=1), 1), (timedelta(0), 0), (timedelta(hours=-1), 0)])
def test_an_end_of_grace_that_is_past_is_of_an_earlier_one(asked: timedelta, told: int) -> None:
    actions = make.asked(end_grace={KEY: make.NOW + asked})
    assert len(plan(snapshot(Group("g", "G")), grace(), actions=actions).notices) == told
    assert plan(snapshot(Group("g", "G")), grace(generation=2), actions=actions).notices == ()


def test_what_never_came_to_be_ends_with_its_reason() -> None:
    [desired] = plan(snapshot(Group("g", "G")), recorded(Status.FAILED)).desired
    assert (desired.desired_status, desired.why) == (Status.DEPROVISIONING, "left group G")


# ---- what is asked for


def test_a_reprovision_that_changes_no_setting_says_so_by_saying_none() -> None:
    result = plan(snapshot(HERS), recorded(Status.PROVISIONED), actions=make.asked({KEY: 2}))
    assert only(result) == Reprovisioned(loses_data=True)


def test_a_generation_that_is_over_is_a_warning() -> None:
    for over in ({"generation": 3}, {"waived_generation": 3}):
        result = plan(snapshot(HERS), recorded(Status.PROVISIONED, **over), actions=make.asked({KEY: 2}))
        [notice] = result.notices
        assert notice.warning
        assert notice.reason == GenerationIsOver(asked=2, over=3)


def test_one_whose_machine_state_does_not_know_is_not_made_anew_and_says_why_once() -> None:
    detail = StatusDetail(code=ErrorCode.MACHINE_NOT_IN_STATE, message="it is there")
    mine = recorded(Status.FAILED, status_detail=detail)
    assert plan(snapshot(HERS), mine).notices == ()
    assert plan(snapshot(HERS), mine, actions=make.asked({KEY: 1})).notices == ()
    result = plan(snapshot(HERS), mine, actions=make.asked({KEY: 2}))
    [notice], [desired] = result.notices, result.desired
    assert (notice.key, notice.warning) == (KEY, True)
    assert notice.reason == NotInState()
    assert (desired.generation, desired.waived_generation) == (1, 2)


def test_settings_that_are_no_words_are_named_alone() -> None:
    before = make.settings(packages=("git",))
    assert outdated(before, make.settings(packages=("git", "vim"), time_zone="Europe/Berlin")) == [
        "time zone UTC -> Europe/Berlin",
        "other packages",
    ]


# ---- what is told, and what goes on from one to the next


def test_a_new_one_is_told_with_its_image_and_is_of_the_generation_asked_for() -> None:
    result = plan(snapshot(HERS), actions=make.asked({KEY: 3}))
    [notice] = result.notices
    assert notice == Notice(KEY, New("micro"), "u1@contoso.example (Small)")
    assert result.desired[0].generation == 3


def test_an_unknown_key_is_told_as_itself_with_where_to_look() -> None:
    [notice] = plan(snapshot(Group("g", "G")), actions=make.asked({"u1/smal": 2})).notices
    assert (notice.key, notice.warning) == ("u1/smal", True)
    assert (notice.reason, notice.who) == (UnknownKey("reprovision", "u1/smal"), "")


def test_each_state_of_things_is_told() -> None:
    waits = recorded(Status.PENDING_PROVISION, status_detail=StatusDetail(code="noCapacity", message="No room."))
    assert only(plan(snapshot(HERS), waits)) == StillWaiting(Status.PENDING_PROVISION, "No room.")
    left = recorded(Status.DEPROVISIONING, leftovers=("its disk",))
    told = only(plan(snapshot(Group("g", "G")), left))
    assert told == NotRemovedWhole(("its disk",))
    again = plan(snapshot(HERS), recorded(Status.FAILED), actions=make.asked(retry={KEY: 1}))
    assert only(again) == AttemptsAgain()
    off = plan(snapshot(HERS), recorded(Status.PROVISIONED, power_state="poweredOff"))
    assert only(off) == StandsStill()
    assert not off.notices[0].warning


def test_what_was_asked_for_of_one_that_waits_stays_asked_for() -> None:
    mine = recorded(Status.PENDING_PROVISION, retry=2, waived_generation=3)
    [desired] = plan(snapshot(HERS), mine).desired
    assert (desired.retry, desired.waived_generation) == (2, 3)
    [desired] = plan(snapshot(HERS), recorded(Status.PENDING_PROVISION, waived_generation=1)).desired
    assert desired.waived_generation == 0, "what is reached is nothing to remember"
    [desired] = plan(snapshot(HERS), recorded(Status.PROVISIONED, retry=2), actions=make.asked({KEY: 2})).desired
    assert (desired.generation, desired.retry) == (2, 2)


def test_a_users_keys_reach_the_guest() -> None:
    [desired] = plan(snapshot(HERS, user=make.user("u1", "small", ssh_public_keys=("ssh-ed25519 AAAA u1",)))).desired
    assert desired.account.ssh_public_keys == ("ssh-ed25519 AAAA u1",)


def test_one_that_is_owed_is_meant_to_be_there_whatever_was_planned_before() -> None:
    [desired] = plan(snapshot(HERS), recorded(Status.PROVISIONED, desired_status=Status.DEPROVISIONING)).desired
    assert desired.desired_status is Status.PROVISIONED


def test_no_new_one_is_called_as_another_policys() -> None:
    alone = plan(snapshot(HERS)).desired[0].device_name
    policy = PolicyFacts("other", {}, {"u9/small": recorded(Status.PROVISIONED, user_id="u9", device_name=alone)})
    assert plan(snapshot(HERS), None, policy).desired[0].device_name != alone


def test_who_is_entitled_again_has_no_reason_to_leave_any_longer() -> None:
    before = recorded(Status.IN_GRACE_PERIOD, why="left group G", grace_period_end_date_time=make.NOW)
    [desired] = plan(snapshot(HERS), before).desired
    assert (desired.desired_status, desired.why) == (Status.PROVISIONED, "")
