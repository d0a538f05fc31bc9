"""What is recorded after a step or a look: for whatever the lifecycle asks for, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import USABLE, WITH_MACHINE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.credentials import Credentials
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
    checks = [
        (pc.status_if_there in USABLE, lambda: transitions.grace_begun(pc, wanted, LATER)),
        (pc.status_if_there is Status.IN_GRACE_PERIOD, lambda: transitions.restored(pc, wanted, LATER)),
        (pc.stands_still, lambda: transitions.started(pc, "was off, started", LATER)),
        (pc.status in USABLE, lambda: transitions.acted(UPDATE_KERNEL.after(pc, wanted), "moved", LATER)),
        (pc.status not in USABLE and not pc.is_gone, lambda: transitions.ended(pc, wanted, (), LATER)),
        (pc.status in WITH_MACHINE, lambda: findings.lost(pc, "gone", LATER)),
        (pc.is_lost, lambda: findings.found_again(pc, LATER)),
        (pc.status in USABLE, lambda: findings.size_differs(pc, "bigger", LATER)),
    ]
    for is_possible, transition in checks:
        if is_possible:
            transition()
        else:
            with pytest.raises(ImpossibleTransitionError):
                transition()


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
