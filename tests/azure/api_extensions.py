"""Extensions of virtual machines."""

from __future__ import annotations

import copy

from tests.azure.entra import PUBLISHER, TYPE
from tests.azure.errors import ArmFault, Json, invalid
from tests.azure.machine import KIND, Machine, agent_ready, instance_view, machine_of
from tests.azure.resources import Resource
from tests.azure.routing import Call, Routes
from tests.support.http_server import Answer

ROUTES = Routes()
EXTENSION = f"{KIND}/extensions"


@ROUTES.add("VirtualMachineExtensions_Get")
def _get(call: Call) -> Answer:
    call.arm.resources.get(call.vm_id)
    return Answer(200, _shown(call, call.arm.resources.get(_id(call))))


@ROUTES.add("VirtualMachineExtensions_CreateOrUpdate")
def _put(call: Call) -> Answer:
    vm = call.arm.resources.get(call.vm_id)
    _check(call, vm)
    existing = call.arm.resources.find(_id(call))
    properties: Json = copy.deepcopy(call.body["properties"])
    properties.pop("protectedSettings", None)
    properties["provisioningState"] = "Updating" if existing else "Creating"
    resource = Resource(
        _id(call), EXTENSION, {"location": call.body["location"], "properties": properties},
        sent=copy.deepcopy(call.body),
    )  # fmt: skip
    call.arm.resources.add(resource)
    operation = call.arm.operations.begin(
        "Microsoft.Compute", resource.id, call.operation, lambda: _shown(call, resource)
    )

    def done() -> float | None:
        machine = machine_of(vm)
        if call.arm.resources.find(resource.id) is not resource:
            return None
        if not agent_ready(instance_view(call.arm, vm)):
            return 0.2
        failure = call.failure or _blocked(call, vm, resource) or _installed(call, machine, properties)
        state = properties["provisioningState"] = "Failed" if failure else "Succeeded"
        resource.runtime = _seen(resource, properties, state, failure)
        call.arm.operations.end(operation, failure)
        return None

    call.arm.operations.later(call.arm.delays.extension, done)
    return Answer(200 if existing else 201, _shown(call, resource), call.arm.following(operation))


def _check(call: Call, vm: Resource) -> None:
    properties = call.body.get("properties") or {}
    for name in ("publisher", "type", "typeHandlerVersion"):
        if not properties.get(name):
            raise invalid(f"Required parameter '{name}' is missing (null).", name)
    if vm.properties["provisioningState"] == "Deleting":
        raise ArmFault("OperationNotAllowed", f"The VM '{vm.name}' is marked for deletion.")
    if machine_of(vm).power != "running":
        raise ArmFault("OperationNotAllowed", "Cannot modify extensions in the VM when the VM is not running.")


def _blocked(call: Call, vm: Resource, resource: Resource) -> ArmFault | None:
    """One that failed blocks all others."""
    others = [e for e in call.arm.resources.of(EXTENSION, f"{vm.id}/") if e is not resource]
    failed = next((e.name for e in others if e.properties["provisioningState"] == "Failed"), None)
    return (
        ArmFault("VMExtensionProvisioningError", f"The handler is blocked by '{failed}', which failed.")
        if failed
        else None
    )


def _installed(call: Call, machine: Machine, properties: Json) -> ArmFault | None:
    if (properties["publisher"], properties["type"]) != (PUBLISHER, TYPE):
        return None
    try:
        call.arm.entra.join(machine.vm, properties.get("settings") or {})
    except ArmFault as failure:
        return failure
    return None


def _seen(resource: Resource, properties: Json, state: str, failure: ArmFault | None) -> Json:
    status = {
        "code": f"ProvisioningState/{state.lower()}", "level": "Error" if failure else "Info",
        "displayStatus": f"Provisioning {state.lower()}", "message": failure.message if failure else "",
    }  # fmt: skip
    return {
        "name": resource.name, "type": f"{properties['publisher']}.{properties['type']}",
        "typeHandlerVersion": properties["typeHandlerVersion"], "statuses": [status],
    }  # fmt: skip


@ROUTES.add("VirtualMachineExtensions_Delete")
def _delete(call: Call) -> Answer:
    call.arm.resources.get(call.vm_id)
    resource = call.arm.resources.find(_id(call))
    if resource is None:
        return Answer(204)
    operation = call.arm.operations.begin("Microsoft.Compute", resource.id, call.operation)

    def done() -> None:
        if not call.failure:
            call.arm.resources.remove(resource)
        call.arm.operations.end(operation, call.failure)

    call.arm.operations.later(0, done)
    return Answer(202, None, call.arm.following(operation))


def _shown(call: Call, resource: Resource) -> Json:
    shown = resource.shown()
    if "instanceView" in call.query.get("$expand", "") and resource.runtime:
        shown["properties"]["instanceView"] = copy.deepcopy(resource.runtime)
    return shown


def _id(call: Call) -> str:
    return f"{call.vm_id}/extensions/{call.parameters['vmExtensionName']}"
