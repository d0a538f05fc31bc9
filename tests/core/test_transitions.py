"""What is recorded after a step or a look: for whatever the lifecycle asks for, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import USABLE, WITH_MACHINE, Before, DesiredCloudPC, RecordedCloudPC, Status, StatusDetail
from cloudpc.model.credentials import Credentials
from cloudpc.model.devices import ComputerAccount, RegisteredDevice
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.guests import Warned
from cloudpc.model.machines import PowerState
from cloudpc.model.outcome import Outcome
from cloudpc.model.stages import Stage
from cloudpc.rules import findings, recording, transitions
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL
from cloudpc.rules.lifecycle import makes_machine, next_step
from cloudpc.rules.recording import ImpossibleTransitionError
from cloudpc.rules.step import Step

from .fake_rim import desired as make_desired
from .make import NOW
from .states import desired, recorded

LATER = NOW + timedelta(days=1)
MADE = Outcome(Status.PROVISIONED, 1, "local", Ssh(host="127.0.0.1", port=22001), Credentials("u1", "pw"))
WARNED = (Warned(ErrorCode.LOCALE_FAILED, "no such locale"),)
OUTCOMES = [
    MADE,
    replace(MADE, status=Status.PROVISIONED_WITH_WARNINGS, warnings=WARNED),
    Outcome(Status.FAILED, 3, error=ProvisioningError(ErrorCode.GUEST_DIED, "died"), stage=Stage.FIRST_BOOT),
    Outcome(Status.PENDING_PROVISION, 0, error=ProvisioningError(ErrorCode.NO_CAPACITY, "no room")),
]
_FEW = settings(max_examples=20)
_USABLE, _WITH_MACHINE = sorted(USABLE), sorted(WITH_MACHINE)
_ENDS = (Status.IN_GRACE_PERIOD, Status.FAILED, Status.PENDING_PROVISION)
LEFTOVERS = [(), ("its disk: busy",)]


def after(step: Step | Action, pc: RecordedCloudPC, wanted: DesiredCloudPC, draw: st.DataObject) -> RecordedCloudPC:
    """What a step makes of it, however it ends."""
    if makes_machine(pc, wanted):
        return transitions.provisioned(wanted, draw.draw(st.sampled_from(OUTCOMES)), LATER, pc)
    if step is RETRY:
        return transitions.set_up_again(pc, wanted, draw.draw(st.sampled_from([(), WARNED])), LATER)
    if step is UPDATE_KERNEL:
        return transitions.acted(UPDATE_KERNEL.after(pc, wanted), "has another kernel", LATER)
    match step:
        case Step.START:
            return transitions.started(pc, "was off, started", LATER)
        case Step.BEGIN_GRACE:
            return transitions.grace_begun(pc, wanted, LATER)
        case Step.RESTORE:
            return transitions.restored(pc, wanted, LATER)
        case Step.END:
            return transitions.ended(pc, wanted, draw.draw(st.sampled_from(LEFTOVERS)), LATER)
    return pc


@given(recorded(), desired(), st.data())
def test_every_step_leads_somewhere_and_is_not_asked_for_again(
    pc: RecordedCloudPC, wanted: DesiredCloudPC, data: st.DataObject
) -> None:
    step = next_step(pc, wanted)
    then = after(step, pc, wanted, data)
    assert then.key == pc.key
    assert len(then.events) <= recording.EVENTS_KEPT
    if step is Step.NONE:
        assert then is pc
        return
    assert then.events[-1].split(" ")[1] == then.status
    assert then.last_modified_date_time is not None
    assert step is not next_step(then, wanted) or then.status in (
        Status.PENDING_PROVISION, Status.DEPROVISIONING
    ), "only what waits, and what is not gone yet, is tried again"  # fmt: skip
    if not (step is Step.END or makes_machine(pc, wanted)):
        assert then.has_machine
        assert (then.device, then.access, then.credentials) == (pc.device, pc.access, pc.credentials)


@given(recorded(), desired())
def test_what_the_lifecycle_never_asks_for_is_refused(pc: RecordedCloudPC, wanted: DesiredCloudPC) -> None:
    has_warnings = pc.status is Status.PROVISIONED_WITH_WARNINGS
    torn = TagUnreadable("cloudpc-x", "local")
    checks = [
        (pc.status_if_there in USABLE, "put into its grace period", lambda: transitions.grace_begun(pc, wanted, LATER)),
        (pc.status_if_there is Status.IN_GRACE_PERIOD, "restored", lambda: transitions.restored(pc, wanted, LATER)),
        (pc.stands_still, "started", lambda: transitions.started(pc, "was off, started", LATER)),
        (pc.status in USABLE, "acted on",
         lambda: transitions.acted(UPDATE_KERNEL.after(pc, wanted), "moved", LATER)),
        (has_warnings, "set up again", lambda: transitions.set_up_again(pc, wanted, (), LATER)),
        (pc.status not in USABLE and not pc.is_gone, "ended", lambda: transitions.ended(pc, wanted, (), LATER)),
        (pc.status in WITH_MACHINE, "lost", lambda: findings.lost(pc, "gone", LATER)),
        (pc.has_machine, "of an older copy of state", lambda: findings.not_in_state(pc, "newer", LATER)),
        (pc.is_lost, "found again", lambda: findings.found_again(pc, LATER)),
        (pc.status in USABLE, "of another size", lambda: findings.size_differs(pc, "bigger", LATER)),
        (pc.has_code(ErrorCode.MACHINE_CHANGED), "of the right size", lambda: findings.size_is_right(pc, LATER)),
        (pc.status in WITH_MACHINE, "without a tag", lambda: findings.tag_unreadable(pc, torn, LATER)),
        (pc.has_code(ErrorCode.TAG_UNREADABLE), "with a tag again", lambda: findings.tag_readable(pc, LATER)),
    ]  # fmt: skip
    for is_possible, what, transition in checks:
        if is_possible:
            transition()
        else:
            with pytest.raises(ImpossibleTransitionError) as refused:
                transition()
            assert str(refused.value) == f"a Cloud PC that is {pc.status} can't be {what}"


@given(recorded().filter(lambda pc: pc.status in WITH_MACHINE))
def test_what_a_look_has_found_wrong_is_as_it_was_once_it_is_well_again(pc: RecordedCloudPC) -> None:
    back = findings.found_again(findings.lost(pc, "gone", LATER), LATER)
    assert _but_for_history(back) == _but_for_history(pc)
    if pc.has_code(ErrorCode.TAG_UNREADABLE):
        return
    torn = findings.tag_unreadable(pc, TagUnreadable("cloudpc-x", "local"), LATER)
    readable = findings.tag_readable(torn, LATER)
    if pc.before_change is None:
        assert _but_for_history(readable) == _but_for_history(pc)
    assert findings.tag_unreadable(torn, TagUnreadable("cloudpc-x", "local"), LATER) is torn, "no news"


def _but_for_history(pc: RecordedCloudPC) -> RecordedCloudPC:
    return pc.model_copy(update={"events": (), "last_modified_date_time": None})


@_FEW
@given(recorded(*_USABLE))
def test_a_size_that_is_right_again_leaves_no_trace_but_in_its_history(pc: RecordedCloudPC) -> None:
    differs = findings.size_differs(pc, "bigger", LATER)
    assert (differs.status, differs.status_detail) == (
        Status.PROVISIONED_WITH_WARNINGS, StatusDetail(code=ErrorCode.MACHINE_CHANGED, message="bigger"),
    )  # fmt: skip
    right = findings.size_is_right(differs, LATER)
    was = pc.before_change
    assert right.before_change is None
    assert (right.status, right.status_detail) == (
        (was.status, was.status_detail) if was else (pc.status, pc.status_detail)
    )
    assert right.events[-1].endswith("its machine is the service plan's size again")
    assert right.last_modified_date_time == LATER


@_FEW
@given(recorded(*_WITH_MACHINE))
def test_one_of_an_older_copy_of_state_has_failed_and_is_well_once_state_is(pc: RecordedCloudPC) -> None:
    older = findings.not_in_state(pc, "newer", LATER)
    detail = StatusDetail(code=ErrorCode.MACHINE_NOT_IN_STATE, message="newer")
    assert (older.status, older.status_detail) == (Status.FAILED, detail)
    assert older.before_loss == Before(status=pc.status, status_detail=pc.status_detail)
    assert older.events[-1].endswith("failed machineNotInState")


@_FEW
@given(recorded(Status.IN_GRACE_PERIOD), st.sampled_from(sorted(USABLE)))
def test_a_tag_that_is_readable_again_in_grace_gives_back_what_was_before(pc: RecordedCloudPC, before: Status) -> None:
    torn = pc.model_copy(update={
        "status_detail": StatusDetail(code=ErrorCode.TAG_UNREADABLE, message="torn"),
        "before_change": Before(status=before),
        "status_before_grace": Status.PROVISIONED_WITH_WARNINGS,
    })  # fmt: skip
    readable = findings.tag_readable(torn, LATER)
    assert (readable.status, readable.status_before_grace) == (Status.IN_GRACE_PERIOD, before)
    assert (readable.status_detail, readable.before_change) == (None, None)
    never = findings.tag_readable(torn.model_copy(update={"before_change": None}), LATER)
    assert never.status_before_grace is Status.PROVISIONED_WITH_WARNINGS


@_FEW
@given(recorded(*_WITH_MACHINE))
def test_a_tag_that_stays_unreadable_is_no_news_in_whatever_words(pc: RecordedCloudPC) -> None:
    pc = findings.tag_unreadable(pc, TagUnreadable("cloudpc-x", "local"), LATER)
    assert findings.tag_unreadable(pc, TagUnreadable("another name", "local"), LATER) is pc


# ---- grace, ends, set-up


@_FEW
@given(recorded(*_USABLE), desired())
def test_what_was_before_a_grace_period_is_so_after_it(pc: RecordedCloudPC, wanted: DesiredCloudPC) -> None:
    begun = transitions.grace_begun(pc, wanted, LATER)
    assert (begun.status, begun.status_before_grace) == (Status.IN_GRACE_PERIOD, pc.status)
    back = transitions.restored(begun, wanted, LATER)
    assert (back.status, back.status_before_grace) == (pc.status, None)
    assert back.events[-1].endswith("entitled again")
    unknown = begun.model_copy(update={"status_before_grace": None})
    assert transitions.restored(unknown, wanted, LATER).status is Status.PROVISIONED


@_FEW
@given(recorded(*_ENDS), desired(), st.sampled_from(LEFTOVERS))
def test_what_has_ended_says_why_and_forgets_its_device_once_that_is_gone(
    pc: RecordedCloudPC, wanted: DesiredCloudPC, leftovers: tuple[str, ...]
) -> None:
    over = transitions.ended(pc, wanted, leftovers, LATER)
    assert (over.device, over.computer) == ((pc.device, pc.computer) if leftovers else (None, None))
    assert (over.status, over.leftovers, over.status_detail) == (Status.DEPROVISIONING, leftovers, None)
    assert _asked_of(over) == _asked_of(wanted)
    why = f"not removed completely: {leftovers[0]}" if leftovers else wanted.why
    assert over.events[-1].endswith(f" deprovisioning {why}")


@_FEW
@given(recorded(*_USABLE), desired())
def test_one_that_is_lost_stays_so_through_its_grace_period_and_back(
    pc: RecordedCloudPC, wanted: DesiredCloudPC
) -> None:
    lost = findings.lost(pc, "gone", NOW)
    begun = transitions.grace_begun(lost, wanted, LATER)
    assert (begun.status, begun.before_loss and begun.before_loss.status) == (Status.FAILED, Status.IN_GRACE_PERIOD)
    assert begun.before_loss is not None
    assert begun.before_loss.status_detail == pc.status_detail
    back = transitions.restored(begun, wanted, LATER)
    assert (back.status, back.before_loss and back.before_loss.status) == (Status.FAILED, lost.status_if_there)
    for each, why in ((begun, wanted.why), (back, "entitled again")):
        assert _asked_of(each) == _asked_of(wanted)
        assert each.events[-1] == f"2026-11-25T09:00:00Z failed {why}"
        assert each.last_modified_date_time == LATER


def _asked_of(pc: DesiredCloudPC) -> tuple[object, ...]:
    """What changes on a machine that stays, or ends."""
    return (
        pc.desired_status, pc.why, pc.grace_period_end_date_time, pc.waived_generation, pc.user_principal_name,
    )  # fmt: skip


@_FEW
@given(recorded())
def test_what_goes_with_its_policy_is_told_so(pc: RecordedCloudPC) -> None:
    gone = transitions.removed(pc, LATER)
    line = recording.event(pc.model_copy(update={"status": Status.DEPROVISIONING}), "removed with its policy", LATER)
    assert gone == line
    assert gone.status is Status.DEPROVISIONING
    assert gone.events[-1].endswith(" deprovisioning removed with its policy")


@_FEW
@given(recorded(Status.PROVISIONED_WITH_WARNINGS), desired())
def test_a_set_up_that_was_tried_again_is_told_with_what_still_fails(
    pc: RecordedCloudPC, wanted: DesiredCloudPC
) -> None:
    fails, well = (transitions.set_up_again(pc, wanted, warnings, LATER) for warnings in (WARNED, ()))
    assert (fails.status, fails.status_detail and fails.status_detail.code) == (pc.status, ErrorCode.LOCALE_FAILED)
    assert fails.events[-1].endswith("retry, localeFailed")
    assert (well.status, well.status_detail) == (Status.PROVISIONED, None)
    assert well.events[-1].endswith("retried, its set-up is complete")
    for each in (fails, well):
        assert (each.settings, each.retry, each.power_state) == (wanted.settings, wanted.retry, "running")


@given(recorded(), st.sampled_from(PowerState))
def test_that_a_machine_stands_still_is_no_event(pc: RecordedCloudPC, power: PowerState) -> None:
    seen = findings.powered(pc, power, "its host's storage is full")
    assert (seen.events, seen.last_modified_date_time) == (pc.events, pc.last_modified_date_time)
    assert bool(seen.paused_because) is (power is PowerState.PAUSED)


# ---- history

_EARLIER = "2026-11-24T09:00:00Z"


def _ended(pc: RecordedCloudPC, status: Status, why: str, now: datetime) -> RecordedCloudPC:
    return recording.event(pc.model_copy(update={"status": status}), why, now)


@pytest.mark.parametrize("status", [Status.PENDING_PROVISION, Status.NOT_PROVISIONED, Status.DEPROVISIONING])
@pytest.mark.parametrize("why", ["noCapacity", "not removed completely: " + 300 * "x"])
@given(pc=recorded())
def test_what_is_tried_by_each_run_is_one_event_as_long_as_it_ends_the_same(
    pc: RecordedCloudPC, status: Status, why: str
) -> None:
    before = pc.model_copy(update={"events": (f"{_EARLIER} provisioned generation 1",)})
    first = _ended(before, status, why, NOW)
    again = _ended(first, status, why, LATER)
    assert again.events == first.events
    assert again.last_modified_date_time == NOW, "since then"
    otherwise = _ended(again, status, "hostUnreachable", LATER)
    assert len(otherwise.events) == 3
    assert otherwise.last_modified_date_time == LATER


@given(recorded())
def test_a_retry_that_fails_the_same_way_is_an_event(pc: RecordedCloudPC) -> None:
    once = _ended(pc.model_copy(update={"events": ()}), Status.FAILED, "bootTimeout", NOW)
    assert len(_ended(once, Status.FAILED, "bootTimeout", LATER).events) == 2


@given(recorded(), desired())
@_FEW
def test_what_provisioning_has_made_is_recorded_as_it_was_made(pc: RecordedCloudPC, wanted: DesiredCloudPC) -> None:
    device = RegisteredDevice(registration="record", id="d1", device_id="d2", display_name="CPC-1")
    computer = ComputerAccount(connection="hq", name="CPC-1", object_guid="", distinguished_name="")
    adopted = wanted.model_copy(update={"why": "as it was made"})
    made = replace(
        MADE, device=device, computer=computer, facts={"size": "B2s"}, connection="hq", attempts=2, desired=adopted
    )
    now = transitions.provisioned(wanted, made, LATER, pc.model_copy(update={"events": ("before",)}))
    assert now.events[:-1] == ("before",)
    assert (now.status, now.attempts, now.host, now.why) == (Status.PROVISIONED, 2, "local", "as it was made")
    assert (now.access, now.device, now.computer) == (made.access, device, computer)
    assert (dict(now.facts), now.on_premises_connection_name) == ({"size": "B2s"}, "hq")
    assert (now.credentials and now.credentials.user, now.status_detail) == ("u1", None)


def test_an_error_is_recorded_with_all_that_is_known_of_it() -> None:
    error = ProvisioningError(ErrorCode.GUEST_DIED, "died", hint="look at it", console="x" * 1000 + "panic")
    outcome = Outcome(Status.FAILED, 3, error=error, stage=Stage.FIRST_BOOT, remains="its disk: busy", kept="its log")
    detail = transitions.provisioned(make_desired(), outcome, LATER).status_detail
    assert detail == StatusDetail(
        code="guestDied",
        message="died",
        additional_information={
            "stage": Stage.FIRST_BOOT.value,
            "hint": "look at it",
            "console": "x" * 595 + "panic",
            "remains": "its disk: busy",
            "kept": "its log",
        },
    )
    bare = replace(outcome, error=ProvisioningError(ErrorCode.GUEST_DIED, "died"), stage=None, remains="", kept="")
    detail = transitions.provisioned(make_desired(), bare, LATER).status_detail
    assert detail is not None
    assert detail.additional_information == {}


def test_what_failed_of_a_set_up_is_recorded_by_its_codes() -> None:
    warnings = (*WARNED, Warned(ErrorCode.PACKAGES_FAILED, "no such package"))
    outcome = replace(MADE, status=Status.PROVISIONED_WITH_WARNINGS, warnings=warnings)
    assert transitions.provisioned(make_desired(), outcome, LATER).status_detail == StatusDetail(
        code="localeFailed",
        message="no such locale [localeFailed]; no such package [packagesFailed]",
        additional_information={"stage": "set-up", "failed": "localeFailed packagesFailed"},
    )


@pytest.mark.parametrize(
    ("status", "generation", "asked"),
    [
        (None, 1, ""),
        (Status.PROVISIONED, 2, "reprovision, "),
        (Status.FAILED, 2, "reprovision, "),
        (Status.FAILED, 1, "retry, "),
        (Status.PENDING_PROVISION, 1, ""),
    ],
)
def test_history_says_what_was_asked_for(status: Status | None, generation: int, asked: str) -> None:
    before = None
    if status is not None:
        before = RecordedCloudPC(**make_desired().model_dump(), status=status, attempts=1)
    wanted = make_desired().model_copy(update={"generation": generation})
    now = transitions.provisioned(wanted, MADE, LATER, before)
    assert now.events[-1].endswith(f"{asked}generation {generation} as {wanted.device_name}")
    failed = Outcome(Status.FAILED, 3, error=ProvisioningError(ErrorCode.GUEST_DIED, "died"))
    assert transitions.provisioned(wanted, failed, LATER, before).events[-1].endswith(f"{asked}guestDied")
