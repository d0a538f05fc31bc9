"""What is recorded, with changes and the line of history that says so: what all transitions are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cloudpc.model.cloud_pc import WAITING, RecordedCloudPC, Status
from cloudpc.model.text import told

EVENTS_KEPT = 8
"""State is rewritten at each step of a run, so it keeps only the last; `cloudpc:audit` keeps all."""
_EVENT_LENGTH = 179
"""With the time before it, 200 characters."""
_TRIED_EACH_RUN = WAITING | {Status.DEPROVISIONING}


class ImpossibleTransitionError(ValueError):
    """The lifecycle never asks for this of such a Cloud PC."""


def refuse_unless(possible: bool, what: str, recorded: RecordedCloudPC) -> None:
    """Raises ImpossibleTransitionError."""
    if not possible:
        raise ImpossibleTransitionError(f"a Cloud PC that is {recorded.status} can't be {what}")


def changed(pc: RecordedCloudPC, changes: dict[str, Any]) -> RecordedCloudPC:
    """With these fields."""
    return pc.model_copy(update=changes)


def without(pc: RecordedCloudPC, names: Sequence[str]) -> RecordedCloudPC:
    """With these fields as they are of one that was never made."""
    return changed(pc, {name: type(pc).model_fields[name].default for name in names})


def event(pc: RecordedCloudPC, why: str, now: datetime) -> RecordedCloudPC:
    """A line of history, and since when; what was tried again with the same end has not changed."""
    line = f"{pc.status} {told(why)}"[:_EVENT_LENGTH]
    since, _, last = pc.events[-1].partition(" ") if pc.events else ("", "", "")
    if pc.status in _TRIED_EACH_RUN and line == last:
        return changed(pc, {"last_modified_date_time": _precise(datetime.fromisoformat(since), pc)})
    now = now.astimezone(UTC)
    events = (*pc.events, f"{now.isoformat(timespec='seconds').replace('+00:00', 'Z')} {line}")
    return changed(pc, {"last_modified_date_time": now, "events": events[-EVENTS_KEPT:]})


def _precise(since: datetime, pc: RecordedCloudPC) -> datetime:
    """An event's time has whole seconds; that of the last change is finer, so that runs within a second differ."""
    last = pc.last_modified_date_time
    return last if last and last.replace(microsecond=0) == since else since
