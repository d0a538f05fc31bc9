"""Which right a request needs, and whether it is among those that somebody has."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from tests.azure.errors import Json

_VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


def action_of(method: str, path: str) -> str:
    """The right that a request needs, for example `Microsoft.Compute/virtualMachines/start/action`."""
    _, provider, rest = path.rpartition("/providers/")
    if not provider:
        kind = "Microsoft.Resources/subscriptions"
        if "/resourcegroups/" in path.lower():
            kind += "/resourceGroups" + ("/resources" if path.lower().endswith("/resources") else "")
        elif path.lower().endswith("/resources"):
            kind += "/resources"
        return f"{kind}/{_VERBS.get(method, 'action')}"
    parts = rest.strip("/").split("/")
    if len(parts) == 1:
        return f"Microsoft.Resources/subscriptions/providers/{_VERBS.get(method, 'action')}"
    kind = "/".join([parts[0], *parts[1::2]])
    return f"{kind}/action" if method == "POST" else f"{kind}/{_VERBS.get(method, method)}"


def allowed(permissions: Iterable[Json], action: str) -> bool:
    """Whether a role allows an action."""
    return any(
        _among(role.get("actions", ()), action) and not _among(role.get("notActions", ()), action)
        for role in permissions
    )


def _among(patterns: Iterable[str], action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
