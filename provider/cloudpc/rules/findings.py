"""What a Cloud PC turns out to be when somebody looks at its machine. Pure, and refused like the transitions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from cloudpc.model.cloud_pc import USABLE, WITH_MACHINE, Before, RecordedCloudPC, Status, StatusDetail
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState
from cloudpc.rules.recording import changed, event, refuse_unless, without

_Before = Literal["before_loss", "before_change"]
_POWER_STATES: Mapping[PowerState, Literal["running", "poweredOff", "paused", "deallocated"]] = {
    PowerState.RUNNING: "running",
    PowerState.STOPPED: "poweredOff",
    PowerState.PAUSED: "paused",
    PowerState.LEFT_OFF: "deallocated",
}


def lost(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    """There is no machine where one should be."""
    refuse_unless(recorded.status in WITH_MACHINE, "lost", recorded)
    return _wrong(recorded, Status.FAILED, ErrorCode.MACHINE_LOST, message, now, "before_loss")


def not_in_state(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    """Its user was given another machine after what this state remembers."""
    refuse_unless(recorded.has_machine, "of an older copy of state", recorded)
    return _wrong(recorded, Status.FAILED, ErrorCode.MACHINE_NOT_IN_STATE, message, now, "before_loss")


def found_again(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """The machine that was lost is there."""
    refuse_unless(recorded.is_lost, "found again", recorded)
    return _well_again(recorded, "before_loss", "its machine is back", now)


def size_differs(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    """Its machine is not the size of its service plan."""
    refuse_unless(recorded.status in USABLE, "of another size", recorded)
    return _wrong(recorded, Status.PROVISIONED_WITH_WARNINGS, ErrorCode.MACHINE_CHANGED, message, now, "before_change")


def size_is_right(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """It is that size again."""
    refuse_unless(recorded.has_code(ErrorCode.MACHINE_CHANGED), "of the right size", recorded)
    return _well_again(recorded, "before_change", "its machine is the service plan's size again", now)


def tag_unreadable(recorded: RecordedCloudPC, error: ProvisioningError, now: datetime) -> RecordedCloudPC:
    """Nothing says whose its machine is: its user may go on working, but nothing is done to it."""
    refuse_unless(recorded.status in WITH_MACHINE, "without a tag", recorded)
    if recorded.has_code(error.code):
        return recorded  # in whatever words an earlier version said it
    if recorded.status is Status.IN_GRACE_PERIOD:
        return _wrong(recorded, recorded.status, error.code, error.message, now)
    status = Status.PROVISIONED_WITH_WARNINGS
    return _wrong(recorded, status, error.code, error.message, now, "before_change")


def tag_readable(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """Its tag says again whose it is; one in grace is, once its user is back, what it was before."""
    refuse_unless(recorded.has_code(ErrorCode.TAG_UNREADABLE), "with a tag again", recorded)
    why = "its machine's tag can be read again"
    if recorded.status is not Status.IN_GRACE_PERIOD:
        return _well_again(recorded, "before_change", why, now)
    was = recorded.before_change.status if recorded.before_change else recorded.status_before_grace
    pc = changed(without(recorded, ("before_change", "status_detail")), {"status_before_grace": was})
    return event(pc, why, now)


def moved(recorded: RecordedCloudPC, host: str, now: datetime) -> RecordedCloudPC:
    """With its machine on another host, or on the same by another name."""
    return event(changed(recorded, {"host": host}), f"its machine is on {host} now", now)


def described(recorded: RecordedCloudPC, facts: Mapping[str, str]) -> RecordedCloudPC:
    """What its host says of its machine by now; what was known stays where it says nothing."""
    return changed(recorded, {"facts": dict(facts)}) if facts else recorded


def powered(
    recorded: RecordedCloudPC, power: PowerState, paused_because: str = "", *, billed_while_off: bool = False
) -> RecordedCloudPC:
    """Whether its machine works, and why not if it is paused; no event: it changes without anybody's doing."""
    state = _POWER_STATES[power]
    why = paused_because if state == "paused" else ""
    return changed(recorded, {"power_state": state, "paused_because": why, "billed_while_off": billed_while_off})


def _wrong(
    pc: RecordedCloudPC, status: Status, code: ErrorCode, message: str, now: datetime, before: _Before | None = None
) -> RecordedCloudPC:
    """What is wrong, as status; what it was until then is kept in `before`, if any."""
    detail = StatusDetail(code=code.value, message=message)
    if pc.status_detail == detail:
        return pc
    changes: dict[str, Any] = {"status": status, "status_detail": detail}
    if before and getattr(pc, before) is None:
        changes[before] = Before(status=pc.status, status_detail=pc.status_detail)
    return event(changed(pc, changes), code.value, now)


def _well_again(pc: RecordedCloudPC, before: _Before, why: str, now: datetime) -> RecordedCloudPC:
    """As it was before `_wrong`."""
    was: Before = getattr(pc, before) or Before(status=Status.PROVISIONED)
    return event(changed(pc, {before: None, "status": was.status, "status_detail": was.status_detail}), why, now)
