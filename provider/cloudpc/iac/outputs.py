"""A Cloud PC's outputs: what it was asked to be (pinned), what came of it, and its last changes.

Always complete: Pulumi keeps no output that an update does not return (pulumi/pulumi#7809).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cloudpc.model import access
from cloudpc.model.cloud_pc import WAITING, DesiredCloudPC, Status
from cloudpc.model.credentials import Credentials
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Warned
from cloudpc.model.machines import PowerState
from cloudpc.model.text import told
from cloudpc.provisioning.pipeline import Outcome

SECRET = ["credentials"]
"""Outputs that are Pulumi secrets."""
SEEN = "seen"
"""An input, there only where a run has found the machine otherwise than state has it: what it has found, in a word."""
EVENTS_KEPT = 8
"""State is rewritten at each step of a run, so it keeps only the last; `cloudpc:audit` keeps all."""
_EVENT_LENGTH = 179
"""With the time before it, 200 characters."""
_OF_THE_MACHINE = (
    "connection", "hostKey", "certificateThumbprint", "credentials", "powerState", "pausedBecause",
    "onPremisesConnectionName", "statusDetail", "beforeLoss", "beforeChange",
)  # fmt: skip
_REGISTERED = ("device", "computer")
_TRIED_EACH_RUN = WAITING | {Status.DEPROVISIONING}


def pinned(desired: DesiredCloudPC) -> dict[str, Any]:
    """What a Cloud PC is asked to be, as small as it can be said: state is rewritten at each step."""
    return desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)


def from_outcome(
    desired: DesiredCloudPC, outcome: Outcome, events: Sequence[str] = (), asked: str = ""
) -> dict[str, Any]:
    """What provisioning came to; `asked` says what somebody has asked for, if it was not the first."""
    desired = outcome.desired or desired
    outs: dict[str, Any] = {
        **pinned(desired),
        "attempts": outcome.attempts,
        "host": outcome.host,
        "events": list(events),
    }
    if detail := _status_detail(outcome):
        outs["statusDetail"] = detail
    if outcome.access is not None:
        outs |= access.to_outputs(outcome.access)
    if outcome.credentials is not None:
        outs["credentials"] = _credentials(outcome.credentials)
    for name, registered in zip(_REGISTERED, (outcome.device, outcome.computer), strict=True):
        if registered is not None:
            outs[name] = registered.model_dump(by_alias=True, exclude_defaults=True)
    if outcome.connection:
        outs["onPremisesConnectionName"] = outcome.connection
    why = outcome.error.code.value if outcome.error else f"generation {desired.generation} as {desired.device_name}"
    return with_event(outs, outcome.status, f"{asked}, {why}" if asked else why)


def _credentials(credentials: Credentials) -> dict[str, Any]:
    outs: dict[str, Any] = {"user": credentials.user, "password": credentials.password}
    if (given := credentials.access_pass) is not None:
        outs["temporaryAccessPass"] = {
            "temporaryAccessPass": given.value,
            "startDateTime": given.start_date_time,
            "lifetimeInMinutes": given.lifetime_in_minutes,
            "isUsableOnce": given.is_usable_once,
        }
    return outs


def changed(olds: dict[str, Any], desired: DesiredCloudPC, status: Status, why: str, **more: Any) -> dict[str, Any]:
    """Another status of the same machine; what `more` has as None goes."""
    asked = ("desiredStatus", "why", "gracePeriodEndDateTime", "waivedGeneration", "userPrincipalName")
    outs = {name: value for name, value in olds.items() if name not in asked}
    outs |= {name: value for name, value in pinned(desired).items() if name in asked}
    outs |= more
    return with_event({name: value for name, value in outs.items() if value is not None}, status, why)


def set_up_again(olds: dict[str, Any], desired: DesiredCloudPC, warnings: Sequence[Warned]) -> dict[str, Any]:
    """What came of trying again what had failed of the set-up: the settings it has now, and what still fails."""
    outs = {name: value for name, value in olds.items() if name not in ("settings", "statusDetail")}
    outs |= {name: value for name, value in pinned(desired).items() if name in ("settings", "retry")}
    if (detail := _warnings_told(warnings)) is None:
        return with_event(outs, Status.PROVISIONED, "retry, its set-up is complete")
    return with_event({**outs, "statusDetail": detail}, Status.PROVISIONED_WITH_WARNINGS, f"retry, {detail['code']}")


def kernel_moved(olds: dict[str, Any], desired: DesiredCloudPC, why: str) -> dict[str, Any]:
    """With another build's kernel, from its next start on."""
    moved = {name: value for name, value in pinned(desired).items() if name in ("kernelGeneration", "kernelDigest")}
    return with_event({**olds, **moved}, Status(olds["status"]), why)


def ended(olds: dict[str, Any], desired: DesiredCloudPC, leftovers: Sequence[str]) -> dict[str, Any]:
    """Without what belonged to the machine; an earlier error no longer says anything."""
    over = (*_OF_THE_MACHINE, *(() if leftovers else _REGISTERED))
    rest = {name: value for name, value in olds.items() if name not in over}
    why = f"not whole: {'; '.join(leftovers)}" if leftovers else desired.why
    return changed(rest, desired, Status.DEPROVISIONING, why, leftovers=list(leftovers) or None)


def wrong(
    olds: dict[str, Any], status: Status, code: ErrorCode, message: str, before: str | None = None
) -> dict[str, Any]:
    """What a refresh has seen to be wrong, as status; what it was until then is kept in the output `before`, if any."""
    detail = {"code": code.value, "message": message, "additionalInformation": {}}
    if olds.get("statusDetail") == detail:
        return olds
    was = {before: {name: olds[name] for name in ("status", "statusDetail") if name in olds}} if before else {}
    return with_event({**was, **olds, "statusDetail": detail}, status, code)


def well_again(olds: dict[str, Any], before: str, why: str) -> dict[str, Any]:
    """As it was before `wrong`."""
    was = olds.get(before) or {"status": Status.PROVISIONED.value}
    outs = {name: value for name, value in olds.items() if name not in (before, "statusDetail")}
    return with_event({**outs, **was}, Status(was["status"]), why)


def readable_in_grace(olds: dict[str, Any], before: str) -> dict[str, Any]:
    """As it was; also what it is once its user is back."""
    was = olds.get(before, {}).get("status", olds.get("statusBeforeGrace"))
    outs = {name: value for name, value in olds.items() if name not in (before, "statusDetail")}
    return with_event({**outs, "statusBeforeGrace": was}, Status(olds["status"]), "its machine's tag can be read again")


def moved(olds: dict[str, Any], host: str) -> dict[str, Any]:
    """With its machine on another host, or on the same by another name."""
    return with_event({**olds, "host": host}, Status(olds["status"]), f"its machine is on {host} now")


def powered(olds: dict[str, Any], power: PowerState, paused_because: str = "") -> dict[str, Any]:
    """Whether its machine works, and why not if it is paused; that it does is not worth saying."""
    outs = {name: value for name, value in olds.items() if name not in ("powerState", "pausedBecause")}
    match power:
        case PowerState.RUNNING:
            return outs
        case PowerState.STOPPED:
            return {**outs, "powerState": "poweredOff"}
        case PowerState.PAUSED:
            return {**outs, "powerState": "paused", "pausedBecause": paused_because}


def with_event(outs: dict[str, Any], status: Status, why: str) -> dict[str, Any]:
    """The status, when it came to be, and a line of history; what was tried again with the same end has not changed."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    events, event = outs.get("events", []), f"{status} {told(why)}"[:_EVENT_LENGTH]
    since, _, last = events[-1].partition(" ") if events else ("", "", "")
    if status not in _TRIED_EACH_RUN or event != last:
        since, events = now, [*events, f"{now} {event}"]
    return {**outs, "status": status.value, "lastModifiedDateTime": since, "events": events[-EVENTS_KEPT:]}


def _status_detail(outcome: Outcome) -> dict[str, Any] | None:
    if outcome.error is not None:
        error = outcome.error
        more = {
            "stage": outcome.stage.value if outcome.stage else "",
            "hint": error.hint,
            "console": error.console[-600:],
            "remains": outcome.remains,
            "kept": outcome.kept,
        }
        return {
            "code": error.code.value,
            "message": error.message,
            "additionalInformation": {name: value for name, value in more.items() if value},
        }
    return _warnings_told(outcome.warnings)


def _warnings_told(warnings: Sequence[Warned]) -> dict[str, Any] | None:
    if not warnings:
        return None
    return {
        "code": warnings[0].code.value,
        "message": "; ".join(f"{w.message} [{w.code}]" for w in warnings),
        "additionalInformation": {"stage": "set-up", "failed": " ".join(w.code for w in warnings)},
    }
