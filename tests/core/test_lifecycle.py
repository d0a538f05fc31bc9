"""What the lifecycle decides, case by case; whole histories are in test_world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model import naming
from cloudpc.model.cloud_pc import (
    LEAVING,
    USABLE,
    Before,
    DesiredCloudPC,
    PinnedScript,
    PolicySettings,
    RecordedCloudPC,
    Status,
    StatusDetail,
)
from cloudpc.model.digest import digest
from cloudpc.model.directory import Group, Snapshot
from cloudpc.model.errors import EXTRAS, ErrorCode
from cloudpc.rules import lifecycle, ownership
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.end_grace import AnotherEnd
from cloudpc.rules.actions.reasons import Done, Ignored
from cloudpc.rules.actions.reprovision import REPROVISION, GenerationIsOver, Reprovisioned
from cloudpc.rules.actions.retry import RETRY, IsLost, SetUpAgain
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL, NoForm, OtherImage
from cloudpc.rules.drift import outdated
from cloudpc.rules.entitlement import Entitlement, Loss, Lost
from cloudpc.rules.lifecycle import Reconciliation, next_step, reconcile
from cloudpc.rules.notices import (
    BeginsGrace,
    EndsUnused,
    EntitledAgain,
    GraceEnds,
    NewByNextRun,
    Reason,
    StandsStill,
    StillWaiting,
    UnknownKey,
)
from cloudpc.rules.ownership import PolicyFacts
from cloudpc.rules.step import Step
from cloudpc.rules.today import Today, Traces

from . import make

_SETTINGS = st.builds(
    make.settings,
    image_digest=st.sampled_from(["aa", "bb"]),
    locale=st.sampled_from(["en-US", "de-DE"]),
    packages=st.sampled_from([(), ("git",)]),
    script=st.none() | st.builds(PinnedScript, path=st.just("setup.sh"), sha256=st.sampled_from(["11", "22"])),
    first_boot_in_seconds=st.sampled_from([60, 60.5, 900]),
)
_WAITING = {Status.NOT_PROVISIONED, Status.PENDING_PROVISION}


LEFT = Loss(Lost.MEMBERSHIP, ("Lab",))


def outputs_of(desired: DesiredCloudPC, status: Status) -> dict[str, Any]:
    """What a provider records: what was asked for, and what came of it, through Pulumi's JSON."""
    detail = {"code": "bootTimeout", "message": "not ready"} if status not in USABLE else None
    values = desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)
    values |= {"status": status.value, "host": "local", "attempts": 1} | ({"statusDetail": detail} if detail else {})
    again: dict[str, Any] = make.through_pulumi(values)
    return again


def _plan(
    recorded: Mapping[str, RecordedCloudPC],
    owed: Sequence[Entitlement],
    *,
    today: Today | None = None,
    now: datetime = make.NOW,
    last_generations: Mapping[str, int] | None = None,
    remembered: Iterable[str] = (),
) -> Reconciliation:
    lost = dict.fromkeys(recorded, LEFT)
    return reconcile(recorded, owed, lost, today or make.today(), now, last_generations, remembered)


# ---- single steps, by name


def _entitlement(user_id: str = "u1", **changes: Any) -> Entitlement:
    return Entitlement(make.user(user_id, "small", **changes), make.plan())


def _recorded(status: Status, entitlement: Entitlement | None = None, **changes: Any) -> dict[str, RecordedCloudPC]:
    [desired] = _plan({}, [entitlement or _entitlement()]).desired
    recorded = RecordedCloudPC.model_validate(outputs_of(desired, status)).model_copy(update=changes)
    return {recorded.key: recorded}


def _told(plan: Reconciliation) -> list[Reason]:
    return [notice.reason for notice in plan.notices]


def test_a_new_cloud_pc_is_made_with_todays_policy() -> None:
    today = make.today(settings=make.settings(locale="de-DE"))
    [desired] = _plan({}, [_entitlement()], today=today).desired
    assert desired.settings.locale == "de-DE"
    assert desired.account.name == "u1"
    assert desired.desired_status is Status.PROVISIONED
    assert desired.generation == 1


def test_a_waiting_one_is_tried_again_with_todays_policy_and_keeps_its_name() -> None:
    recorded = _recorded(Status.PENDING_PROVISION)
    plan = _plan(recorded, [_entitlement()], today=make.today(settings=make.settings(locale="de-DE")))
    assert plan.desired[0].settings.locale == "de-DE"
    assert plan.desired[0].device_name == recorded["u1/small"].device_name
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.PROVISION
    assert _told(plan) == [StillWaiting(Status.PENDING_PROVISION, "not ready")]
    assert plan.notices[0].who == "u1@contoso.example (Small)"


def test_what_never_came_to_be_ends_at_once_without_grace() -> None:
    for status in (Status.PENDING_PROVISION, Status.NOT_PROVISIONED, Status.FAILED):
        recorded = _recorded(status)
        plan = _plan(recorded, [])
        assert plan.desired[0].desired_status is Status.DEPROVISIONING
        assert next_step(recorded["u1/small"], plan.desired[0]) is Step.END
        assert _told(plan) == [EndsUnused(status, str(LEFT))]


# ---- grace


def test_who_is_no_longer_entitled_gets_a_grace_period_and_is_told_until_when_and_why() -> None:
    recorded = _recorded(Status.PROVISIONED)
    plan = _plan(recorded, [], today=make.today(grace_period_in_hours=24))
    [desired] = plan.desired
    assert next_step(recorded["u1/small"], desired) is Step.BEGIN_GRACE
    assert desired.grace_period_end_date_time == make.NOW + timedelta(hours=24)
    assert _told(plan) == [BeginsGrace(make.NOW + timedelta(hours=24), str(LEFT))]
    assert plan.lost_by_directory == ("u1/small",)


def _in_grace(hours: float = 24) -> dict[str, RecordedCloudPC]:
    changes = {"grace_period_end_date_time": make.NOW + timedelta(hours=hours), "why": "left group Lab"}
    return _recorded(Status.IN_GRACE_PERIOD, status_before_grace=Status.PROVISIONED_WITH_WARNINGS, **changes)


def test_grace_is_kept_until_it_is_over() -> None:
    recorded = _in_grace()
    plan = _plan(recorded, [], now=make.NOW + timedelta(hours=23.9))
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.NONE
    assert plan.notices == ()
    over = _plan(recorded, [], now=make.NOW + timedelta(hours=24))
    assert next_step(recorded["u1/small"], over.desired[0]) is Step.END
    assert _told(over) == [GraceEnds("left group Lab", make.NOW + timedelta(hours=24))]


def test_one_that_is_lost_in_its_grace_gives_its_policy_the_user_no_more_than_before() -> None:
    """Else the policy that serves the user by now would take away what it has made."""
    snapshot = Snapshot({}, {}, {})
    lost = {
        "status": Status.FAILED,
        "status_detail": StatusDetail(code=ErrorCode.MACHINE_LOST, message="gone"),
        "before_loss": Before(status=Status.IN_GRACE_PERIOD),
    }
    [before] = _in_grace().values()
    after = before.model_copy(update=lost)
    other = before.model_copy(update={"status": Status.PROVISIONED})
    for small in (before, after):
        facts = [PolicyFacts("a", {}, {"u1/small": small}), PolicyFacts("b", {}, {"u1/big": other})]
        assert ownership.owners(facts, snapshot) == {"u1": "b"}
        assert ownership.held(facts) == {"u1/small": "a", "u1/big": "b"}
    used = after.model_copy(update={"before_loss": Before(status=Status.PROVISIONED)})
    assert ownership.owners([PolicyFacts("a", {}, {"u1/small": used})], snapshot) == {"u1": "a"}


def test_who_works_on_one_keeps_its_policy_whatever_another_has_tried() -> None:
    """Two runs at once may leave a policy with a machine, and another, assigned earlier, with what failed or waits."""
    [has] = _recorded(Status.PROVISIONED).values()
    group = Group("g", "G", frozenset({"u1"}))
    snapshot = Snapshot({"u1": make.user("u1", "small", "big")}, {"g": group}, {"small": make.plan()})
    plan = has.service_plan.model_copy(update={"id": "big"})
    works = PolicyFacts("b", {"g": make.NOW}, {has.key: has})
    for status in (Status.FAILED, Status.PENDING_PROVISION, Status.NOT_PROVISIONED):
        tried = has.model_copy(update={"status": status, "service_plan": plan})
        earlier = PolicyFacts("a", {"g": make.NOW - timedelta(hours=1)}, {tried.key: tried})
        assert ownership.owners([earlier, works], snapshot) == {"u1": "b"}
        assert ownership.held([earlier, works]) == {"u1/small": "b"}
    also = has.model_copy(update={"service_plan": plan})
    earlier = PolicyFacts("a", {"g": make.NOW - timedelta(hours=1)}, {also.key: also})
    assert ownership.owners([earlier, works], snapshot) == {"u1": "a"}, "of two that work, the first assigned"


def test_who_returns_in_time_has_it_back_whatever_was_assigned_earlier_meanwhile() -> None:
    [kept] = _in_grace().values()
    group = Group("g", "G", frozenset({"u1"}))
    snapshot = Snapshot({"u1": make.user("u1", "small")}, {"g": group}, {"small": make.plan()})
    earlier = PolicyFacts("a", {"g": make.NOW - timedelta(hours=1)}, {})
    assert ownership.owners([PolicyFacts("b", {"g": make.NOW}, {kept.key: kept}), earlier], snapshot) == {"u1": "b"}
    # nor does one that no longer targets the user keep others waiting longer than its grace
    assert ownership.owners([PolicyFacts("b", {}, {kept.key: kept}), earlier], snapshot) == {"u1": "a"}
    lost = {
        "status_detail": StatusDetail(code=ErrorCode.MACHINE_LOST, message="gone"),
        "before_loss": Before(status=kept.status),
    }
    gone = kept.model_copy(update={"status": Status.FAILED, **lost})
    assert ownership.owners([PolicyFacts("b", {"g": make.NOW}, {gone.key: gone}), earlier], snapshot) == {"u1": "a"}


def test_of_two_that_have_made_one_the_first_assigned_goes_on() -> None:
    """After first runs at the same time, of different service plans."""
    [small] = _recorded(Status.PROVISIONED).values()
    snapshot = Snapshot({}, {"g": Group("g", "G", frozenset({"u1"}))}, {})
    later, first = make.NOW, make.NOW - timedelta(hours=1)
    facts = [PolicyFacts("a", {"g": later}, {"u1/small": small}), PolicyFacts("b", {"g": first}, {"u1/big": small})]
    assert ownership.owners(facts, snapshot) == {"u1": "b"}


def test_no_generation_comes_twice_whichever_policy_made_it() -> None:
    [present] = _recorded(Status.FAILED, generation=3).values()
    waits = present.model_copy(update={"status": Status.NOT_PROVISIONED, "generation": 9})
    facts = [PolicyFacts("a", {}, {present.key: present}), PolicyFacts("b", {}, {}, {present.key: 2, "u2/big": 5})]
    facts.append(PolicyFacts("c", {}, {waits.key: waits}))
    assert ownership.last_generations(facts) == {"u1/small": 3, "u2/big": 5}


@pytest.mark.parametrize("status", [Status.PROVISIONED, Status.IN_GRACE_PERIOD])
def test_what_is_left_of_anothers_entry_takes_nobody_the_one_they_work_on(status: Status) -> None:
    [held] = _recorded(status).values()
    left = {held.key: held.model_copy(update={"status": Status.DEPROVISIONING, "leftovers": ("its machine on far",)})}
    own = PolicyFacts("lab", {"g": make.NOW}, {held.key: held})
    sibling = PolicyFacts("other", {"g": make.NOW + timedelta(hours=1)}, left)
    group = Group("g", "G", frozenset({"u1"}))
    snapshot = Snapshot({"u1": make.user("u1", "small")}, {"g": group}, {"small": make.plan()})
    planned = lifecycle.plan(make.policy("g"), snapshot, own, [sibling], make.today(), make.NOW)
    assert [desired.desired_status for desired in planned.desired] == [Status.PROVISIONED]


def test_one_that_a_refresh_found_well_after_it_was_planned_to_end_has_its_grace_first() -> None:
    [lost] = _recorded(Status.FAILED, status_detail=StatusDetail(code=ErrorCode.MACHINE_LOST, message="gone")).values()
    [ends] = reconcile({lost.key: lost}, [], {lost.key: LEFT}, make.today(), make.NOW).desired
    assert next_step(lost, ends) is Step.END
    for status in USABLE:
        assert next_step(lost.model_copy(update={"status": status, "status_detail": None}), ends) is Step.NONE


def test_grace_can_be_ended_early_but_only_this_one() -> None:
    recorded = _in_grace()
    for hours, step in ((24, Step.END), (23, Step.NONE), (25, Step.NONE)):
        end = make.NOW + timedelta(hours=hours)
        plan = _plan(recorded, [], today=make.today(actions=make.asked(end_grace={"u1/small": end})))
        assert next_step(recorded["u1/small"], plan.desired[0]) is step


def test_a_wrong_end_of_grace_is_told() -> None:
    recorded = _in_grace()
    asked = make.asked(end_grace={"u1/small": make.NOW + timedelta(hours=23)})
    [notice] = _plan(recorded, [], today=make.today(actions=asked)).notices
    assert notice.warning
    assert notice.reason == AnotherEnd(make.NOW + timedelta(hours=23), make.NOW + timedelta(hours=24))


def test_who_comes_back_within_grace_has_everything_as_it_was() -> None:
    recorded = _in_grace()
    plan = _plan(recorded, [_entitlement()])
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.RESTORE
    assert plan.desired[0].grace_period_end_date_time is None
    assert plan.desired[0].device_name == recorded["u1/small"].device_name


def test_who_comes_back_has_nothing_rebuilt_even_if_a_reprovision_was_asked_for_meanwhile() -> None:
    """Whoever asked did not know of the return; it is asked for again, or not at all."""
    asked = make.today(actions=make.asked({"u1/small": 3}))
    recorded = _in_grace()
    [desired] = (plan := _plan(recorded, [_entitlement()], today=asked)).desired
    assert next_step(recorded["u1/small"], desired) is Step.RESTORE
    assert (desired.generation, desired.waived_generation) == (1, 3)
    assert _told(plan) == [EntitledAgain(waived=3)]

    restored = _recorded(Status.PROVISIONED, waived_generation=3)
    later = _plan(restored, [_entitlement()], today=asked)
    assert next_step(restored["u1/small"], later.desired[0]) is Step.NONE
    assert later.notices == ()
    lower = _plan(restored, [_entitlement()], today=make.today(actions=make.asked({"u1/small": 2})))
    assert next_step(restored["u1/small"], lower.desired[0]) is Step.NONE
    assert _told(lower) == [GenerationIsOver(asked=2, over=3)]
    again = _plan(restored, [_entitlement()], today=make.today(actions=make.asked({"u1/small": 4})))
    assert next_step(restored["u1/small"], again.desired[0]) is REPROVISION
    assert (again.desired[0].generation, again.desired[0].waived_generation) == (4, 0)


def test_a_return_says_nothing_of_a_reprovision_that_was_done_long_ago() -> None:
    recorded = {key: pc.model_copy(update={"generation": 2}) for key, pc in _in_grace().items()}
    plan = _plan(recorded, [_entitlement()], today=make.today(actions=make.asked({"u1/small": 2})))
    assert _told(plan) == [EntitledAgain()]
    assert plan.desired[0].waived_generation == 0


def test_what_ends_is_not_restored_and_goes_when_nothing_is_left() -> None:
    left = _recorded(Status.DEPROVISIONING, leftovers=("its machine on local: away",))
    plan = _plan(left, [_entitlement()])
    assert next_step(left["u1/small"], plan.desired[0]) is Step.END
    gone = _recorded(Status.DEPROVISIONING)
    assert _plan(gone, []) == Reconciliation((), ())


def test_who_is_entitled_again_while_the_ended_ones_entry_stands_is_told_when_the_new_one_comes() -> None:
    plan = _plan(_recorded(Status.DEPROVISIONING), [_entitlement()])
    assert plan.desired == ()
    assert _told(plan) == [NewByNextRun()]
    assert [notice.who for notice in plan.notices] == ["u1@contoso.example (Small)"]


def test_a_new_one_after_an_end_is_another_device() -> None:
    [first] = _plan({}, [_entitlement()]).desired
    [again] = _plan({}, [_entitlement()], last_generations={"u1/small": 1}).desired
    assert again.generation == 2
    assert again.device_name != first.device_name


# ---- asked for


def test_reprovision_takes_todays_policy_and_says_what_changes() -> None:
    for status in (Status.PROVISIONED, Status.PROVISIONED_WITH_WARNINGS, Status.FAILED):
        recorded = _recorded(status)
        today = make.today(settings=make.settings(image_id="debian-13"), actions=make.asked({"u1/small": 2}))
        plan = _plan(recorded, [_entitlement()], today=today)
        [desired] = plan.desired
        assert next_step(recorded["u1/small"], desired) is REPROVISION
        assert desired.settings.image_id == "debian-13"
        assert desired.device_name != recorded["u1/small"].device_name
        assert _told(plan) == [Reprovisioned(status is not Status.FAILED, ("image micro -> debian-13",))]


def test_what_todays_policy_says_otherwise() -> None:
    before = make.settings()
    rebuilt = make.settings(image_digest="cd" * 32)
    assert outdated(before, before) == []
    assert outdated(before, rebuilt) == ["a newer build of image micro"]
    given = "a newer build of image micro, whose kernel it was given"
    assert outdated(before, rebuilt, rebuilt.image_digest) == [given]
    both = rebuilt.model_copy(update={"locale": "de-DE"})
    assert outdated(before, both) == ["a newer build of image micro", "locale en-US -> de-DE"]
    other = rebuilt.model_copy(update={"image_id": "debian-12"})
    assert outdated(before, other) == ["image micro -> debian-12"]
    own = before.model_copy(update={"image_type": "custom" if before.image_type == "gallery" else "gallery"})
    assert outdated(before, own) == [f"image {before.image_type} micro -> {own.image_type} micro"]


def test_a_lower_generation_is_ignored_with_a_warning() -> None:
    recorded = _recorded(Status.PROVISIONED, generation=3)
    plan = _plan(recorded, [_entitlement()], today=make.today(actions=make.asked({"u1/small": 2})))
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.NONE
    assert _told(plan) == [GenerationIsOver(asked=2, over=3)]


@pytest.mark.parametrize("kind", ["reprovision", "retry", "endGrace", "updateKernel"])
def test_a_key_that_nothing_has_is_told_and_one_of_the_past_is_not(kind: str) -> None:
    keys = ("u1/small", "u2/small", "u3/smal")
    actions = {
        "reprovision": make.asked(dict.fromkeys(keys, 1)),
        "retry": make.asked(retry=dict.fromkeys(keys, 1)),
        "endGrace": make.asked(end_grace=dict.fromkeys(keys, make.NOW)),
        "updateKernel": make.asked(update_kernel=dict.fromkeys(keys, 1)),
    }[kind]
    recorded = _recorded(Status.PROVISIONED, kernel_generation=1)
    plan = _plan(recorded, [_entitlement()], today=make.today(actions=actions), remembered=["u2/small"])
    [notice] = plan.notices
    assert notice.warning
    assert notice.reason == UnknownKey(kind, "u3/smal")


@pytest.mark.parametrize("status", [None, Status.PENDING_PROVISION, Status.NOT_PROVISIONED])
def test_a_retry_asked_for_before_it_failed_is_spent(status: Status | None) -> None:
    """Should its first attempts fail, it stays failed until somebody asks anew."""
    today = make.today(actions=make.asked(retry={"u1/small": 2}))
    [desired] = _plan({} if status is None else _recorded(status), [_entitlement()], today=today).desired
    assert desired.retry == 2
    failed = {desired.key: RecordedCloudPC(**desired.model_dump(), status=Status.FAILED)}
    assert next_step(failed[desired.key], _plan(failed, [_entitlement()], today=today).desired[0]) is Step.NONE


def test_retry_is_for_failed_ones_whose_machine_can_be_made() -> None:
    today = make.today(actions=make.asked(retry={"u1/small": 1}))
    failed = _recorded(Status.FAILED)
    plan = _plan(failed, [_entitlement()], today=today)
    assert next_step(failed["u1/small"], plan.desired[0]) is RETRY
    assert plan.desired[0].device_name == failed["u1/small"].device_name
    fine = _recorded(Status.PROVISIONED)
    assert next_step(fine["u1/small"], _plan(fine, [_entitlement()], today=today).desired[0]) is Step.NONE
    lost = _recorded(Status.FAILED, status_detail=StatusDetail(code=ErrorCode.MACHINE_LOST, message="gone"))
    plan = _plan(lost, [_entitlement()], today=today)
    assert next_step(lost["u1/small"], plan.desired[0]) is Step.NONE
    assert _told(plan) == [IsLost()]


def _warned(*failed: str, **changes: Any) -> dict[str, RecordedCloudPC]:
    """One of whose set-up this failed."""
    more = {"failed": " ".join(failed)} if failed else {}
    detail = StatusDetail(code="packagesFailed", message="no mirror", additional_information=more)
    [recorded] = _recorded(Status.PROVISIONED_WITH_WARNINGS, status_detail=detail).values()
    return {recorded.key: recorded.model_copy(update=changes)}


def test_what_failed_of_a_set_up_is_tried_again_as_todays_policy_has_it_and_nothing_else_changes() -> None:
    recorded = _warned("packagesFailed")
    settings = make.settings(packages=("git",), locale="de-DE", image_digest="cd" * 32, set_up_in_seconds=90)
    today = make.today(settings=settings, actions=make.asked(retry={"u1/small": 1}))
    plan = _plan(recorded, [_entitlement()], today=today)
    [desired] = plan.desired
    assert _told(plan) == [SetUpAgain()]
    assert next_step(recorded["u1/small"], desired) is RETRY
    before = recorded["u1/small"].settings
    assert desired.settings == before.model_copy(update={"packages": ("git",), "set_up_in_seconds": 90})
    assert desired.device_name == recorded["u1/small"].device_name
    spent = recorded["u1/small"].model_copy(update={"retry": 1})
    assert next_step(spent, desired) is Step.NONE


def test_state_that_does_not_say_which_extras_failed_has_them_all_tried_again() -> None:
    assert _warned()["u1/small"].failed_extras == frozenset(EXTRAS)
    assert _warned("localeFailed", "timeZoneFailed")["u1/small"].failed_extras == {"localeFailed", "timeZoneFailed"}
    changed = StatusDetail(code=ErrorCode.MACHINE_CHANGED, message="other size")
    assert not _warned(status_detail=changed)["u1/small"].failed_extras
    assert not _warned(status=Status.IN_GRACE_PERIOD)["u1/small"].failed_extras


@pytest.mark.parametrize("asked", [make.asked(retry={"u1/small": 1}), make.asked(update_kernel={"u1/small": 1})])
def test_what_was_asked_for_on_a_machine_is_not_done_to_one_that_a_refresh_finds_lost(asked: Traces) -> None:
    recorded = _warned("packagesFailed")
    [desired] = _plan(recorded, [_entitlement()], today=make.today(actions=asked)).desired
    assert next_step(recorded["u1/small"], desired) in (RETRY, UPDATE_KERNEL)
    lost = {"status": Status.FAILED, "status_detail": StatusDetail(code=ErrorCode.MACHINE_LOST, message="gone")}
    assert next_step(recorded["u1/small"].model_copy(update=lost), desired) is Step.NONE


def test_another_builds_kernel_is_given_once_and_only_of_the_same_image() -> None:
    recorded, asked = _recorded(Status.PROVISIONED), make.asked(update_kernel={"u1/small": 2})
    newer = make.today(settings=make.settings(image_digest="cd" * 32), actions=asked)
    plan = _plan(recorded, [_entitlement()], today=newer)
    [desired] = plan.desired
    assert next_step(recorded["u1/small"], desired) is UPDATE_KERNEL
    assert (desired.kernel_generation, desired.kernel_digest) == (2, "cd" * 32)
    assert desired.settings == recorded["u1/small"].settings, "its disk is what it was"
    assert _told(plan) == [Done("updateKernel", UPDATE_KERNEL.notice)]
    moved = {"u1/small": recorded["u1/small"].model_copy(update={"kernel_generation": 2})}
    again = _plan(moved, [_entitlement()], today=newer)
    assert (next_step(moved["u1/small"], again.desired[0]), again.notices) == (Step.NONE, ())
    for change, why in (
        ({"image_id": "debian-13"}, OtherImage("micro", "debian-13")),
        ({"image_type": "custom"}, OtherImage("micro", "micro")),
        ({"image_kind": "galleryVersion", "image_digest": "ef" * 32}, NoForm("micro")),
    ):
        other = _plan(recorded, [_entitlement()], today=make.today(settings=make.settings(**change), actions=asked))
        assert next_step(recorded["u1/small"], other.desired[0]) is Step.NONE
        assert other.notices[0].warning
        assert _told(other) == [Ignored("updateKernel", str(why))]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (4, 4)])
def test_a_reprovision_has_the_kernel_of_its_own_image_and_spends_what_was_asked_for(before: int, after: int) -> None:
    recorded = _recorded(Status.PROVISIONED, kernel_generation=before, kernel_digest="cd" * 32)
    asked = make.asked(reprovision={"u1/small": 2}, update_kernel={"u1/small": 3})
    [desired] = _plan(recorded, [_entitlement()], today=make.today(actions=asked)).desired
    assert next_step(recorded["u1/small"], desired) is REPROVISION
    assert (desired.kernel_generation, desired.kernel_digest) == (after, "")


@pytest.mark.parametrize("status", [Status.PROVISIONED, Status.PROVISIONED_WITH_WARNINGS, Status.IN_GRACE_PERIOD])
def test_what_is_merely_off_is_started(status: Status) -> None:
    recorded = _in_grace() if status is Status.IN_GRACE_PERIOD else _recorded(status)
    off = {key: pc.model_copy(update={"power_state": "poweredOff"}) for key, pc in recorded.items()}
    owed = [] if status is Status.IN_GRACE_PERIOD else [_entitlement()]
    plan = _plan(off, owed)
    assert next_step(off["u1/small"], plan.desired[0]) is Step.START
    assert _told(plan) == [StandsStill()]
    left = {key: pc.model_copy(update={"power_state": "deallocated"}) for key, pc in recorded.items()}
    plan = _plan(left, owed)
    assert next_step(left["u1/small"], plan.desired[0]) is Step.NONE, "its host leaves it off"
    assert _told(plan) == []
    full = {"power_state": "paused", "paused_because": "the host's disk was full"}
    paused = _plan({key: pc.model_copy(update=full) for key, pc in recorded.items()}, owed)
    assert _told(paused) == [StandsStill(paused_because="the host's disk was full")]


def test_one_that_is_lost_in_its_grace_is_its_users_again_who_returns() -> None:
    [kept] = _in_grace().values()
    gone = {
        "status_detail": StatusDetail(code=ErrorCode.MACHINE_LOST, message="gone"),
        "before_loss": Before(status=kept.status),
    }
    lost = kept.model_copy(update={"status": Status.FAILED, **gone})
    plan = _plan({lost.key: lost}, [_entitlement()])
    assert next_step(lost, plan.desired[0]) is Step.RESTORE
    assert _told(plan) == [EntitledAgain()]


@given(st.builds(dict, status=st.sampled_from(Status), desired=st.sampled_from(Status), generation=st.integers(1, 3)))
def test_every_pair_has_a_next_step(pair: dict[str, Any]) -> None:
    [recorded] = _recorded(pair["status"]).values()
    changes = {"desired_status": pair["desired"], "generation": pair["generation"]}
    assert next_step(recorded, DesiredCloudPC.model_validate({**recorded.model_dump(), **changes})) in {*Step, *ACTIONS}


# ---- what stays


@pytest.mark.parametrize("status", [Status.PROVISIONED, Status.FAILED, Status.PENDING_PROVISION])
def test_who_leaves_under_a_new_name_is_told_under_it(status: Status) -> None:
    recorded = _recorded(status)
    snapshot = Snapshot({"u1": make.user("u1", "small", user_principal_name="eve@contoso.example")}, {}, {})
    own = PolicyFacts("lab", {}, recorded)
    plan = lifecycle.plan(make.policy(), snapshot, own, [], make.today(), make.NOW)
    assert plan.notices[0].who == "eve@contoso.example (Small)"
    assert plan.desired[0].user_principal_name == "eve@contoso.example"
    assert plan.desired[0].account.name == "u1"


def test_a_renamed_user_keeps_the_cloud_pc_and_its_account() -> None:
    recorded = _recorded(Status.PROVISIONED)
    [desired] = _plan(recorded, [_entitlement(user_principal_name="eve@contoso.example")]).desired
    assert desired.user_principal_name == "eve@contoso.example"
    assert desired.account.name == "u1"
    assert desired.device_name == recorded["u1/small"].device_name
    assert next_step(recorded["u1/small"], desired) is Step.NONE


@pytest.mark.parametrize("status", [s for s in Status if s not in _WAITING and s not in LEAVING])
def test_only_what_waits_is_ever_provisioned(status: Status) -> None:
    recorded = _recorded(status)
    [desired] = _plan(recorded, [_entitlement()], today=make.today(settings=make.settings(image_digest="new"))).desired
    assert next_step(recorded["u1/small"], desired) is Step.NONE


def test_the_installation_of_an_existing_cloud_pc_stays() -> None:
    recorded = _recorded(Status.PROVISIONED)
    [desired] = _plan(recorded, [_entitlement()], today=make.today(installation="another0")).desired
    assert desired.installation == make.INSTALLATION


def test_no_name_is_given_twice_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand users some meet: here all do, since the random letters come from the number of the try alone."""
    monkeypatch.setattr(naming, "digest", lambda *parts: digest(*(part for part in parts if part.isdecimal())))
    today = make.today(naming_template="CPC-%RAND:5%")
    there = _recorded(Status.PROVISIONED, _entitlement("u0"), device_name="CPC-THERE")
    owed = [_entitlement(user_id) for user_id in ("u0", "u1", "u2", "u3")]
    first = _plan(there, owed, today=today)
    names = [desired.device_name for desired in first.desired]
    assert len({*names}) == 4

    # the last ones' names may not be given by a later run either, be they written in other letters
    left = _recorded(Status.PROVISIONED, _entitlement("u0"), device_name=names[1].lower())
    assert len({desired.device_name.lower() for desired in _plan(left, owed, today=today).desired}) == 4


def test_names_of_different_installations_differ() -> None:
    [mine] = _plan({}, [_entitlement()]).desired
    [theirs] = _plan({}, [_entitlement()], today=make.today(installation="another0")).desired
    assert mine.device_name != theirs.device_name


@given(
    settings=_SETTINGS,
    ram=st.floats(0.25, 64) | st.integers(1, 64),
    keys=st.lists(st.text(max_size=5), max_size=2),
    detail=st.none() | st.builds(StatusDetail, code=st.text(), message=st.text()),
    status=st.sampled_from(Status),
)
def test_state_gives_back_what_was_recorded(
    settings: PolicySettings, ram: float, keys: list[str], detail: StatusDetail | None, status: Status
) -> None:
    plan = replace(make.plan(), ram_in_gb=ram)
    user = make.user("u1", "small", ssh_public_keys=tuple(keys), display_name="Ünï 💥")
    [desired] = _plan({}, [Entitlement(user, plan)], today=make.today(settings=settings)).desired
    recorded = RecordedCloudPC(**desired.model_dump(), status=status, status_detail=detail, host="kvm1")
    for leave_out_defaults in (False, True):
        dumped = recorded.model_dump(by_alias=True, mode="json", exclude_defaults=leave_out_defaults)
        again = RecordedCloudPC.model_validate(make.through_pulumi(dumped))
        assert again == recorded
        # the hash that decides about adoption is taken of this text: numbers must read the same after the journey
        assert again.settings.model_dump_json() == desired.settings.model_dump_json()
        assert again.account.model_dump_json() == desired.account.model_dump_json()


def test_no_two_of_ten_thousand_devices_are_called_the_same() -> None:
    """Five random characters are 14 million names: without looking, several of these would meet their twin."""
    today = make.today(naming_template="PC-%RAND:5%")
    owed = [Entitlement(make.user(f"a{number}"), make.plan()) for number in range(10_000)]

    def names(owed: Sequence[Entitlement], elsewhere: Iterable[str] = ()) -> set[str]:
        plan = reconcile({}, owed, {}, today, make.NOW, names_elsewhere=elsewhere)
        return {desired.device_name for desired in plan.desired}

    elsewhere = names(owed[:4_000])
    assert elsewhere & names(owed[4_000:]), "this fleet has twins in two policies"
    assert len(elsewhere | names(owed[4_000:], elsewhere)) == 10_000


def test_a_name_that_another_policys_device_has_is_not_given_again() -> None:
    owed = [Entitlement(make.user("u-alice"), make.plan())]
    [first] = reconcile({}, owed, {}, make.today(), make.NOW).desired
    [other] = reconcile({}, owed, {}, make.today(), make.NOW, names_elsewhere=[first.device_name.lower()]).desired
    assert other.device_name != first.device_name
    [again] = reconcile({}, owed, {}, make.today(), make.NOW, names_elsewhere=[first.device_name]).desired
    assert again.device_name == other.device_name, "a preview says the same"


def test_one_that_is_gone_keeps_none_of_the_others_from_their_step() -> None:
    gone = _recorded(Status.DEPROVISIONING)
    others = _recorded(Status.PROVISIONED, _entitlement("u2")) | _recorded(Status.PENDING_PROVISION, _entitlement("u3"))
    plan = _plan(gone | others, [_entitlement(user) for user in ("u1", "u2", "u3")])
    assert [desired.user_id for desired in plan.desired] == ["u2", "u3"]


def test_each_of_several_is_told_of_and_by_the_plan_that_it_has() -> None:
    waiting = _recorded(Status.PENDING_PROVISION) | _recorded(Status.PENDING_PROVISION, _entitlement("u2"))
    larger = replace(make.plan(), display_name="Larger")
    owed = [Entitlement(make.user(user, "small"), larger) for user in ("u1", "u2")]
    plan = _plan(waiting, owed)
    assert [notice.who for notice in plan.notices] == ["u1@contoso.example (Small)", "u2@contoso.example (Small)"]
