"""What becomes of a Cloud PC whose user is no longer entitled: grace, and its end.

Windows 365 "Grace period": its user goes on working, and who is entitled again in time has it back as it was.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.rules.actions.action import as_it_is
from cloudpc.rules.actions.end_grace import END_GRACE
from cloudpc.rules.decision import Decision, standing_still
from cloudpc.rules.entitlement import Loss
from cloudpc.rules.notices import BeginsGrace, EndsUnused, GraceEnds, NotRemovedWhole
from cloudpc.rules.today import Today


def decide(recorded: RecordedCloudPC, loss: Loss, today: Today, now: datetime) -> Decision:
    """What becomes of it. Of a lost one there may still be a disk, and a person who defines its machine again."""
    if recorded.status_if_there in USABLE:
        return _begins_grace(recorded, loss, now + timedelta(hours=today.grace_period_in_hours))
    if recorded.status_if_there is Status.IN_GRACE_PERIOD:
        return _in_grace(recorded, today, now)
    return Decision(_ended(recorded, str(loss)), (EndsUnused(recorded.status, str(loss)),))


def removed_again(recorded: RecordedCloudPC) -> Decision:
    """Of one that has ended and has left something."""
    return Decision(as_it_is(recorded), (NotRemovedWhole(recorded.leftovers),))


def begins_grace(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
    """Whether this run is what begins its grace period."""
    return desired.desired_status is Status.IN_GRACE_PERIOD and recorded.status_if_there in USABLE


def _begins_grace(recorded: RecordedCloudPC, loss: Loss, end: datetime) -> Decision:
    asked = {"desired_status": Status.IN_GRACE_PERIOD, "grace_period_end_date_time": end, "why": str(loss)}
    return Decision(as_it_is(recorded).model_copy(update=asked), (BeginsGrace(end, str(loss)),))


def _in_grace(recorded: RecordedCloudPC, today: Today, now: datetime) -> Decision:
    end = recorded.grace_period_end_date_time or now
    asked = today.asked(END_GRACE.name, recorded.key)
    if now >= end:
        return _grace_ends(recorded, GraceEnds(recorded.why, end))
    if asked == end:
        return _grace_ends(recorded, GraceEnds(recorded.why))
    ignored = END_GRACE.ignored(recorded, asked, now)
    return Decision(as_it_is(recorded), ((ignored,) if ignored else ()) + standing_still(recorded))


def _grace_ends(recorded: RecordedCloudPC, reason: GraceEnds) -> Decision:
    return Decision(_ended(recorded, reason.whole_why), (reason,))


def _ended(recorded: RecordedCloudPC, why: str) -> DesiredCloudPC:
    return as_it_is(recorded).model_copy(update={"desired_status": Status.DEPROVISIONING, "why": why})
