"""What this driver may do in Azure: the actions that it needs, where, and whether somebody has been given them.

docs/azure-roles has them as roles for Azure; a test compares both with the requests that are really made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

_MACHINE: Final = "Microsoft.Compute/virtualMachines"
_CARD: Final = "Microsoft.Network/networkInterfaces"
_NETWORK: Final = "Microsoft.Network/virtualNetworks"

GROUP: Final = (
    f"{_MACHINE}/read", f"{_MACHINE}/write", f"{_MACHINE}/delete",
    f"{_MACHINE}/start/action", f"{_MACHINE}/powerOff/action", f"{_MACHINE}/deallocate/action",
    f"{_MACHINE}/instanceView/read", f"{_MACHINE}/retrieveBootDiagnosticsData/action",
    f"{_MACHINE}/runCommands/read", f"{_MACHINE}/runCommands/write", f"{_MACHINE}/runCommands/delete",
    f"{_MACHINE}/extensions/read", f"{_MACHINE}/extensions/write",
    "Microsoft.Compute/disks/read", "Microsoft.Compute/disks/write", "Microsoft.Compute/disks/delete",
    f"{_CARD}/read", f"{_CARD}/write", f"{_CARD}/delete", f"{_CARD}/join/action",
    "Microsoft.Resources/tags/write",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Resources/subscriptions/resourceGroups/resources/read",
    "Microsoft.Authorization/permissions/read",
)  # fmt: skip
"""On the resource group of a host's entry."""
NETWORK: Final = (
    f"{_NETWORK}/read", f"{_NETWORK}/usages/read", f"{_NETWORK}/subnets/join/action",
    "Microsoft.Authorization/permissions/read",
)  # fmt: skip
"""On each virtual network that a connection or a hostedNetwork names."""
SUBSCRIPTION: Final = (
    "Microsoft.Compute/skus/read", "Microsoft.Compute/locations/usages/read",
    "Microsoft.Compute/locations/operations/read", "Microsoft.Network/locations/operations/read",
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read",
    "Microsoft.Resources/subscriptions/providers/read",
)  # fmt: skip
"""On the subscription: only reading."""
IMAGES: Final = (
    "Microsoft.Compute/galleries/images/read", "Microsoft.Compute/galleries/images/versions/read",
    "Microsoft.Compute/images/read",
)  # fmt: skip
"""On the groups of images of one's own that `cloudpc:images` names."""


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
