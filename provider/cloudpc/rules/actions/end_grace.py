"""End a grace period now. Graph's `endGracePeriod`."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.rules.actions.action import Action, Question
from cloudpc.rules.actions.case import Candidate
from cloudpc.rules.asked import Asked, Written
from cloudpc.rules.notices import Reason, shown


def _time(value: object) -> datetime:
    """Also as the engine hands over, and writes back, what a file has without quotes: 2026-11-30 09:00:00 +0000 UTC."""
    with contextlib.suppress(ValueError):
        time = datetime.fromisoformat(re.sub(r" ([+-]\d\d)(\d\d) \S+$", r"\1:\2", str(value)))
        if time.tzinfo is not None:
            return time
    raise ValueError("must be a time with its zone, for example 2026-11-30T09:00:00Z")


@dataclass(frozen=True)
class AnotherEnd(Reason):
    """What is written is not the end of this grace period."""

    warning = True
    asked: datetime
    end: datetime

    def __str__(self) -> str:
        meant = f"endGrace {shown(self.asked)} in cloudpc:actions is ignored: its grace period"
        return f"{meant} ends on {self.end:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class NotInGrace(Reason):
    """There is nothing to end."""

    status: Status

    def __str__(self) -> str:
        return f"it is {self.status}; only a Cloud PC that is inGracePeriod has a grace period to end"


class EndGrace(Action[Asked]):
    """Its trace is the end of the very grace period that is to be cut short: no later one is meant.

    The lifecycle ends it as it ends one whose time has come (`cloudpc.rules.grace`), which is its step.
    """

    name = "endGrace"
    command = "end-grace"
    graph = "endGracePeriod"
    help = "End the grace period of Cloud PCs now: they are deleted with all data on them."
    description = "The gracePeriodEndDateTime of the grace period to end now; later ones are not affected."
    question = Question("All data on {cloud_pcs} will be lost:", "End the grace period of {cloud_pcs}?")
    loses_data = True
    must_name_users = True
    trace: Any = dict[str, Annotated[datetime, BeforeValidator(_time)]]

    def asks(self, recorded: RecordedCloudPC, written: Any = None, asked: Asked | None = None) -> str:
        del written, asked
        end = recorded.grace_period_end_date_time
        return end.isoformat().replace("+00:00", "Z") if end else ""

    def is_done(self, recorded: RecordedCloudPC, asked: int | str | Asked) -> bool:
        del asked
        return not _is_in_grace(recorded)

    def refusal(self, candidate: Candidate[Asked]) -> Reason | None:
        recorded = candidate.recorded
        return None if _is_in_grace(recorded) else NotInGrace(recorded.status)

    def ignored(self, recorded: RecordedCloudPC, asked: Written | None, now: datetime) -> AnotherEnd | None:
        """Whether what is written means no grace period that there was, and is not the one that goes on."""
        end = recorded.grace_period_end_date_time or now
        if isinstance(asked, datetime) and asked > now and recorded.generation == 1:  # otherwise of an earlier one
            return AnotherEnd(asked, end)
        return None


def _is_in_grace(recorded: RecordedCloudPC) -> bool:
    """True also for one that was lost meanwhile."""
    return recorded.status_if_there is Status.IN_GRACE_PERIOD and recorded.grace_period_end_date_time is not None


END_GRACE = EndGrace()
