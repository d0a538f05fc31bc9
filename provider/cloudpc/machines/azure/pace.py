"""How often Azure is asked: it counts reads and writes of each machine, 12 and 4 of them a minute."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_READ_EVERY, _WRITE_EVERY = 10.0, 15.0
"""Seconds. Of reads, half of what Azure allows, since others look, too."""
_CARD, _PLACED, _BOOTED = 4.0, 15.0, 20.0
"""Seconds before the first look, which mostly finds it done: at a network card, at a machine that waits for its place,
and at the agent of one that has it."""
_LOOPBACK = 0.01
"""By how much the seconds of an Azure on this machine's loopback, which tests start, are shorter."""


def reads(arm: Arm) -> Iterator[float]:
    """Seconds between two looks, without end. A script is mostly over after two: agents take 10 s to hear of one."""
    yield from _of(arm, itertools.repeat(_READ_EVERY))


def card(arm: Arm) -> float:
    """Seconds before the first look at a network card that is being made."""
    return next(_of(arm, [_CARD]))


def placed(arm: Arm) -> Iterator[float]:
    """Seconds before each look at a machine that waits for its place, without end."""
    yield from _of(arm, [_PLACED])
    yield from itertools.repeat(arm.interval)


def booted(arm: Arm) -> Iterator[float]:
    """Seconds before each look at the agent of a machine that was just made, without end."""
    yield from _of(arm, itertools.chain([_BOOTED], itertools.repeat(_READ_EVERY)))


def writes(arm: Arm) -> Iterator[float]:
    """Seconds between two tries to change something, without end."""
    yield from _of(arm, itertools.repeat(_WRITE_EVERY))


def _of(arm: Arm, pauses: Iterable[float]) -> Iterator[float]:
    return (seconds * (_LOOPBACK if arm.config.endpoint else 1.0) for seconds in pauses)
