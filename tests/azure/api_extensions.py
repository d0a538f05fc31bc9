"""Extensions of virtual machines."""

from __future__ import annotations

import copy

from tests.azure.errors import ArmFault, Json
from tests.azure.machine import KIND, machine_of
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
    if machine_of(vm).power != "running":
        raise ArmFault("OperationNotAllowed", "Cannot modify extensions in the VM when the VM is not running.")
    existing = call.arm.resources.find(_id(call))
    properties: Json = copy.deepcopy(call.body.get("properties") or {})
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

    def done() -> None:
        properties["provisioningState"] = "Failed" if call.failure else "Succeeded"
        level = "Error" if call.failure else "Info"
        message = call.failure.message if call.failure else ""
        resource.runtime = {
            "name": resource.name, "type": f"{properties.get('publisher')}.{properties.get('type')}",
            "typeHandlerVersion": properties.get("typeHandlerVersion", "1.0"),
            "statuses": [{"code": f"ProvisioningState/{properties['provisioningState'].lower()}", "level": level,
                          "displayStatus": f"Provisioning {properties['provisioningState'].lower()}",
                          "message": message}],
        }  # fmt: skip
        call.arm.operations.end(operation, call.failure)

    call.arm.operations.later(call.arm.delays.extension, done)
    return Answer(200 if existing else 201, _shown(call, resource), call.arm.following(operation))


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
