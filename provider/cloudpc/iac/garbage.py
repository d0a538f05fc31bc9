"""Python's collector of cycles, in processes that begin by importing some 600 modules."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 10_000


def collect_seldom() -> None:
    """Look for cycles after this many new objects, no longer after 700.

    What is imported lives as long as the process, and to look through it again and again is a sixth of what starting
    takes. 10,000 objects that nobody needs are a few MiB at most.
    """
    gc.set_threshold(_NEW_OBJECTS)
