"""What other packages add: drivers, sources of images, commands, found by the group of entry points that they name."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


@cache
def _all() -> Any:  # another type before Python 3.12
    """Read once: to look for one group reads the metadata of everything that is installed, too."""
    return entry_points()


def of_group(group: str) -> list[EntryPoint]:
    """Those of a group, by name."""
    return sorted(_all().select(group=group), key=lambda entry: entry.name)
