"""A virtual machine's life: from its acceptance to its end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.azure.account import Size
from tests.azure.back_ends import GuestStatus, Vm
from tests.azure.errors import ArmFault, Json
from tests.azure.operations import Operation
from tests.azure.resources import Resource

if TYPE_CHECKING:
    from tests.azure.arm import FakeArm

KIND = "Microsoft.Compute/virtualMachines"
DISK = "Microsoft.Compute/disks"
INTERFACE = "Microsoft.Network/networkInterfaces"
_NIC_RESERVED = 180
"""Seconds for which a failed machine keeps its network interface."""
_PROVISIONING_ENDS = 20 * 60
"""Seconds after which Azure gives up waiting for a guest."""
_AT_THE_END = ("OSProvisioning", "VMExtension", "VMAgent")


@dataclass
class Machine:
    """What a virtual machine keeps beside its resource.

    Args:
        vm: as the back end sees it.
        size: of it.
        allocated: hardware was found for it.
        power: `running`, `stopped` (billed), `deallocated`.
        operation: what goes on with it.
        disk: the id of its system's disk.
        failed: why its making failed.
        etag: changes with each change.
        commands: its run commands that go on: what ends them.
    """

    vm: Vm
    size: Size
    allocated: bool = False
    provisioned: bool = False
    power: str | None = None
    operation: Operation | None = None
    disk: str = ""
    failed: ArmFault | None = None
    etag: str = field(default_factory=lambda: f'"{uuid4()}"')
    commands: dict[str, threading.Event] = field(default_factory=dict)


def machine_of(resource: Resource) -> Machine:
    """Of its resource."""
    found = resource.runtime
    assert isinstance(found, Machine)
    return found


class Life:
    """One virtual machine, moved on by tasks that are due."""

    def __init__(self, arm: FakeArm, resource: Resource, operation: Operation, failure: ArmFault | None) -> None:
        self._arm = arm
        self._resource = resource
        self._machine = machine_of(resource)
        self._operation = operation
        self._failure = failure
        self._since = 0.0

    def begin(self) -> None:
        """It was accepted."""
        self._arm.operations.later(self._arm.delays.allocation, self._allocated)

    def _allocated(self) -> None:
        if self._over:
            return
        failure = self._failure
        if failure and not failure.code.startswith(_AT_THE_END):
            self._fail(failure)
            return
        self._machine.allocated = True
        self._machine.power = "running"
        try:
            self._arm.back_end.created(self._machine.vm)
        except ArmFault as error:
            self._fail(error)
            return
        self._since = self._arm.clock.now()
        self._arm.operations.later(self._arm.delays.provisioning, self._provisioned)

    def _provisioned(self) -> float | None:
        if self._over:
            return None
        status = self.status()
        failure = self._failure or status.failure
        if not failure and not status.provisioned:
            if self._arm.clock.now() - self._since < _PROVISIONING_ENDS:
                return 0.2
            failure = ArmFault("OSProvisioningTimedOut", f"OS Provisioning for VM '{self._resource.name}' did not "
                               "finish in the allotted time. The VM may still finish provisioning successfully. "
                               "Please check provisioning state later.")  # fmt: skip
        if failure:
            self._fail(failure)
        else:
            self._machine.provisioned = True
            self._resource.properties["provisioningState"] = "Succeeded"
            self._arm.operations.end(self._operation)
        return None

    def status(self) -> GuestStatus:
        """Of its guest."""
        return self._arm.back_end.status(self._machine.vm)

    @property
    def _over(self) -> bool:
        """Deleted or begun again meanwhile."""
        return self._machine.operation is not self._operation or not self._operation.going

    def _fail(self, failure: ArmFault) -> None:
        self._machine.failed = failure
        self._resource.properties["provisioningState"] = "Failed"
        if not self._machine.allocated:
            for interface in interfaces(self._arm, self._resource):
                interface.runtime = self._arm.clock.now() + _NIC_RESERVED
        self._arm.operations.end(self._operation, failure)


def interfaces(arm: FakeArm, resource: Resource) -> list[Resource]:
    """The network interfaces that it has."""
    ids = [i["id"] for i in resource.properties.get("networkProfile", {}).get("networkInterfaces", ())]
    return [found for id_ in ids if (found := arm.resources.find(id_))]


def end(arm: FakeArm, resource: Resource) -> None:
    """It is gone, and with it what its order says; not of one that never ran: Azure leaves that behind."""
    machine = machine_of(resource)
    for cancelled in machine.commands.values():
        cancelled.set()
    if machine.allocated:
        arm.back_end.deleted(machine.vm)
    arm.resources.remove(resource)
    for child in arm.resources.of(f"{KIND}/runCommands", f"{resource.id}/"):
        arm.resources.remove(child)
    for child in arm.resources.of(f"{KIND}/extensions", f"{resource.id}/"):
        arm.resources.remove(child)
    options = _options(resource)
    for interface in interfaces(arm, resource):
        interface.properties.pop("virtualMachine", None)
        if options.get(interface.id.lower()) == "Delete" and machine.allocated:
            arm.resources.remove(interface)
    if disk := arm.resources.find(machine.disk):
        disk.body.pop("managedBy", None)
        disk.properties["diskState"] = "Unattached"
        if options.get("disk") == "Delete" and machine.allocated:
            arm.resources.remove(disk)


def _options(resource: Resource) -> dict[str, str]:
    profile = resource.properties
    found = {
        i["id"].lower(): i.get("properties", {}).get("deleteOption", "Detach")
        for i in profile.get("networkProfile", {}).get("networkInterfaces", ())
    }
    return found | {"disk": profile["storageProfile"]["osDisk"].get("deleteOption", "Detach")}


def instance_view(arm: FakeArm, resource: Resource) -> Json:
    """How it is now, as Azure tells it."""
    machine = machine_of(resource)
    now = arm.clock.iso()
    statuses = [_provisioning(resource, machine, now)]
    if machine.allocated and not machine.provisioned and not machine.failed:
        statuses.append({
            "code": "ProvisioningState/creating/OSProvisioningInProgress", "level": "Info",
            "displayStatus": "OS Provisioning In progress", "time": now,
        })  # fmt: skip
    view: Json = {"statuses": statuses}
    if not machine.allocated:
        return view
    status = arm.back_end.status(machine.vm)
    power = "stopped" if machine.power == "running" and not status.running else machine.power
    statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
    if machine.power == "deallocated":
        return view
    view |= {
        "computerName": machine.vm.computer_name, "vmAgent": _agent(machine, status, now),
        "osName": "debian" if machine.vm.os == "Linux" else "Windows 11 Enterprise",
        "disks": [{"name": machine.disk.rpartition("/")[2], "statuses": [statuses[0]]}],
    }  # fmt: skip
    extensions = arm.resources.of(f"{KIND}/extensions", f"{resource.id}/")
    if extensions:
        view["extensions"] = [e.runtime for e in extensions if e.runtime]
    if status.thumbprint:
        view["rdpThumbPrint"] = status.thumbprint
    if resource.properties.get("diagnosticsProfile", {}).get("bootDiagnostics", {}).get("enabled"):
        view["bootDiagnostics"] = {}
    return view


def _provisioning(resource: Resource, machine: Machine, now: str) -> Json:
    state = str(resource.properties["provisioningState"])
    code = f"ProvisioningState/{state.lower()}"
    found = {"code": code, "level": "Info", "displayStatus": f"Provisioning {state.lower()}", "time": now}
    if state == "Failed" and machine.failed:
        found |= {"code": f"{code}/{machine.failed.code}", "level": "Error", "message": machine.failed.message}
    return found


def _agent(machine: Machine, status: GuestStatus, now: str) -> Json:
    if status.agent and machine.power == "running" and status.running and (machine.provisioned or machine.failed):
        ready = {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready",
                 "message": "Guest Agent is running", "time": now}  # fmt: skip
        return {"vmAgentVersion": "2.14.0.1", "statuses": [ready]}
    silent = {"code": "ProvisioningState/Unavailable", "level": "Warning", "displayStatus": "Not Ready",
              "message": "VM status blob is found but not yet populated.", "time": now}  # fmt: skip
    return {"vmAgentVersion": "Unknown", "statuses": [silent]}


def agent_ready(view: Json) -> bool:
    """Whether the guest's agent answers, as an instance view tells it."""
    return any(status["displayStatus"] == "Ready" for status in view.get("vmAgent", {}).get("statuses", ()))
