"""Waiting for what tells nobody when it happens: as short as possible, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait until the condition is true.

    Raises:
        AssertionError: it did not come true in time; with what to say then.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
