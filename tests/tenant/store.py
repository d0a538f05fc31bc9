"""What the tenant holds, and how tests change it. Objects are JSON with Graph's names; `_…` is never answered."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from cloudpc.directory import catalogue
from cloudpc.model.directory import Group, Snapshot, User
from tests.tenant.identifiers import guid, is_guid, windows_365_skus
from tests.tenant.odata import Json

_KEPT = ("devices", "deleted_devices", "managed_devices", "passes")
_DELETED_FOR = timedelta(days=30)


class Store:
    """Users, groups, licences, devices, policies. Every method takes ids of the YAML file as well as GUIDs.

    Args:
        snapshot: users, groups and service plans, as the embedded directory reads them from its file.
        tenant_id: the tenant's own id.
    """

    def __init__(self, snapshot: Snapshot, tenant_id: str | None = None) -> None:
        self.lock = threading.RLock()
        """Held by whoever reads or changes several things that belong together."""
        self.tenant_id = tenant_id or guid("tenant", "contoso")
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.users: dict[str, Json] = {}
        self.groups: dict[str, Json] = {}
        self.members: dict[str, dict[str, None]] = {}
        """Per group the ids of its members, users and groups, in order."""
        self.skus: dict[str, Json] = {}
        self.devices: dict[str, Json] = {}
        self.deleted_devices: dict[str, Json] = {}
        self.managed_devices: dict[str, Json] = {}
        self.passes: dict[str, Json] = {}
        """Temporary Access Passes, one per user."""
        self.passes_allowed = True
        """What the tenant's policy says of Temporary Access Passes."""
        self.insists_on_advanced_casts = False
        """Whether lists that are cast to a type are refused without `ConsistencyLevel: eventual` and $count."""
        self.policies: dict[str, Json] = {}
        self.connections: dict[str, Json] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called after devices or passes have changed, with the lock held."""
        self.fill(snapshot)

    def fill(self, snapshot: Snapshot) -> None:
        """Replace users, groups and licences by what the file says now. Devices stay."""
        with self.lock:
            for kept in (self.users, self.groups, self.members, self.skus):
                kept.clear()
            for plan in snapshot.service_plans.values():
                if plan.id not in catalogue.service_plans():
                    self._subscribe(plan.id)
            for user in snapshot.users.values():
                self._fill_user(user)
            for group in snapshot.groups.values():
                self._fill_group(group)

    # ---- users

    def add_user(self, user: User) -> str:
        """A new user; answers the GUID."""
        with self.lock:
            return self._fill_user(user)

    def delete_user(self, user: str) -> None:
        """The user, from all groups, too."""
        with self.lock:
            id_ = self._user(user)["id"]
            del self.users[id_]
            for members in self.members.values():
                members.pop(id_, None)

    def enable(self, user: str, enabled: bool = True) -> None:
        """Let a user sign in, or not."""
        self._user(user)["accountEnabled"] = enabled

    def disable(self, user: str) -> None:
        """Block a user's sign-in."""
        self.enable(user, False)

    def rename_user(self, user: str, *, display_name: str | None = None, principal_name: str | None = None) -> None:
        """New names; the id stays."""
        found = self._user(user)
        found["displayName"] = display_name or found["displayName"]
        found["userPrincipalName"] = principal_name or found["userPrincipalName"]

    # ---- licences

    def add_sku(self, part_number: str, plans: Iterable[str]) -> str:
        """A product with several service plans, as bundles have them; answers its skuId."""
        with self.lock:
            sku_id = guid("sku", part_number)
            self.skus[sku_id] = _sku(self.tenant_id, sku_id, part_number, [(guid("servicePlan", p), p) for p in plans])
            return sku_id

    def give_licence(self, user: str, plan: str, *, disabled_plans: Iterable[str] = ()) -> None:
        """Assign the SKU of this name, or of this service plan; plans in it can be disabled."""
        with self.lock:
            self.take_licence(user, plan)
            sku_id = self._subscribe(plan)
            disabled = [guid("servicePlan", name) for name in disabled_plans]
            self._user(user)["assignedLicenses"].append({"skuId": sku_id, "disabledPlans": disabled})

    def take_licence(self, user: str, plan: str) -> None:
        """Take away the SKU of this name or service plan; nothing if the user hasn't it."""
        with self.lock:
            found = self._user(user)
            sku_id = self._subscribe(plan)
            found["assignedLicenses"] = [a for a in found["assignedLicenses"] if a["skuId"] != sku_id]

    # ---- groups

    def add_group(self, display_name: str, members: Iterable[str] = (), id_: str | None = None) -> str:
        """A new group; another one of the same name is allowed, as in Entra. Answers the GUID."""
        with self.lock:
            new = guid("group", id_) if id_ else str(uuid4())
            self.groups[new] = _group(new, display_name)
            self.members[new] = {}
            for member in members:
                self.join(member, new)
            return new

    def delete_group(self, group: str) -> None:
        """The group, its memberships, too."""
        with self.lock:
            id_ = self._group(group)["id"]
            del self.groups[id_], self.members[id_]
            for members in self.members.values():
                members.pop(id_, None)

    def rename_group(self, group: str, display_name: str) -> None:
        """A new displayName; the id stays."""
        self._group(group)["displayName"] = display_name

    def join(self, user: str, group: str) -> None:
        """Make a user a direct member."""
        with self.lock:
            self.members[self._group(group)["id"]][self._user(user)["id"]] = None

    def leave(self, user: str, group: str) -> None:
        """End a membership; nothing if there is none."""
        with self.lock:
            self.members[self._group(group)["id"]].pop(self._user(user)["id"], None)

    def nest(self, inner: str, outer: str) -> None:
        """Make a group a member of another one."""
        with self.lock:
            self.members[self._group(outer)["id"]][self._group(inner)["id"]] = None

    # ---- devices

    def add_device(self, device: Json) -> Json:
        """A device object of Entra as given, with what Entra adds."""
        with self.lock:
            new = _device(device, self.clock())
            self.devices[new["id"]] = new
            self.changed()
            return new

    def delete_device(self, id_: str) -> None:
        """To the deleted items, where it waits for 30 days."""
        with self.lock:
            device = self.devices.pop(id_)
            device["deletedDateTime"] = timestamp(self.clock())
            self.deleted_devices[id_] = device
            self.changed()

    def guest_joined(
        self, display_name: str, *, user: str | None = None, managed: bool = True, azure_id: str | None = None
    ) -> Json:
        """A guest has joined Entra by itself, and was enrolled in Intune if `managed`: what mode `adopt` waits for.

        A guest of the same name that joined before keeps its device, as with a real one: names are not unique.

        Args:
            display_name: its name.
            user: who owns it.
            managed: by Intune.
            azure_id: resource id of a virtual machine in Azure, which has Windows and joined by an extension.
        """
        with self.lock:
            operating_system = {"operatingSystem": "Linux", "operatingSystemVersion": "12"}
            if azure_id:
                operating_system = {"operatingSystem": "Windows", "operatingSystemVersion": "10.0.26100.6899"}
            device = self.add_device(
                {
                    "accountEnabled": True,
                    "deviceId": str(uuid4()),
                    "displayName": display_name,
                    **operating_system,
                    "isManaged": managed,
                    "trustType": "AzureAd",
                    "physicalIds": [f"[AzureResourceId]:{azure_id}"] if azure_id else [],
                    "alternativeSecurityIds": [{"type": 2, "identityProvider": None, "key": secrets.token_hex(16)}],
                }
            )
            owner = self._user(user) if user else None
            if owner:
                device["_owners"], device["_users"] = [owner["id"]], [owner["id"]]
            if managed:
                self._enrol(device, owner)
            self.changed()
            return device

    def devices_named(self, display_name: str) -> list[Json]:
        """Devices of this displayName, deleted ones not."""
        with self.lock:
            return [d for d in self.devices.values() if d["displayName"] == display_name]

    def forget_deleted(self) -> None:
        """End what has been among the deleted items for 30 days."""
        with self.lock:
            oldest = timestamp(self.clock() - _DELETED_FOR)
            for id_ in [i for i, d in self.deleted_devices.items() if d["deletedDateTime"] < oldest]:
                del self.deleted_devices[id_]

    # ---- policies of Windows 365

    def add_policy(self, policy: Json, group: str | None = None) -> str:
        """A provisioning policy of Windows 365, assigned to a group or as its `assignments` say; answers its id."""
        with self.lock:
            id_ = policy.get("id") or str(uuid4())
            assignments = list(policy.get("assignments", ()))
            if group:
                target = {"@odata.type": "#microsoft.graph.cloudPcManagementGroupAssignmentTarget"}
                target["groupId"] = self._group(group)["id"]
                assignments.append({"id": str(uuid4()), "target": target})
            self.policies[id_] = {**policy, "id": id_, "assignments": assignments}
            return str(id_)

    def add_connection(self, connection: Json) -> str:
        """An Azure network connection (cloudPcOnPremisesConnection); answers its id."""
        with self.lock:
            id_ = connection.get("id") or str(uuid4())
            self.connections[id_] = {**connection, "id": id_}
            return str(id_)

    # ---- what outlives the tenant's process

    def dump(self) -> Json:
        """Devices and passes, as JSON."""
        with self.lock:
            return {name: getattr(self, name) for name in _KEPT}

    def restore(self, dumped: Json) -> None:
        """What `dump` has given."""
        with self.lock:
            for name in _KEPT:
                getattr(self, name).update(dumped.get(name, {}))

    # ---- inside

    def find_user(self, reference: str) -> Json | None:
        """A user by GUID, id of the YAML file or userPrincipalName."""
        if user := self.users.get(guid("user", reference)):
            return user
        return next((u for u in self.users.values() if u["userPrincipalName"].casefold() == reference.casefold()), None)

    def _user(self, reference: str) -> Json:
        user = self.find_user(reference)
        if user is None:
            raise KeyError(f"there is no user {reference} in the tenant")
        return user

    def _group(self, reference: str) -> Json:
        try:
            return self.groups[guid("group", reference)]
        except KeyError:
            raise KeyError(f"there is no group {reference} in the tenant") from None

    def _subscribe(self, name: str) -> str:
        """The skuId of a SKU or a service plan, bought now if the tenant hasn't it."""
        if (sku_id := guid("sku", name)) in self.skus:
            return sku_id
        plan_id = guid("servicePlan", name)
        known = windows_365_skus().get(plan_id)
        if known is not None:
            sku_id, part_number, plan_name = known["skuId"], known["skuPartNumber"], known["servicePlanName"]
        else:
            short = catalogue.short_name(name)
            sku_id, part_number, plan_name = guid("sku", short) if not is_guid(name) else _sku_of(name), short, short
        if sku_id not in self.skus:
            self.skus[sku_id] = _sku(self.tenant_id, sku_id, part_number, [(plan_id, plan_name)])
        return str(sku_id)

    def _fill_user(self, user: User) -> str:
        id_ = guid("user", user.id)
        self.users[id_] = {
            "id": id_,
            "userPrincipalName": user.user_principal_name,
            "displayName": user.display_name,
            "accountEnabled": user.account_enabled,
            "assignedLicenses": [
                {"skuId": self._subscribe(plan), "disabledPlans": []} for plan in dict.fromkeys(user.service_plans)
            ],
            "mail": user.user_principal_name,
            "userType": "Member",
        }
        return id_

    def _fill_group(self, group: Group) -> None:
        id_ = guid("group", group.id)
        self.groups[id_] = _group(id_, group.display_name)
        self.members[id_] = dict.fromkeys(sorted(guid("user", member) for member in group.members))

    def _enrol(self, device: Json, owner: Json | None) -> None:
        now = timestamp(self.clock())
        managed = {
            "id": str(uuid4()),
            "azureADDeviceId": device["deviceId"],
            "azureADRegistered": True,
            "deviceName": device["displayName"],
            "enrolledDateTime": now,
            "lastSyncDateTime": now,
            "operatingSystem": device["operatingSystem"],
            "osVersion": device["operatingSystemVersion"],
            "complianceState": "unknown",
            "managedDeviceOwnerType": "company",
            "enrollmentProfileName": "",
            "userId": owner["id"] if owner else "",
            "userPrincipalName": owner["userPrincipalName"] if owner else "",
        }
        self.managed_devices[managed["id"]] = managed


def timestamp(moment: datetime) -> str:
    """As Graph writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sku_of(plan_id: str) -> str:
    # a plan that has a GUID in the file: its SKU must have another one
    return guid("sku", f"sku of {plan_id}")


def _sku(tenant_id: str, sku_id: str, part_number: str, plans: list[tuple[str, str]]) -> Json:
    return {
        "id": f"{tenant_id}_{sku_id}",
        "skuId": sku_id,
        "skuPartNumber": part_number,
        "accountId": tenant_id,
        "appliesTo": "User",
        "capabilityStatus": "Enabled",
        "prepaidUnits": {"enabled": 1_000_000, "suspended": 0, "warning": 0, "lockedOut": 0},
        "servicePlans": [
            {"servicePlanId": id_, "servicePlanName": name, "provisioningStatus": "Success", "appliesTo": "User"}
            for id_, name in plans
        ],
    }


def _group(id_: str, display_name: str) -> Json:
    return {
        "id": id_,
        "displayName": display_name,
        "description": None,
        "groupTypes": [],
        "mailEnabled": False,
        "mailNickname": id_[:8],
        "securityEnabled": True,
    }


def _device(device: Json, now: datetime) -> Json:
    defaults: dict[str, Any] = {
        "accountEnabled": True,
        "alternativeSecurityIds": [],
        "deviceOwnership": None,
        "enrollmentProfileName": None,
        "isManaged": None,
        "isCompliant": None,
        "physicalIds": [],
        "profileType": "RegisteredDevice",
        "registrationDateTime": timestamp(now),
        "trustType": None,
        "deletedDateTime": None,
        "_owners": [],
        "_users": [],
    }
    return {**defaults, **device, "id": str(uuid4())}
