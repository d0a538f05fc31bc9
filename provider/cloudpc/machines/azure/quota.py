"""How much of a subscription's quota of a location is used: cores in all and by family, and machines."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

REGIONAL = "cores"
"""The usage of all cores of a location, whatever their family."""
MACHINES = "virtualMachines"
_FRESH = 5.0
"""Seconds for which an answer counts as current, so that not each of many that are placed at once asks."""


@dataclass(frozen=True)
class Usage:
    """How much of a quota is used; its name as people see it in the portal."""

    used: int
    limit: int
    title: str = ""


@dataclass(frozen=True)
class Quota:
    """Usages by their name in lower case; a size's family is one of the names."""

    usages: Mapping[str, Usage] = field(default_factory=dict)

    def of(self, name: str) -> Usage | None:
        """The usage of this name; None where Azure counts nothing of it."""
        return self.usages.get(name.lower())

    def left(self, name: str) -> float:
        """How much of it is left, at least 0; infinite where Azure counts nothing of it."""
        usage = self.of(name)
        return math.inf if usage is None else max(0, usage.limit - usage.used)

    def lacks(self, family: str, vcpus: int) -> str:
        """The name of the quota that is too small for a machine of a family with so many cores; empty if none is."""
        wanted = ((REGIONAL, vcpus), (family, vcpus), (MACHINES, 1))
        return next((name for name, amount in wanted if self.left(name) < amount), "")

    def title(self, name: str) -> str:
        """What people call it."""
        usage = self.of(name)
        return usage.title if usage is not None and usage.title else name


def read_quota(items: Iterable[Mapping[str, Any]]) -> Quota:
    """What a list of Azure's says."""
    return Quota(
        {
            str(item["name"]["value"]).lower(): Usage(
                int(item["currentValue"]), int(item["limit"]), str(item["name"].get("localizedValue") or "")
            )
            for item in items
        }
    )


class Usages:
    """Asks for the usages of a location.

    Args:
        arm: asks Azure.
        location: of the host.
    """

    def __init__(self, arm: Arm, location: str) -> None:
        self._arm = arm
        self._location = location
        self._asking = threading.Lock()
        self._last: tuple[float, Quota] | None = None

    def quota(self, watch: Watch | None = None) -> Quota:
        """What is used now. Raises what `Arm.asking` does."""
        with self._asking:
            if self._last is None or time.monotonic() - self._last[0] > _FRESH:
                with self._arm.asking(f"read the quota of {self._location}", watch):
                    found = read_quota(self._arm.compute.usage.list(self._location))
                self._last = (time.monotonic(), found)
            return self._last[1]
