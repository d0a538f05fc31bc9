"""How often a virtual machine may be asked and changed: buckets that are refilled steadily (Azure's own figures)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.azure.clock import Clock
from tests.azure.errors import ArmFault


@dataclass(frozen=True)
class Kind:
    """A kind of bucket.

    Args:
        name: as Azure's answer tells it.
        burst: how many it holds.
        per_minute: how many are added in a minute.
    """

    name: str
    burst: int
    per_minute: float


WRITES = Kind("VMWrites3Min", 12, 4)
READS = Kind("VMReads3Min", 36, 12)
POLLS = Kind("GetOperation3Min", 45, 15)
CREATES = Kind("CreateVM", 500, 500)
"""Of a subscription in a region."""
LISTS = Kind("ListVMs", 300, 300)
"""The same."""


class Buckets:
    """Of all virtual machines.

    Args:
        clock: of Azure.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[tuple[str, str], tuple[float, float]] = {}
        self.on = True
        """False: nobody is throttled."""
        self.counts_tags = False
        """Whether changes of a machine's tags are writes of it: nobody has said."""

    def take(self, kind: Kind, whose: str) -> None:
        """One more; ArmFault 429: none is left."""
        key = (kind.name, whose.lower())
        now = self._clock.now()
        left, seen = self._left.get(key, (float(kind.burst), now))
        left = min(kind.burst, left + (now - seen) * kind.per_minute / 60)
        if left >= 1 or not self.on:
            self._left[key] = (max(0.0, left - 1), now)
            return
        self._left[key] = (left, now)
        wait = (1 - left) * 60 / kind.per_minute
        measured = {"operationGroup": kind.name, "allowedRequestCount": kind.burst}
        detail = {"code": "TooManyRequests", "target": kind.name, "message": json.dumps(measured)}
        raise ArmFault("TooManyRequests", details=[detail], target=kind.name, Retry_After=self._clock.told(wait))

    def left(self, kind: Kind, whose: str) -> float:
        """How many more are allowed now, for tests."""
        left, seen = self._left.get((kind.name, whose.lower()), (float(kind.burst), self._clock.now()))
        return min(kind.burst, left + (self._clock.now() - seen) * kind.per_minute / 60)
