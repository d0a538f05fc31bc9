"""How often Azure is asked: it counts reads and writes of each machine, 12 and 4 of them a minute."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_READ_EVERY, _WRITE_EVERY = 10.0, 15.0
"""Seconds. Of reads, half of what Azure allows, since others look, too."""
_CARD, _PLACED, _BOOTED, _SCRIPT = 4.0, 15.0, 20.0, 20.0
"""Seconds before the first look, which mostly finds it done: at a network card, at a machine that waits for its place,
at the agent of one that has it, and at a script, which takes 20 s at least, says Microsoft ("Run scripts in your Linux
VM by using action Run Commands", restrictions)."""
_LOOPBACK = 0.01
"""By how much the seconds of an Azure on this machine's loopback, which tests start, are shorter."""


def reads(arm: Arm) -> Iterator[float]:
    """Seconds between two looks, without end."""
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


def scripts(arm: Arm) -> Iterator[float]:
    """Seconds before each look at a script that the agent was just given, without end."""
    yield from _of(arm, itertools.chain([_SCRIPT], itertools.repeat(_READ_EVERY)))


def writes(arm: Arm) -> Iterator[float]:
    """Seconds between two tries to change something, without end."""
    yield from _of(arm, itertools.repeat(_WRITE_EVERY))


def _of(arm: Arm, pauses: Iterable[float]) -> Iterator[float]:
    return (seconds * (_LOOPBACK if arm.config.endpoint else 1.0) for seconds in pauses)
