"""How a host stands in its subscription, whatever network is asked for: its group, its providers, what it may do there.

Error types are Windows 365's own words for the same (Graph's `cloudPcOnPremisesConnectionHealthCheckErrorType`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from cloudpc.machines.azure import permissions
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.model.check import Check, overall
from cloudpc.model.errors import ErrorCode, ProvisioningError

AVAILABILITY: Final = "resourceAvailabilityCheck"
PERMISSION: Final = "permissionCheck"
AWAY: Final = f"{AVAILABILITY}TransientServiceError"
"""Nobody has answered."""
_PROVIDER: Final = "provider"
_PROVIDERS: Final = ("Microsoft.Compute", "Microsoft.Network")
_SEE_ROLES: Final = "docs/azure.md says which roles this takes; a new one takes some minutes to count"
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "SubscriptionNotFound": (
        f"{AVAILABILITY}SubscriptionNotFound",
        "Correct subscriptionId, or sign in to the tenant that the subscription belongs to.",
    ),
    "ReadOnlyDisabledSubscription": (
        f"{AVAILABILITY}SubscriptionDisabled",
        "Have the subscription enabled again; its owner knows why it is not.",
    ),
    "ResourceGroupNotFound": (
        f"{AVAILABILITY}ResourceGroupInvalid",
        "Correct resourceGroup, or make the group: `az group create`.",
    ),
    "ResourceGroupBeingDeleted": (
        f"{AVAILABILITY}ResourceGroupBeingDeleted",
        "Somebody has removed the group; make another one, and name it.",
    ),
    "AuthorizationFailed": (
        f"{PERMISSION}NoSubscriptionReaderRole",
        f"Give the sign-in the roles that it needs; {_SEE_ROLES}.",
    ),
}
"""By Azure's code: Windows 365's, and what to do."""


def checks(arm: Arm, config: AzureHostConfig) -> list[Check]:
    """All of it, one request each. Never raises but Cancelled."""
    found = told("resource group", partial(_group, arm, config))
    if is_closed(found):
        return found
    for name in _PROVIDERS:
        found += told(f"{_PROVIDER} {name}", partial(_provider, arm, name))
    kind = f"{PERMISSION}NoWindows365NetworkInterfaceContributorRole"
    return [*found, *rights(arm, config.resource_group, config.group_path, permissions.GROUP, kind)]


def is_closed(found: Sequence[Check]) -> bool:
    """Whether nothing else would be answered: these, of `checks`, end with a group that can't be looked at."""
    return overall(found[:1]) == "failed"


def is_unregistered(found: Sequence[Check]) -> bool:
    """Whether a provider is not registered, by `checks`."""
    return any(check.status == "failed" and check.what.startswith(_PROVIDER) for check in found)


def told(what: str, look: Callable[[], Sequence[Check]]) -> list[Check]:
    """What was found, or a failed check that says why nothing was."""
    try:
        return list(look())
    except ProvisioningError as error:
        return [refused(what, error)]


def refused(what: str, error: ProvisioningError) -> Check:
    """The check of something that Azure did not say."""
    kind, hint = f"{AVAILABILITY}UnknownError", error.hint
    if isinstance(error, AzureFailed) and error.arm.code in _KINDS:
        kind, hint = _KINDS[error.arm.code]
    elif isinstance(error, AzureFailed) and error.arm.meaning is Meaning.SIGN_IN:
        kind = f"{PERMISSION}UnknownError"
    elif error.code is ErrorCode.HOST_UNREACHABLE:
        kind = AWAY
    return Check(what, "failed", error.message, hint, kind)


def rights(arm: Arm, name: str, scope: str, needed: Sequence[str], kind: str) -> list[Check]:
    """Whether all these actions are allowed there. Never raises but Cancelled.

    Args:
        arm: what is asked.
        name: the group's or resource's.
        scope: its id.
        needed: actions.
        kind: the error type if they are not.
    """
    return told(f"rights in {name}", partial(_rights, arm, name, scope, needed, kind))


def _rights(arm: Arm, name: str, scope: str, needed: Sequence[str], kind: str) -> list[Check]:
    what = f"rights in {name}"
    # the type of a group is spelled differently where the group itself is asked about
    path = scope if "/providers/" in scope else scope.replace("/resourceGroups/", "/resourcegroups/")
    with arm.asking(f"read the {what}"):
        given = arm.get(f"{path}/providers/Microsoft.Authorization/permissions", "authorization") or {}
    if lacking := permissions.missing(needed, given.get("value", ())):
        hint = f"Give the sign-in a role with these actions on {scope}; {_SEE_ROLES}."
        return [Check(what, "failed", f"not allowed: {', '.join(lacking)}", hint, kind)]
    return [Check(what, "passed", f"all {len(needed)} actions are allowed")]


def _group(arm: Arm, config: AzureHostConfig) -> list[Check]:
    what = f"resource group {config.resource_group}"
    path = f"/subscriptions/{config.subscription_id}/resourcegroups/{config.resource_group}"
    with arm.asking(f"look for the {what}"):
        found: Mapping[str, Any] | None = arm.get(path, "resources")
    if found is None:
        kind, hint = _KINDS["ResourceGroupNotFound"]
        return [Check(what, "failed", "is not there", hint, kind)]
    if (found.get("properties") or {}).get("provisioningState") == "Deleting":
        kind, hint = _KINDS["ResourceGroupBeingDeleted"]
        return [Check(what, "failed", "is being removed", hint, kind)]
    return [Check(what, "passed", "is there")]


def _provider(arm: Arm, name: str) -> list[Check]:
    what = f"{_PROVIDER} {name}"
    with arm.asking(f"look whether {name} is registered"):
        found = arm.get(f"/subscriptions/{arm.config.subscription_id}/providers/{name}", "resources") or {}
    state = found.get("registrationState", "NotRegistered")
    if state == "Registered":
        return [Check(what, "passed", "registered")]
    hint = f"`az provider register --namespace {name}`, by somebody who may; it takes some minutes."
    kind = f"{AVAILABILITY}GeneralSubscriptionError"
    return [Check(what, "failed", f"is {state} in the subscription", hint, kind)]
