"""What a Cloud PC is after a step of a run. Pure.

Each function takes what is recorded and what happened, and gives what is recorded from now on. A pair that the
lifecycle never makes (`lifecycle.next_step`) is refused: what it would come to, nobody has thought about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status, StatusDetail
from cloudpc.model.credentials import RecordedCredentials
from cloudpc.model.guests import Warned
from cloudpc.model.machines import PowerState
from cloudpc.model.outcome import Outcome
from cloudpc.rules.findings import powered
from cloudpc.rules.recording import changed, event, refuse_unless, without

_CONSOLE_LENGTH = 600


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
        facts=dict(outcome.facts),
        credentials=outcome.credentials and RecordedCredentials.of(outcome.credentials),
        on_premises_connection_name=outcome.connection,
        device=outcome.device,
        computer=outcome.computer,
        events=recorded.events if recorded else (),
    )
    why = outcome.error.code.value if outcome.error else f"generation {made.generation} as {made.device_name}"
    return event(pc, f"{asked}, {why}" if (asked := _asked_for(desired, recorded)) else why, now)


def set_up_again(
    recorded: RecordedCloudPC, desired: DesiredCloudPC, warnings: Sequence[Warned], now: datetime
) -> RecordedCloudPC:
    """What came of trying again what had failed of the set-up: the settings it has now, and what still fails."""
    refuse_unless(recorded.status is Status.PROVISIONED_WITH_WARNINGS, "set up again", recorded)
    detail = _warnings_told(warnings)
    status = Status.PROVISIONED_WITH_WARNINGS if detail else Status.PROVISIONED
    done = {"settings": desired.settings, "retry": desired.retry, "status": status, "status_detail": detail}
    why = f"retry, {detail.code}" if detail else "retried, its set-up is complete"
    return event(changed(powered(recorded, PowerState.RUNNING), done), why, now)


def acted(after: RecordedCloudPC, why: str, now: datetime) -> RecordedCloudPC:
    """A remote action was carried out; `after` has what that changes."""
    refuse_unless(after.status in USABLE, "acted on", after)
    return event(after, why, now)


def started(recorded: RecordedCloudPC, why: str, now: datetime) -> RecordedCloudPC:
    """Its machine works again."""
    refuse_unless(recorded.stands_still, "started", recorded)
    return event(powered(recorded, PowerState.RUNNING), why, now)


def grace_begun(recorded: RecordedCloudPC, desired: DesiredCloudPC, now: datetime) -> RecordedCloudPC:
    """Its user is no longer entitled; one that is lost stays so, and is in grace when its machine is back."""
    before = recorded.status_if_there
    refuse_unless(before in USABLE, "put into its grace period", recorded)
    pc = changed(recorded, {"status_before_grace": before})
    return _into(pc, desired, Status.IN_GRACE_PERIOD, desired.why, now)


def restored(recorded: RecordedCloudPC, desired: DesiredCloudPC, now: datetime) -> RecordedCloudPC:
    """Its user is entitled again: what it was before its grace period."""
    refuse_unless(recorded.status_if_there is Status.IN_GRACE_PERIOD, "restored", recorded)
    before = recorded.status_before_grace or Status.PROVISIONED
    return _into(changed(recorded, {"status_before_grace": None}), desired, before, "entitled again", now)


def ended(
    recorded: RecordedCloudPC, desired: DesiredCloudPC, leftovers: Sequence[str], now: datetime
) -> RecordedCloudPC:
    """Without what belonged to the machine; an earlier error no longer says anything."""
    refuse_unless(recorded.status not in USABLE and not recorded.is_gone, "ended", recorded)
    of_the_machine = (
        "access", "credentials", "facts", "power_state", "paused_because", "billed_while_off",
        "on_premises_connection_name", "status_detail", "before_loss", "before_change",
        *(() if leftovers else ("device", "computer")),
        *(("host",) if recorded.is_not_in_state else ()),  # the machine there is none that state knows
    )  # fmt: skip
    pc = changed(without(recorded, of_the_machine), _asked(desired))
    over = changed(pc, {"status": Status.DEPROVISIONING, "leftovers": tuple(leftovers)})
    return event(over, f"not removed completely: {'; '.join(leftovers)}" if leftovers else desired.why, now)


def removed(recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """Its policy was removed whole: the last that is said of it."""
    return event(changed(recorded, {"status": Status.DEPROVISIONING}), "removed with its policy", now)


def _asked(desired: DesiredCloudPC) -> dict[str, Any]:
    """What changes on the same machine; all else stays as the machine was made."""
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
    """Into its grace period or out of it; one that is lost stays so, and gets this status when its machine is back."""
    pc = changed(pc, _asked(desired))
    if (was := pc.before_loss) is not None:
        return event(changed(pc, {"before_loss": was.model_copy(update={"status": status})}), why, now)
    return event(changed(pc, {"status": status}), why, now)


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
