"""Devices of Intune, and what Windows 365 keeps in it: provisioning policies and network connections."""

from __future__ import annotations

from tests.support.http_server import Answer
from tests.tenant import tokens
from tests.tenant.errors import GraphError, bad_request
from tests.tenant.odata import Json, ResourceType
from tests.tenant.routing import Call, Find, Routes, parameter

ROUTES = Routes()

MANAGED_DEVICE = ResourceType(
    "managedDevice",
    filters={
        "deviceName": ("eq", "startswith"),
        "azureADDeviceId": ("eq",),
        "serialNumber": ("eq",),
        "userPrincipalName": ("eq",),
        "operatingSystem": ("eq",),
    },
)
POLICY = ResourceType("cloudPcProvisioningPolicy")
ASSIGNMENT = ResourceType("cloudPcProvisioningPolicyAssignment")
CONNECTION = ResourceType("cloudPcOnPremisesConnection")

_ENDPOINT = "/deviceManagement/virtualEndpoint"


@ROUTES.add("GET", "/deviceManagement/managedDevices", tokens.MANAGED)
def managed_devices(call: Call) -> Answer:
    return call.page(lambda: list(call.store.managed_devices), call.store.managed_devices.get, MANAGED_DEVICE)


@ROUTES.add("GET", "/deviceManagement/managedDevices/{id}", tokens.MANAGED)
def managed_device(call: Call) -> Answer:
    call.query.only("$select")
    return call.one(_found(call, call.store.managed_devices.get), MANAGED_DEVICE)


@ROUTES.add("DELETE", "/deviceManagement/managedDevices/{id}", tokens.MANAGED_WRITE)
def delete_managed_device(call: Call) -> Answer:
    managed = _found(call, call.store.managed_devices.get)
    del call.store.managed_devices[managed["id"]]
    for device in call.store.devices.values():
        if device["deviceId"] == managed["azureADDeviceId"]:
            device["isManaged"] = False
    call.store.changed()
    return Answer(204)


@ROUTES.add("GET", f"{_ENDPOINT}/provisioningPolicies", tokens.CLOUD_PCS)
def policies(call: Call) -> Answer:
    call.query.only("$select", "$expand", "$top", "$count", "$skiptoken")
    known = call.known(POLICY)
    return call.page(
        lambda: list(call.store.policies),
        call.store.policies.get,
        POLICY,
        lambda policy: _with_assignments(call, policy, call.query.shown(policy, POLICY, known)),
    )


@ROUTES.add("GET", f"{_ENDPOINT}/provisioningPolicies/{{id}}", tokens.CLOUD_PCS)
def policy(call: Call) -> Answer:
    call.query.only("$select", "$expand")
    found = _found(call, call.store.policies.get)
    answer = call.one(found, POLICY)
    assert answer.body is not None
    return Answer(answer.status, _with_assignments(call, found, answer.body))


@ROUTES.add("GET", f"{_ENDPOINT}/provisioningPolicies/{{id}}/assignments", tokens.CLOUD_PCS)
def assignments(call: Call) -> Answer:
    found: list[Json] = _found(call, call.store.policies.get)["assignments"]
    by_id = {assignment["id"]: assignment for assignment in found}
    return call.page(lambda: list(by_id), by_id.get, ASSIGNMENT)


@ROUTES.add("GET", f"{_ENDPOINT}/onPremisesConnections", tokens.CLOUD_PCS)
def connections(call: Call) -> Answer:
    return call.page(lambda: list(call.store.connections), call.store.connections.get, CONNECTION)


@ROUTES.add("GET", f"{_ENDPOINT}/onPremisesConnections/{{id}}", tokens.CLOUD_PCS)
def connection(call: Call) -> Answer:
    call.query.only("$select")
    return call.one(_found(call, call.store.connections.get), CONNECTION)


def _found(call: Call, find: Find) -> Json:
    found = find(parameter(call, "id"))
    if found is None:
        # not the directory's words: Intune is another service
        raise GraphError(404, "ResourceNotFound", f"An object of id {parameter(call, 'id')} was not found.")
    return found


def _with_assignments(call: Call, whole: Json, shown: Json) -> Json:
    if unknown := [name for name in call.query.expand if name != "assignments"]:
        raise bad_request(f"Could not find a property named '{unknown[0]}' on type 'microsoft.graph.{POLICY.name}'.")
    without = {name: value for name, value in shown.items() if name != "assignments"}
    return {**without, "assignments": whole["assignments"]} if call.query.expand else without
