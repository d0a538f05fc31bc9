"""What a run decides of one Cloud PC."""

from __future__ import annotations

from dataclasses import dataclass

from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC
from cloudpc.rules.notices import Reason, StandsStill


@dataclass(frozen=True)
class Decision:
    """What becomes of it, and what people are told about that."""

    desired: DesiredCloudPC
    told: tuple[Reason, ...] = ()


def standing_still(recorded: RecordedCloudPC) -> tuple[Reason, ...]:
    """That its machine is off or paused, if so: it is started."""
    if not recorded.stands_still:
        return ()
    return (StandsStill(recorded.paused_because if recorded.power_state == "paused" else None),)
