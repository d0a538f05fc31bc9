"""The virtual machines of a host's resource group: each call is one of Azure's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.machines.azure.description import Found, Statuses
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.names import machine_named_in
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm
    from cloudpc.machines.azure.operation import Operation


class VirtualMachines:
    """Those of the group that have a name of ours, whoever made them.

    All raise ProvisioningError, as `Arm.asking` says.
    """

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    def get(self, name: str, expand: str | None = None, watch: Watch | None = None) -> Found | None:
        """One as it is now, None if it is not there.

        Args:
            name: its own.
            expand: `userData` or `instanceView`, but not both.
            watch: ends it.
        """
        try:
            with self._arm.asking(f"look at {name}", watch):
                return self._arm.compute.virtual_machines.get(self._arm.group, name, expand=expand)
        except AzureFailed as failed:
            if failed.arm.is_missing:
                return None
            raise

    def statuses(self, name: str) -> Statuses:
        """Of one of them; none of one that is not there."""
        found = self.get(name, "instanceView")
        return Statuses(found and view_of(found))

    def list(self) -> list[Found]:
        """All of them. A list of Azure's lags: what was made or removed a moment ago may be missing, or in there."""
        with self._arm.asking("list the machines"):
            return [vm for vm in self._arm.compute.virtual_machines.list(self._arm.group) if _is_ours(vm)]

    def all_statuses(self) -> Mapping[str, Statuses]:
        """Of all machines of the subscription that may be read: by id, in small letters."""
        with self._arm.asking("ask which machines run"):
            found = list(self._arm.compute.virtual_machines.list_all(status_only="true"))
        return {str(vm["id"]).lower(): Statuses(view_of(vm)) for vm in found}

    def begin_making(self, name: str, body: Mapping[str, Any], watch: Watch) -> Operation[Any]:
        """Only where there is none of this name."""
        from azure.core import MatchConditions

        with self._arm.asking(f"make {name}", watch):
            call = self._arm.compute.virtual_machines.begin_create_or_update
            return self._arm.begin(call, self._arm.group, name, body, match_condition=MatchConditions.IfMissing)

    def begin_deleting(self, name: str, watch: Watch | None = None) -> None:
        """Without asking its guest to shut down; nothing if it is not there, or going already."""
        try:
            with self._arm.asking(f"delete {name}", watch):
                call = self._arm.compute.virtual_machines.begin_delete
                self._arm.begin(call, self._arm.group, name, force_deletion=True)
        except AzureFailed as failed:
            if failed.arm.meaning not in (Meaning.MISSING, Meaning.GOING):
                raise

    def start(self, name: str, watch: Watch) -> Operation[Any]:
        """Its operation may wait for extensions for more than an hour: who asks looks at the machine itself."""
        with self._arm.asking(f"start {name}", watch):
            return self._arm.begin(self._arm.compute.virtual_machines.begin_start, self._arm.group, name)

    def merge_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Write these beside those that it has: an update of the machine itself would replace what others added."""
        path = f"{self.path(name)}/providers/Microsoft.Resources/tags/default"
        with self._arm.asking(f"write the tags of {name}"):
            self._arm.send("PATCH", path, "resources", {"operation": "Merge", "properties": {"tags": dict(tags)}})

    def path(self, name: str) -> str:
        """Its id."""
        return f"{self._arm.group_path}/providers/Microsoft.Compute/virtualMachines/{name}"


def view_of(found: Found) -> Mapping[str, Any] | None:
    """Its instance view, where it was asked for."""
    view: Mapping[str, Any] | None = (found.get("properties") or {}).get("instanceView")
    return view


def _is_ours(found: Found) -> bool:
    name = str(found["name"]).lower()
    return machine_named_in(name) == name
