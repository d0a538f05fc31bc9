"""A Cloud PC that stays what it is."""

from __future__ import annotations

from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC, Status


def as_it_is(recorded: RecordedCloudPC) -> DesiredCloudPC:
    """What is recorded, as what is desired."""
    same = DesiredCloudPC.model_validate(recorded.model_dump())
    there = recorded.status_if_there
    leaving = there if there in (Status.IN_GRACE_PERIOD, Status.DEPROVISIONING) else Status.PROVISIONED
    return same.model_copy(update={"desired_status": leaving})
