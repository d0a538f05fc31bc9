"""Access tokens: opaque texts, with what they allow in a table of the tenant."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tests.tenant.errors import GraphError

Kind = Literal["application", "delegated"]

GROUPS = (
    "GroupMember.Read.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
)
GROUP_NAMES = ("Group.ReadBasic.All", *GROUPS)
MEMBERS = ("GroupMember.ReadBasic.All", *GROUPS)
USERS = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
SKUS = ("LicenseAssignment.Read.All", "LicenseAssignment.ReadWrite.All", "Organization.Read.All", "Directory.Read.All",
        "Directory.ReadWrite.All")  # fmt: skip
ORGANIZATION = ("Organization.Read.All", "Directory.Read.All", "Directory.ReadWrite.All")
DEVICES = ("Device.Read.All", "Device.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
DEVICES_WRITE = ("Device.ReadWrite.All", "Directory.AccessAsUser.All")
DEVICES_CREATE = ("Directory.AccessAsUser.All",)
MANAGED = ("DeviceManagementManagedDevices.Read.All", "DeviceManagementManagedDevices.ReadWrite.All")
MANAGED_WRITE = ("DeviceManagementManagedDevices.ReadWrite.All",)
PASSES = ("UserAuthMethod-TAP.Read.All", "UserAuthMethod-TAP.ReadWrite.All")
PASSES_WRITE = ("UserAuthMethod-TAP.ReadWrite.All",)
CLOUD_PCS = ("CloudPC.Read.All", "CloudPC.ReadWrite.All")

EVERYTHING = frozenset(
    permission
    for table in (GROUP_NAMES, MEMBERS, USERS, SKUS, ORGANIZATION, DEVICES, DEVICES_WRITE, DEVICES_CREATE, MANAGED,
                  PASSES, CLOUD_PCS)
    for permission in table
)  # fmt: skip
# what has no application form: a signed-in admin's alone
_DELEGATED_ONLY = frozenset(DEVICES_CREATE)


@dataclass(frozen=True)
class Token:
    """What an access token stands for."""

    kind: Kind
    permissions: frozenset[str]
    expires: datetime

    def require(self, anyone: Collection[str], *, delegated_only: bool = False) -> None:
        """One of these permissions, or GraphError 403."""
        if (delegated_only and self.kind != "delegated") or not self.permissions & set(anyone):
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


class Tokens:
    """All tokens that were issued.

    Args:
        clock: of the tenant.
        allowed: the kinds that this tenant accepts.
    """

    def __init__(self, clock: Callable[[], datetime], allowed: Collection[Kind] = ("application", "delegated")) -> None:
        self._clock = clock
        self._allowed = frozenset(allowed)
        self._issued: dict[str, Token] = {}
        self._lock = threading.Lock()

    def issue(
        self,
        kind: Kind = "application",
        permissions: Collection[str] | None = None,
        lifetime: float = 3600,
        text: str | None = None,
    ) -> str:
        """A new token.

        Args:
            kind: an application's own, or that of an application for a signed-in admin.
            permissions: Graph's names; None: all there are of this kind.
            lifetime: seconds.
            text: the token itself; None: a new one.
        """
        granted = EVERYTHING if permissions is None else frozenset(permissions)
        if kind == "application":
            granted -= _DELEGATED_ONLY
        text = text or secrets.token_urlsafe(24)
        with self._lock:
            self._issued[text] = Token(kind, granted, self._clock() + timedelta(seconds=lifetime))
        return text

    def expire(self, text: str) -> None:
        """End a token before its time."""
        with self._lock:
            if token := self._issued.get(text):
                self._issued[text] = Token(token.kind, token.permissions, self._clock())

    def check(self, authorization: str | None) -> Token:
        """The token of an Authorization header.

        Raises:
            GraphError: 401 or 403.
        """
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise _unauthorized("Access token is empty.")
        token = self._issued.get(text.strip())
        if token is None:
            raise _unauthorized("IDX14100: JWT is not well formed, there are no dots (.).")
        if token.expires <= self._clock():
            raise _unauthorized("Lifetime validation failed, the token is expired.")
        if token.kind not in self._allowed:
            raise GraphError(403, "Authorization_RequestDenied", f"This tenant accepts no {token.kind} tokens.")
        return token


def _unauthorized(message: str) -> GraphError:
    return GraphError(401, "InvalidAuthenticationToken", message, WWW_Authenticate='Bearer error="invalid_token"')
