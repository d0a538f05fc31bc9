"""What a Cloud PC is after a step, and what it turns out to be when somebody looks at its machine. Pure.

Each function takes what is recorded and what happened, and gives what is recorded from now on. A pair that the
lifecycle never makes (`lifecycle.next_step`) is refused: what it would come to, nobody has thought about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from cloudpc.model.cloud_pc import (
    USABLE,
    WAITING,
    WITH_MACHINE,
    Before,
    DesiredCloudPC,
    RecordedCloudPC,
    Status,
    StatusDetail,
)
from cloudpc.model.credentials import RecordedCredentials
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Warned
from cloudpc.model.machines import PowerState
from cloudpc.model.outcome import Outcome
from cloudpc.model.text import told

EVENTS_KEPT = 8
"""State is rewritten at each step of a run, so it keeps only the last; `cloudpc:audit` keeps all."""
_EVENT_LENGTH = 179
"""With the time before it, 200 characters."""
_CONSOLE_LENGTH = 600
_TRIED_EACH_RUN = WAITING | {Status.DEPROVISIONING}


class ImpossibleTransitionError(ValueError):
    """The lifecycle never asks for this of such a Cloud PC."""


# ---- a run's steps


def provisioned(
    desired: DesiredCloudPC, outcome: Outcome, now: datetime, recorded: RecordedCloudPC | None = None
) -> RecordedCloudPC:
    """What provisioning came to; of what was recorded only the history stays.

    Args:
        desired: what was asked for.
        outcome: how it ended.
        now: with a time zone.
        recorded: what was there before, if it was not the first.
    """
    made = outcome.desired or desired
    pc = RecordedCloudPC(
        **made.model_dump(),
        status=outcome.status,
        status_detail=_detail_of(outcome),
        attempts=outcome.attempts,
        host=outcome.host,
        access=outcome.access,
        credentials=outcome.credentials and RecordedCredentials.of(outcome.credentials),
        on_premises_connection_name=outcome.connection,
        device=outcome.device,
        computer=outcome.computer,
        events=recorded.events if recorded else (),
    )
    why = outcome.error.code.value if outcome.error else f"generation {made.generation} as {made.device_name}"
    return _event(pc, f"{asked}, {why}" if (asked := _asked_for(desired, recorded)) else why, now)


def set_up_again(
    recorded: RecordedCloudPC, desired: DesiredCloudPC, warnings: Sequence[Warned], now: datetime
) -> RecordedCloudPC:
    """What came of trying again what had failed of the set-up: the settings it has now, and what still fails."""
    _refuse_unless(recorded.status is Status.PROVISIONED_WITH_WARNINGS, "set up again", recorded)
    detail = _warnings_told(warnings)
    status = Status.PROVISIONED_WITH_WARNINGS if detail else Status.PROVISIONED
    done = {"settings": desired.settings, "retry": desired.retry, "status": status, "status_detail": detail}
    why = f"retry, {detail.code}" if detail else "retry, its set-up is complete"
    return _event(_with(powered(recorded, PowerState.RUNNING), done), why, now)


def acted(after: RecordedCloudPC, why: str, now: datetime) -> RecordedCloudPC:
    """A remote action was carried out on its machine, which works; `after` has what that changes."""
    _refuse_unless(after.status in USABLE, "acted on", after)
    return _event(powered(after, PowerState.RUNNING), why, now)


def started(recorded: RecordedCloudPC, why: str, now: datetime) -> RecordedCloudPC:
    """Its machine works again."""
    _refuse_unless(recorded.stands_still, "started", recorded)
    return _event(powered(recorded, PowerState.RUNNING), why, now)


def grace_begun(recorded: RecordedCloudPC, desired: DesiredCloudPC, now: datetime) -> RecordedCloudPC:
    """Its user is no longer entitled; one that is lost stays so, and is in grace when its machine is back."""
    before = recorded.status_if_there
    _refuse_unless(before in USABLE, "put into its grace period", recorded)
    pc = _with(recorded, {"status_before_grace": before})
    return _into(pc, desired, Status.IN_GRACE_PERIOD, desired.why, now)


def restored(recorded: RecordedCloudPC, desired: DesiredCloudPC, now: datetime) -> RecordedCloudPC:
    """Its user is entitled again: what it was before its grace period."""
    _refuse_unless(recorded.status_if_there is Status.IN_GRACE_PERIOD, "restored", recorded)
    before = recorded.status_before_grace or Status.PROVISIONED
    return _into(_with(recorded, {"status_before_grace": None}), desired, before, "entitled again", now)


def ended(
    recorded: RecordedCloudPC, desired: DesiredCloudPC, leftovers: Sequence[str], now: datetime
) -> RecordedCloudPC:
    """Without what belonged to the machine; an earlier error no longer says anything."""
    _refuse_unless(recorded.status not in USABLE and not recorded.is_gone, "ended", recorded)
    of_the_machine = (
        "access", "credentials", "power_state", "paused_because", "on_premises_connection_name",
        "status_detail", "before_loss", "before_change", *(() if leftovers else ("device", "computer")),
    )  # fmt: skip
    pc = _with(_without(recorded, of_the_machine), _asked(desired))
    over = _with(pc, {"status": Status.DEPROVISIONING, "leftovers": tuple(leftovers)})
    return _event(over, f"not whole: {'; '.join(leftovers)}" if leftovers else desired.why, now)


def removed(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """Its policy was removed whole: the last that is said of it."""
    return _event(_with(recorded, {"status": Status.DEPROVISIONING}), "removed with its policy", now)


# ---- what a look at its machine finds


def lost(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    """There is no machine where one should be."""
    _refuse_unless(recorded.status in WITH_MACHINE, "lost", recorded)
    return _wrong(recorded, Status.FAILED, ErrorCode.MACHINE_LOST, message, now, "before_loss")


def not_in_state(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    """Its user was given another machine after what this state remembers."""
    _refuse_unless(recorded.has_machine, "of an older copy of state", recorded)
    return _wrong(recorded, Status.FAILED, ErrorCode.MACHINE_NOT_IN_STATE, message, now, "before_loss")


def found_again(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """The machine that was lost is there."""
    _refuse_unless(recorded.is_lost, "found again", recorded)
    return _well_again(recorded, "before_loss", "its machine is back", now)


def size_differs(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    """Its machine is not the size of its service plan."""
    _refuse_unless(recorded.status in USABLE, "of another size", recorded)
    return _wrong(recorded, Status.PROVISIONED_WITH_WARNINGS, ErrorCode.MACHINE_CHANGED, message, now, "before_change")


def size_is_right(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """It is that size again."""
    _refuse_unless(recorded.has_code(ErrorCode.MACHINE_CHANGED), "of the right size", recorded)
    return _well_again(recorded, "before_change", "its machine is the service plan's size again", now)


def tag_unreadable(recorded: RecordedCloudPC, error: ProvisioningError, now: datetime) -> RecordedCloudPC:
    """Nothing says whose its machine is: its user may go on working, but nothing is done to it any more."""
    _refuse_unless(recorded.status in WITH_MACHINE, "without a tag", recorded)
    if recorded.status is Status.IN_GRACE_PERIOD:
        return _wrong(recorded, recorded.status, error.code, error.message, now)
    status = Status.PROVISIONED_WITH_WARNINGS
    return _wrong(recorded, status, error.code, error.message, now, "before_change")


def tag_readable(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """Its tag says again whose it is; one in grace is, once its user is back, what it was before."""
    _refuse_unless(recorded.has_code(ErrorCode.TAG_UNREADABLE), "with a tag again", recorded)
    why = "its machine's tag can be read again"
    if recorded.status is not Status.IN_GRACE_PERIOD:
        return _well_again(recorded, "before_change", why, now)
    was = recorded.before_change.status if recorded.before_change else recorded.status_before_grace
    pc = _with(_without(recorded, ("before_change", "status_detail")), {"status_before_grace": was})
    return _event(pc, why, now)


def moved(recorded: RecordedCloudPC, host: str, now: datetime) -> RecordedCloudPC:
    """With its machine on another host, or on the same by another name."""
    return _event(_with(recorded, {"host": host}), f"its machine is on {host} now", now)


def powered(recorded: RecordedCloudPC, power: PowerState, paused_because: str = "") -> RecordedCloudPC:
    """Whether its machine works, and why not if it is paused; no event: it changes without anybody's doing."""
    state: Literal["running", "poweredOff", "paused"] = "running"
    match power:
        case PowerState.STOPPED:
            state = "poweredOff"
        case PowerState.PAUSED:
            state = "paused"
    return _with(recorded, {"power_state": state, "paused_because": paused_because if state == "paused" else ""})


# ---- what they share


def _refuse_unless(possible: bool, what: str, recorded: RecordedCloudPC) -> None:
    if not possible:
        raise ImpossibleTransitionError(f"one that is {recorded.status} can't be {what}")


def _with(pc: RecordedCloudPC, changes: dict[str, Any]) -> RecordedCloudPC:
    return pc.model_copy(update=changes)


def _without(pc: RecordedCloudPC, names: Sequence[str]) -> RecordedCloudPC:
    return _with(pc, {name: type(pc).model_fields[name].default for name in names})


def _asked(desired: DesiredCloudPC) -> dict[str, Any]:
    """What of it changes on the same machine; all else stays as the machine was made."""
    return {
        "desired_status": desired.desired_status,
        "why": desired.why,
        "grace_period_end_date_time": desired.grace_period_end_date_time,
        "waived_generation": desired.waived_generation,
        "user_principal_name": desired.user_principal_name,
    }


def _asked_for(desired: DesiredCloudPC, recorded: RecordedCloudPC | None) -> str:
    """What somebody has asked for, if it was not the first."""
    if recorded is not None and desired.generation > recorded.generation:
        return "reprovision"
    return "retry" if recorded is not None and recorded.status is Status.FAILED else ""


def _into(pc: RecordedCloudPC, desired: DesiredCloudPC, status: Status, why: str, now: datetime) -> RecordedCloudPC:
    """Into its grace period or out of it; what is lost meanwhile stays so, and is that when its machine is back."""
    pc = _with(pc, _asked(desired))
    if pc.is_lost:
        was = pc.before_loss or Before(status=status)
        return _event(_with(pc, {"before_loss": was.model_copy(update={"status": status})}), why, now)
    return _event(_with(pc, {"status": status}), why, now)


_Before = Literal["before_loss", "before_change"]


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
    return _event(_with(pc, changes), code.value, now)


def _well_again(pc: RecordedCloudPC, before: _Before, why: str, now: datetime) -> RecordedCloudPC:
    """As it was before `_wrong`."""
    was: Before = getattr(pc, before) or Before(status=Status.PROVISIONED)
    return _event(_with(pc, {before: None, "status": was.status, "status_detail": was.status_detail}), why, now)


def _event(pc: RecordedCloudPC, why: str, now: datetime) -> RecordedCloudPC:
    """A line of history, and since when; what was tried again with the same end has not changed."""
    event = f"{pc.status} {told(why)}"[:_EVENT_LENGTH]
    since, _, last = pc.events[-1].partition(" ") if pc.events else ("", "", "")
    if pc.status in _TRIED_EACH_RUN and event == last:
        return _with(pc, {"last_modified_date_time": datetime.fromisoformat(since)})
    now = now.astimezone(UTC).replace(microsecond=0)
    events = (*pc.events, f"{now.isoformat().replace('+00:00', 'Z')} {event}")
    return _with(pc, {"last_modified_date_time": now, "events": events[-EVENTS_KEPT:]})


def _detail_of(outcome: Outcome) -> StatusDetail | None:
    if outcome.error is None:
        return _warnings_told(outcome.warnings)
    error = outcome.error
    more = {
        "stage": outcome.stage.value if outcome.stage else "",
        "hint": error.hint,
        "console": error.console[-_CONSOLE_LENGTH:],
        "remains": outcome.remains,
        "kept": outcome.kept,
    }
    additional = {name: value for name, value in more.items() if value}
    return StatusDetail(code=error.code.value, message=error.message, additional_information=additional)


def _warnings_told(warnings: Sequence[Warned]) -> StatusDetail | None:
    if not warnings:
        return None
    codes = " ".join(warned.code for warned in warnings)
    return StatusDetail(
        code=warnings[0].code.value,
        message="; ".join(f"{warned.message} [{warned.code}]" for warned in warnings),
        additional_information={"stage": "set-up", "failed": codes},
    )
