"""What somebody may do in Azure, from what ARM lists: actions that roles give, less those that they except."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any


def missing(needed: Iterable[str], permissions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which of these actions nobody has given.

    Args:
        needed: such as `Microsoft.Compute/virtualMachines/write`.
        permissions: what `Microsoft.Authorization/permissions` lists: one entry for each role that holds there. What
            one excepts, another may give.
    """
    roles = list(permissions)
    return [action for action in needed if not any(_gives(role, action) for role in roles)]


def _gives(role: Mapping[str, Any], action: str) -> bool:
    return _is_in(action, role.get("actions")) and not _is_in(action, role.get("notActions"))


def _is_in(action: str, patterns: Iterable[str] | None) -> bool:
    """A `*` stands for anything, slashes too; case does not matter."""
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns or ())
