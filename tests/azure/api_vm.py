"""Virtual machines."""

from __future__ import annotations

import copy
from typing import Any
from uuid import uuid4

from tests.azure import machine as machines
from tests.azure.api_network import check_free
from tests.azure.api_subscription import checked_tags
from tests.azure.back_ends import Power, Vm
from tests.azure.errors import ArmFault, Json, invalid
from tests.azure.machine import DISK, INTERFACE, KIND, Life, Machine, instance_view, machine_of
from tests.azure.order_checks import Image, check_name, check_order, image_of
from tests.azure.quota import check_quota, shortage
from tests.azure.resources import Resource
from tests.azure.routing import Call, Routes, listed
from tests.support.http_server import Answer

ROUTES = Routes()
_IMMUTABLE = (
    ("osProfile", "customData"), ("osProfile", "computerName"), ("osProfile", "adminUsername"),
    ("osProfile", "adminPassword"), ("storageProfile", "imageReference"), ("storageProfile", "osDisk", "name"),
    ("osProfile", "linuxConfiguration"),
)  # fmt: skip
_SECRETS = ("customData", "adminPassword")


@ROUTES.add("VirtualMachines_List")
def _list(call: Call) -> Answer:
    call.arm.resources.get(call.group)
    return listed(call, [_shown(call, r) for r in call.arm.resources.listed(KIND, f"{call.group}/")])


@ROUTES.add("VirtualMachines_ListAll")
def _list_all(call: Call) -> Answer:
    found = call.arm.resources.listed(KIND)
    if call.query.get("statusOnly", "").lower() != "true":
        return listed(call, [_shown(call, r) for r in found])
    return listed(call, [
        {"id": r.id, "name": r.name, "type": r.type, "location": r.body["location"],
         "properties": {"provisioningState": r.properties["provisioningState"], "vmId": r.properties["vmId"],
                        "instanceView": {"statuses": instance_view(call.arm, r)["statuses"]}}}
        for r in found
    ])  # fmt: skip


@ROUTES.add("VirtualMachines_Get")
def _get(call: Call) -> Answer:
    resource = call.arm.resources.get(call.vm_id)
    shown = _shown(call, resource)
    expand = call.query.get("$expand", "")
    if "instanceView" in expand:
        shown["properties"]["instanceView"] = instance_view(call.arm, resource)
    if "userData" in expand and "userData" in resource.sent["properties"]:
        shown["properties"]["userData"] = resource.sent["properties"]["userData"]
    return Answer(200, shown)


@ROUTES.add("VirtualMachines_InstanceView")
def _instance_view(call: Call) -> Answer:
    return Answer(200, instance_view(call.arm, call.arm.resources.get(call.vm_id)))


@ROUTES.add("VirtualMachines_CreateOrUpdate")
def _put(call: Call) -> Answer:
    existing = call.arm.resources.find(call.vm_id)
    _check_preconditions(call, existing)
    if existing is not None:
        return _put_again(call, existing)
    resource = _ordered(call)
    failure = call.failure or shortage(call.arm, call.body, asynchronous=True)
    call.arm.resources.add(resource)
    _attach(call, resource)
    return _go(call, resource, failure, 201)


def _go(call: Call, resource: Resource, failure: ArmFault | None, status: int) -> Answer:
    operation = call.arm.operations.begin(
        "Microsoft.Compute", resource.id, call.operation, lambda: _shown(call, resource)
    )
    machine_of(resource).operation = operation
    machine_of(resource).failed = None
    resource.properties["provisioningState"] = "Creating" if status == 201 else "Updating"
    Life(call.arm, resource, operation, failure).begin()
    return Answer(status, _shown(call, resource), call.arm.following(operation))


def _check_preconditions(call: Call, existing: Resource | None) -> None:
    if call.headers.get("if-none-match") and existing is not None and not call.arm.ignores_if_none_match:
        raise ArmFault("PreconditionFailed", f"The condition 'If-None-Match' of the request was not met: the resource "
                       f"'{existing.id}' exists.")  # fmt: skip
    wanted = call.headers.get("if-match")
    if wanted and (existing is None or wanted not in ("*", machine_of(existing).etag)):
        raise ArmFault("PreconditionFailed", "The condition 'If-Match' of the request was not met.")


def _put_again(call: Call, existing: Resource) -> Answer:
    machine = machine_of(existing)
    if existing.properties["provisioningState"] == "Deleting":
        raise _being_deleted(existing)
    for path in _IMMUTABLE:
        if _at(call.body["properties"], path) != _at(existing.sent["properties"], path):
            raise ArmFault("PropertyChangeNotAllowed", f"Changing property '{'.'.join(path)}' is not allowed.",
                           target=".".join(path))  # fmt: skip
    if machine.operation and machine.operation.going:
        call.arm.operations.end(machine.operation, ArmFault("OperationPreempted"))
    existing.body["tags"] = checked_tags(call.body.get("tags") or {})
    machine.etag = f'"{uuid4()}"'
    if machine.allocated and machine.provisioned:
        operation = call.arm.operations.begin(
            "Microsoft.Compute", existing.id, call.operation, lambda: _shown(call, existing)
        )
        call.arm.operations.later(0, lambda: call.arm.operations.end(operation))
        return Answer(200, _shown(call, existing), call.arm.following(operation))
    return _go(call, existing, call.failure, 200)


def _being_deleted(resource: Resource) -> ArmFault:
    return ArmFault(
        "OperationNotAllowed",
        f"Operation is not allowed on VM '{resource.name}' since the VM is marked for deletion. You can only retry the "
        "Delete operation (or wait for an ongoing one to complete).",
    )


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = (value or {}).get(name)
    return value


def _ordered(call: Call) -> Resource:
    """The resource of an order that may be, or ArmFault."""
    check_name(call.parameters["vmName"])
    properties: Json = call.body.get("properties") or {}
    size_name = (properties.get("hardwareProfile") or {}).get("vmSize")
    size = next((s for s in call.arm.sizes.values() if s.name.lower() == str(size_name).lower()), None)
    if size is None:
        raise invalid(f"The value {size_name} provided for the VM size is not valid. The valid sizes in the current "
                      f"region are: {', '.join(call.arm.sizes)}.", "vmSize")  # fmt: skip
    reference = (properties.get("storageProfile") or {}).get("imageReference")
    if not reference:
        raise invalid("Required parameter 'imageReference' is missing (null).", "imageReference")
    image = image_of(call.arm, reference)
    check_order(call, image, size)
    tags = checked_tags(call.body.get("tags") or {})
    interfaces = _interfaces(call)
    check_quota(call.arm, size)
    if lacking := shortage(call.arm, call.body, asynchronous=False):
        raise lacking
    _check_disk_name(call)
    body = copy.deepcopy(call.body) | {"tags": tags}
    body["properties"] |= {"vmId": str(uuid4()), "timeCreated": call.arm.clock.iso()}
    if (body.get("identity") or {}).get("type") == "SystemAssigned":
        body["identity"] |= {"principalId": str(uuid4()), "tenantId": call.arm.account.tenant}
    resource = Resource(call.vm_id, KIND, body, sent=copy.deepcopy(call.body))
    address = interfaces[0].properties["ipConfigurations"][0]["properties"]["privateIPAddress"]
    vm = Vm(
        call.vm_id, call.parameters["vmName"], "Windows" if image.os == "Windows" else "Linux", address, resource.sent,
        size.vcpus, int(size.memory_gb * 1024),
    )  # fmt: skip
    resource.runtime = Machine(vm, size)
    _complete(resource, image)
    return resource


def _complete(resource: Resource, image: Image) -> None:
    """What Azure adds."""
    storage: Json = resource.properties["storageProfile"]
    disk: Json = storage["osDisk"]
    disk.setdefault("name", f"{resource.name}_OsDisk_1_{uuid4().hex}")
    disk["osType"] = image.os
    disk.setdefault("diskSizeGB", image.disk_gb)
    disk.setdefault("deleteOption", "Detach")
    managed: Json = disk.setdefault("managedDisk", {})
    managed.setdefault("storageAccountType", "StandardSSD_LRS")
    managed["id"] = f"{resource.id.rpartition('/providers/')[0]}/providers/{DISK}/{disk['name']}"
    machine_of(resource).disk = managed["id"]
    if image.version:
        # not a property of what is sent: Azure tells which version `latest` was
        storage["imageReference"]["exactVersion"] = image.version
    profile = resource.properties.get("osProfile", {})
    for secret in _SECRETS:
        profile.pop(secret, None)
    profile.setdefault("computerName", resource.name)
    profile.setdefault("allowExtensionOperations", True)
    resource.properties.pop("userData", None)


def _interfaces(call: Call) -> list[Resource]:
    given = (call.body["properties"].get("networkProfile") or {}).get("networkInterfaces") or []
    if not given:
        raise invalid("Virtual Machine must have at least one network interface.", "networkProfile")
    found = []
    for reference in given:
        interface = call.arm.resources.find(reference.get("id", ""))
        if interface is None or interface.type != INTERFACE:
            raise ArmFault("NotFound", f"Resource {reference.get('id')} referenced by resource {call.vm_id} was not "
                           "found.")  # fmt: skip
        if interface.body["location"].lower() != call.body["location"].replace(" ", "").lower():
            raise ArmFault("InvalidResourceReference", f"Resource {interface.id} referenced by resource {call.vm_id} "
                           "was not found. Please make sure that the referenced resource exists, and that both "
                           "resources are in the same region.", 400)  # fmt: skip
        check_free(call, interface, 409)
        if (state := interface.properties["provisioningState"]) != "Succeeded":
            raise ArmFault("ReferencedResourceNotProvisioned", f"Cannot proceed with operation because resource "
                           f"{interface.id} used by resource {call.vm_id} is not in Succeeded state. Resource is in "
                           f"{state} state and the last operation that updated/is updating the resource is "
                           "PutNicOperation.", 409)  # fmt: skip
        call.arm.check_linked(interface.id, "Microsoft.Network/networkInterfaces/join/action")
        found.append(interface)
    return found


def _check_disk_name(call: Call) -> None:
    name = call.body["properties"]["storageProfile"]["osDisk"].get("name")
    if name and call.arm.resources.find(f"{call.group}/providers/{DISK}/{name}"):
        group = call.parameters["resourceGroupName"].upper()
        message = f"Disk {name} already exists in resource group {group}. Only CreateOption.Attach is supported."
        raise ArmFault("ConflictingUserInput", message, 409)


def _attach(call: Call, resource: Resource) -> None:
    machine = machine_of(resource)
    for number, interface in enumerate(machines.interfaces(call.arm, resource)):
        interface.properties["virtualMachine"] = {"id": resource.id}
        interface.properties["primary"] = number == 0
        interface.properties["macAddress"] = f"00-0D-3A-{uuid4().hex[:2]}-{uuid4().hex[:2]}-{uuid4().hex[:2]}".upper()
    os_disk = resource.properties["storageProfile"]["osDisk"]
    call.arm.resources.add(Resource(machine.disk, DISK, {
        "location": resource.body["location"], "tags": resource.tags, "managedBy": resource.id,
        "sku": {"name": os_disk["managedDisk"]["storageAccountType"], "tier": "Standard"},
        **({"zones": resource.body["zones"]} if resource.body.get("zones") else {}),
        "properties": {
            "osType": os_disk["osType"], "diskSizeGB": os_disk["diskSizeGB"], "diskState": "Attached",
            "creationData": {"createOption": "FromImage"}, "provisioningState": "Succeeded",
            "timeCreated": call.arm.clock.iso(),
        },
    }))  # fmt: skip


@ROUTES.add("VirtualMachines_Update")
def _patch(call: Call) -> Answer:
    resource = call.arm.resources.get(call.vm_id)
    _check_preconditions(call, resource)
    if resource.properties["provisioningState"] == "Deleting":
        raise _being_deleted(resource)
    given = copy.deepcopy(call.body)
    properties = given.pop("properties", {})
    if "tags" in given:
        resource.body["tags"] = checked_tags(given["tags"])
    if "userData" in properties:
        resource.sent["properties"]["userData"] = properties.pop("userData")
    for path in _IMMUTABLE:
        if _at(properties, path) is not None:
            raise ArmFault("PropertyChangeNotAllowed", f"Changing property '{'.'.join(path)}' is not allowed.",
                           target=".".join(path))  # fmt: skip
    resource.properties.update(properties)
    machine_of(resource).etag = f'"{uuid4()}"'
    return Answer(200, _shown(call, resource))


@ROUTES.add("VirtualMachines_Delete")
def _delete(call: Call) -> Answer:
    resource = call.arm.resources.find(call.vm_id)
    if resource is None:
        return Answer(204)
    machine = machine_of(resource)
    failure = call.failure
    if machine.operation and machine.operation.going:
        if machine.operation.name == call.operation:
            return Answer(202, None, call.arm.following(machine.operation))
        call.arm.operations.end(machine.operation, ArmFault("OperationPreempted"))
    operation = call.arm.operations.begin("Microsoft.Compute", resource.id, call.operation)
    machine.operation = operation
    resource.properties["provisioningState"] = "Deleting"

    def done() -> None:
        if failure:
            resource.properties["provisioningState"] = "Failed"
        else:
            machines.end(call.arm, resource)
        call.arm.operations.end(operation, failure)

    call.arm.operations.later(call.arm.delays.deletion, done)
    return Answer(202, None, call.arm.following(operation))


_POWER: dict[str, tuple[Power, str]] = {
    "VirtualMachines_Start": ("start", "running"),
    "VirtualMachines_PowerOff": ("powerOff", "stopped"),
    "VirtualMachines_Deallocate": ("deallocate", "deallocated"),
    "VirtualMachines_Restart": ("restart", "running"),
    "VirtualMachines_Redeploy": ("redeploy", "running"),
}


@ROUTES.add(*_POWER)
def _power(call: Call) -> Answer:
    resource = call.arm.resources.get(call.vm_id)
    machine = machine_of(resource)
    action, power = _POWER[call.operation]
    if resource.properties["provisioningState"] == "Deleting":
        raise _being_deleted(resource)
    if not machine.allocated:
        raise ArmFault("OperationNotAllowed", f"Operation '{action}' is not allowed on VM '{resource.name}' since the "
                       "VM was never allocated.")  # fmt: skip
    if action == "restart" and machine.power != "running":
        raise ArmFault("OperationNotAllowed", f"Cannot {action} a VM that is not running.")
    failure = call.failure
    operation = call.arm.operations.begin("Microsoft.Compute", resource.id, call.operation)

    def done() -> None:
        if not failure:
            call.arm.back_end.power(machine.vm, action)
            machine.power = power
        call.arm.operations.end(operation, failure)

    call.arm.operations.later(call.arm.delays.power, done)
    return Answer(202, None, call.arm.following(operation))


@ROUTES.add("VirtualMachines_RetrieveBootDiagnosticsData")
def _boot_diagnostics(call: Call) -> Answer:
    resource = call.arm.resources.get(call.vm_id)
    profile = resource.properties.get("diagnosticsProfile", {}).get("bootDiagnostics", {})
    if not profile.get("enabled"):
        raise ArmFault("OperationNotAllowed", f"Boot diagnostics is not enabled for VM '{resource.name}'.")
    minutes = float(call.query.get("sasUriExpirationTimeInMinutes", 120))
    return Answer(200, {
        "consoleScreenshotBlobUri": call.arm.blobs.address(resource.id, "screenshot.bmp", minutes * 60),
        "serialConsoleLogBlobUri": call.arm.blobs.address(resource.id, "serialconsole.log", minutes * 60),
    })  # fmt: skip


def _shown(call: Call, resource: Resource) -> Json:
    shown = resource.shown()
    if call.arm.tells_etags:
        shown["etag"] = machine_of(resource).etag
    children = call.arm.resources.of(f"{KIND}/extensions", f"{resource.id}/")
    if children:
        shown["resources"] = [child.shown() for child in children]
    return shown
