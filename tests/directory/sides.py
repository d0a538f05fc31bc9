"""The same directory, seen through its file and through Graph: `Side` hides which."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cloudpc.directory import catalogue
from cloudpc.directory.configuration import GraphDirectoryConfig
from cloudpc.directory.graph import GraphDirectory
from cloudpc.directory.local import LocalDirectory
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from tests.tenant.identifiers import guid


def plans_of(snapshot: Snapshot) -> list[ServicePlan]:
    """Service plans beside Windows 365's."""
    return [plan for id_, plan in snapshot.service_plans.items() if id_ not in catalogue.service_plans()]


def configured(file: Path) -> GraphDirectoryConfig:
    """What `cloudpc:directory` says of a tenant that was filled from this file."""
    entries = [
        {
            "id": guid("servicePlan", plan.id),
            "displayName": plan.display_name,
            "vCpuCount": plan.vcpu_count,
            "ramInGB": plan.ram_in_gb,
            "storageInGB": plan.storage_in_gb,
        }
        for plan in plans_of(LocalDirectory(file, file.name).snapshot([]))
    ]
    return GraphDirectoryConfig.model_validate({"kind": "graph", "servicePlans": entries})


def as_in_tenant(snapshot: Snapshot) -> Snapshot:
    """What the file says, with the tenant's ids, and without what Entra has no place for."""
    users, groups, plans = {}, {}, {}
    for user in snapshot.users.values():
        id_ = guid("user", user.id)
        licensed = tuple(guid("servicePlan", plan) for plan in user.service_plans)
        users[id_] = replace(user, id=id_, service_plans=licensed, ssh_public_keys=())
    for group in snapshot.groups.values():
        id_ = guid("group", group.id)
        groups[id_] = Group(id_, group.display_name, frozenset(guid("user", member) for member in group.members))
    for plan in snapshot.service_plans.values():
        id_ = guid("servicePlan", plan.id)
        plans[id_] = replace(plan, id=id_)
    return Snapshot(users, groups, plans, snapshot.warnings)


@dataclass(frozen=True)
class Side:
    """A directory as one of the two implementations reads it."""

    kind: Literal["file", "graph"]
    file: Path
    config: GraphConfig

    def snapshot(self, groups: Collection[str], users: Collection[str] = ()) -> Snapshot:
        """With ids of the tenant, whichever side it is. What is asked for: ids in the file, or names of groups."""
        whole = LocalDirectory(self.file, self.file.name)
        if self.kind == "file":
            return as_in_tenant(whole.snapshot(groups, users))
        known = whole.snapshot([])
        references = [guid("group", g) if g in known.groups else g for g in groups]
        directory = GraphDirectory(configured(self.file), self.config)
        return directory.snapshot(references, [guid("user", u) for u in users])


def user(file_id: str, snapshot: Snapshot) -> User:
    """A user by the id in the file."""
    return snapshot.users[guid("user", file_id)]
