"""What each call to Microsoft Graph needs: one table for error messages, `cloudpc doctor` and docs/microsoft-graph.md.

Source: microsoftgraph/microsoft-graph-devx-content, permissions/new/permissions.json (2026-08-07).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Permission:
    """What a call needs.

    Args:
        request: the call, as Graph's documentation writes it.
        purpose: in words, what is not possible without it.
        enough: permissions of which any one is enough, the least first.
        delegated_only: whether somebody has to be signed in; an application's own token is refused.
        role: of the signed-in user in Entra, where a permission alone is not enough.
    """

    request: str
    purpose: str
    enough: tuple[str, ...]
    delegated_only: bool = False
    role: str = ""

    @property
    def least(self) -> str:
        """The one to ask an administrator for."""
        return self.enough[0]


_GROUPS = ("Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_DEVICES = ("Device.Read.All", "Device.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_DEVICE_ADMIN = "Windows 365 Administrator or Intune Administrator"


class Call(Enum):
    """A call that this project makes."""

    FIND_GROUP = Permission("GET /groups", "finding groups", ("GroupMember.Read.All", "Group.ReadBasic.All", *_GROUPS))
    LIST_MEMBERS = Permission("GET /groups/{id}/members", "listing groups' members", ("GroupMember.Read.All", *_GROUPS))
    READ_USERS = Permission(
        "GET /users/{id}",
        "reading users' names, licences and whether they are enabled",
        ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"),
    )
    READ_SKUS = Permission(
        "GET /subscribedSkus",
        "reading which service plans a licence has",
        (
            "LicenseAssignment.Read.All", "LicenseAssignment.ReadWrite.All", "Organization.Read.All",
            "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
        ),
    )  # fmt: skip
    READ_DEVICES = Permission("GET /devices", "finding devices", (*_DEVICES, "Directory.AccessAsUser.All"))
    CREATE_DEVICE = Permission(
        "POST /devices",
        "registering a device",
        ("Directory.AccessAsUser.All",),
        delegated_only=True,
        role=_DEVICE_ADMIN,
    )
    SET_DEVICE_OWNER = Permission(
        "POST /devices/{id}/registeredOwners/$ref",
        "setting a device's owner and user",
        ("Directory.AccessAsUser.All",),
        delegated_only=True,
        role=_DEVICE_ADMIN,
    )
    UPDATE_DEVICE = Permission(
        "PATCH /devices/{id}",
        "marking and disabling devices",
        ("Device.ReadWrite.All", "Directory.AccessAsUser.All"),
        role=_DEVICE_ADMIN,
    )
    DELETE_DEVICE = Permission(
        "DELETE /devices/{id}",
        "deleting devices",
        ("Device.ReadWrite.All", "Directory.AccessAsUser.All"),
        role="Cloud Device Administrator or Intune Administrator",
    )
    READ_MANAGED_DEVICES = Permission(
        "GET /deviceManagement/managedDevices",
        "finding devices in Intune",
        ("DeviceManagementManagedDevices.Read.All", "DeviceManagementManagedDevices.ReadWrite.All"),
    )
    DELETE_MANAGED_DEVICE = Permission(
        "DELETE /deviceManagement/managedDevices/{id}",
        "removing devices from Intune",
        ("DeviceManagementManagedDevices.ReadWrite.All",),
    )
    READ_PASSES = Permission(
        "GET /users/{id}/authentication/temporaryAccessPassMethods",
        "seeing whether a user has a Temporary Access Pass",
        (
            "UserAuthMethod-TAP.Read.All", "UserAuthMethod-TAP.ReadWrite.All",
            "UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All",
        ),
        role="Authentication Administrator",
    )  # fmt: skip
    CREATE_PASS = Permission(
        "POST /users/{id}/authentication/temporaryAccessPassMethods",
        "issuing Temporary Access Passes",
        ("UserAuthMethod-TAP.ReadWrite.All", "UserAuthenticationMethod.ReadWrite.All"),
        role="Authentication Administrator",
    )
    READ_POLICIES = Permission(
        "GET /deviceManagement/virtualEndpoint/provisioningPolicies",
        "reading Windows 365's provisioning policies",
        ("CloudPC.Read.All", "CloudPC.ReadWrite.All"),
    )


DIRECTORY = (Call.FIND_GROUP, Call.LIST_MEMBERS, Call.READ_USERS, Call.READ_SKUS)
"""What `cloudpc:directory: {kind: graph}` needs."""
CLEAN_UP = (
    Call.READ_DEVICES, Call.UPDATE_DEVICE, Call.DELETE_DEVICE, Call.READ_MANAGED_DEVICES, Call.DELETE_MANAGED_DEVICE,
)  # fmt: skip
"""What the end of a registered Cloud PC needs, in either mode."""
RECORD = (Call.CREATE_DEVICE, Call.SET_DEVICE_OWNER, *CLEAN_UP)
"""What devices in mode `record` need."""
ADOPT = CLEAN_UP
"""What devices in mode `adopt` need; owner and user are set by the guest's own join."""
PASSES = (Call.READ_PASSES, Call.CREATE_PASS)
"""What `credentials: temporaryAccessPass` needs."""


def missing(granted: Collection[str], calls: Iterable[Call]) -> list[Permission]:
    """Of these calls' permissions those that are not granted, each once."""
    needed = {call.value.least: call.value for call in calls if not set(call.value.enough) & set(granted)}
    return list(needed.values())
