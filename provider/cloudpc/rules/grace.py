"""The grace period of a Cloud PC whose user is no longer entitled: its beginning, its end, and the return in time.

Windows 365 "Grace period": its user goes on working, and who is entitled again in time has it back as it was.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.rules.actions.end_grace import END_GRACE
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.decision import Decision, standing_still
from cloudpc.rules.entitlement import Loss
from cloudpc.rules.kept import as_it_is
from cloudpc.rules.notices import BeginsGrace, EndsUnused, EntitledAgain, GraceEnds
from cloudpc.rules.today import Today


def leaving(recorded: RecordedCloudPC, loss: Loss, today: Today, now: datetime) -> Decision:
    """What becomes of one that is no longer owed to anybody.

    Of a lost one there may still be a disk, and a person who defines its machine again.
    """
    if recorded.status_if_there in USABLE:
        return _begin(recorded, loss, now + timedelta(hours=today.grace_period_in_hours))
    if recorded.status_if_there is Status.IN_GRACE_PERIOD:
        return _go_on(recorded, today, now)
    return Decision(_ended(recorded, str(loss)), (EndsUnused(recorded.status, str(loss)),))


def returning(recorded: RecordedCloudPC, today: Today) -> Decision:
    """Restored with its data, even if a reprovision was asked for: whoever asked did not know of the return."""
    asked, waived = today.asked(REPROVISION.name, recorded.key), 0
    if isinstance(asked, int) and asked > REPROVISION.count(recorded):
        waived = asked
    desired = as_it_is(recorded).model_copy(
        update={
            "desired_status": Status.PROVISIONED,
            "grace_period_end_date_time": None,
            "why": "",
            "waived_generation": waived or recorded.waived_generation,
        }
    )
    return Decision(desired, (EntitledAgain(waived),))


def begins(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
    """Whether this run is what begins its grace period."""
    return desired.desired_status is Status.IN_GRACE_PERIOD and recorded.status_if_there in USABLE


def _begin(recorded: RecordedCloudPC, loss: Loss, end: datetime) -> Decision:
    asked = {"desired_status": Status.IN_GRACE_PERIOD, "grace_period_end_date_time": end, "why": str(loss)}
    return Decision(as_it_is(recorded).model_copy(update=asked), (BeginsGrace(end, str(loss)),))


def _go_on(recorded: RecordedCloudPC, today: Today, now: datetime) -> Decision:
    end = recorded.grace_period_end_date_time or now
    asked = today.asked(END_GRACE.name, recorded.key)
    if now >= end:
        return _end(recorded, GraceEnds(recorded.why, end))
    if asked == end:
        return _end(recorded, GraceEnds(recorded.why))
    ignored = END_GRACE.ignored(recorded, asked, now)
    return Decision(as_it_is(recorded), ((ignored,) if ignored else ()) + standing_still(recorded))


def _end(recorded: RecordedCloudPC, reason: GraceEnds) -> Decision:
    return Decision(_ended(recorded, reason.whole_why), (reason,))


def _ended(recorded: RecordedCloudPC, why: str) -> DesiredCloudPC:
    return as_it_is(recorded).model_copy(update={"desired_status": Status.DEPROVISIONING, "why": why})
