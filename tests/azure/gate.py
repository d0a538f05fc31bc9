"""What a subscription as a whole refuses: scopes, rights, registrations, locks, policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from uuid import uuid4

from tests.azure.account import Account
from tests.azure.errors import ArmFault, Json
from tests.azure.permissions import action_of, allowed
from tests.azure.resources import Resources

_WRITES = ("PUT", "PATCH", "DELETE", "POST")


class Gate:
    """Where each request passes.

    Args:
        account: of the subscription.
        resources: what it holds.
    """

    def __init__(self, account: Account, resources: Resources) -> None:
        self.account = account
        self.resources = resources
        self.registered = {"Microsoft.Compute": "Registered", "Microsoft.Network": "Registered"}
        self.permissions: list[Json] = [{"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}]
        """What whoever asks may do."""
        self.revoked_at: int | None = None
        """From this request on nothing is allowed any longer."""
        self.locks: dict[str, Literal["CanNotDelete", "ReadOnly"]] = {}
        """By scope: a resource's id or a group's."""
        self.policies: dict[str, Callable[[str, Json], bool]] = {}
        """By name: which resource types and bodies Azure Policy forbids."""
        self.disabled = False
        """The subscription can only be read."""

    def check_rights(self, number: int, method: str, path: str) -> None:
        """ArmFault: whoever asks may not."""
        revoked = self.revoked_at is not None and number >= self.revoked_at
        if revoked or not allowed(self.permissions, action_of(method, path)):
            raise ArmFault(
                "AuthorizationFailed",
                f"The client '{uuid4()}' with object id '{uuid4()}' does not have authorization to perform action "
                f"'{action_of(method, path)}' over scope '{path}' or the scope is invalid. If access was recently "
                "granted, please refresh your credentials.",
            )

    def check_linked(self, scope: str, action: str) -> None:
        """ArmFault: whoever asks may not use this for something else."""
        if not allowed(self.permissions, action):
            raise ArmFault("LinkedAuthorizationFailed", f"The client '{uuid4()}' has permission to perform the action "
                           f"on the scope; however, it does not have permission to perform action(s) '{action}' on the "
                           f"linked scope(s) '{scope}' or the linked scope(s) are invalid.")  # fmt: skip

    def check_scope(self, method: str, path: str) -> None:
        """ArmFault: there is no such subscription or group, or it can't be changed."""
        parts = path.split("/")
        if len(parts) < 3 or parts[1].lower() != "subscriptions":
            raise ArmFault("NotFound", f"No such path: {path}", 404)
        if parts[2].lower() != self.account.subscription:
            raise ArmFault("SubscriptionNotFound", f"The subscription '{parts[2]}' could not be found.")
        if len(parts) > 4 and parts[3].lower() == "resourcegroups":
            group = self.resources.find("/".join(parts[:5]))
            if group is None:
                raise ArmFault("ResourceGroupNotFound", f"Resource group '{parts[4]}' could not be found.")
            if method == "PUT" and group.properties["provisioningState"] == "Deleting":
                raise ArmFault("ResourceGroupBeingDeleted", f"The resource group '{parts[4]}' is in deprovisioning "
                               "state and cannot perform this operation.")  # fmt: skip
        if self.disabled and method in _WRITES:
            raise ArmFault("ReadOnlyDisabledSubscription", f"The subscription '{parts[2]}' is disabled and therefore "
                           "marked as read only. You cannot perform any write actions on this subscription until it "
                           "is re-enabled.")  # fmt: skip

    def check_registered(self, path: str) -> None:
        """ArmFault: nobody registered the provider."""
        namespace = path.rpartition("/providers/")[2].partition("/")[0]
        known = next((state for name, state in self.registered.items() if name.lower() == namespace.lower()), None)
        if "/" in path.rpartition("/providers/")[2] and known is not None and known != "Registered":
            raise ArmFault("MissingSubscriptionRegistration", f"The subscription is not registered to use namespace "
                           f"'{namespace}'. See https://aka.ms/rps-not-found for how to register subscriptions.",
                           target=namespace)  # fmt: skip

    def check_locks(self, method: str, path: str) -> None:
        """ArmFault: somebody locked it."""
        for scope, level in self.locks.items():
            below = f"{path.lower()}/".startswith(f"{scope.lower()}/")
            if below and (method == "DELETE" or (level == "ReadOnly" and method in _WRITES)):
                verb = "delete" if method == "DELETE" else "write"
                raise ArmFault("ScopeLocked", f"The scope '{path}' cannot perform {verb} operation because following "
                               f"scope(s) are locked: '{scope}'. Please remove the lock and try again.")  # fmt: skip

    def check_policies(self, method: str, path: str, body: Any) -> None:
        """ArmFault: Azure Policy forbids it."""
        if method not in ("PUT", "PATCH"):
            return
        kind = "/".join(path.rpartition("/providers/")[2].split("/")[:2])
        for name, forbids in self.policies.items():
            if forbids(kind, body):
                info = {"type": "PolicyViolation", "info": {
                    "policyDefinitionDisplayName": name, "policyAssignmentDisplayName": name,
                    "policyAssignmentId": f"{self.account.subscription_id}/providers/Microsoft.Authorization/"
                    "policyAssignments/a1", "policyDefinitionEffect": "deny",
                }}  # fmt: skip
                raise ArmFault("RequestDisallowedByPolicy", f"Resource '{path.rpartition('/')[2]}' was disallowed by "
                               f"policy. Policy identifiers: '[{{\"policyAssignment\":{{\"name\":\"{name}\"}}}}]'.",
                               target=path.rpartition("/")[2], additional=[info])  # fmt: skip
