"""Waiting for what happens elsewhere: as short as possible, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60) -> T:
    """The condition's value as soon as it is true.

    Raises:
        AssertionError: it did not come true; with what was waited for.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.02)
    return value
