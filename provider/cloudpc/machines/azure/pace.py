"""How often Azure is asked: it counts reads and writes of each machine, 12 and 4 of them a minute."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_READ_EVERY, _WRITE_EVERY = 10.0, 15.0
"""Seconds. Of reads, half of what Azure allows, since others look, too."""
_SOONER = (7.0,)
"""Pauses at first, where something may be over soon: Azure lets 36 reads pass before it counts."""
_LOOPBACK = 0.01
"""By how much the seconds of an Azure on this machine's loopback, which tests start, are shorter."""


def reads(arm: Arm, *, soon: bool = True) -> Iterator[float]:
    """Seconds between two looks, without end.

    Args:
        arm: what is asked.
        soon: whether it may well be over in a few seconds.
    """
    yield from _of(arm, itertools.chain(_SOONER if soon else (), itertools.repeat(_READ_EVERY)))


def writes(arm: Arm) -> Iterator[float]:
    """Seconds between two tries to change something, without end."""
    yield from _of(arm, itertools.repeat(_WRITE_EVERY))


def _of(arm: Arm, pauses: Iterable[float]) -> Iterator[float]:
    return (seconds * (_LOOPBACK if arm.config.endpoint else 1.0) for seconds in pauses)
