"""Network interfaces, and the networks they are in."""

from __future__ import annotations

import copy
import ipaddress
from uuid import uuid4

from tests.azure.api_subscription import checked_tags
from tests.azure.errors import ArmFault, Json
from tests.azure.resources import Resource
from tests.azure.routing import Call, Routes, listed
from tests.support.http_server import Answer

ROUTES = Routes()
KIND = "Microsoft.Network/networkInterfaces"
NETWORK = "Microsoft.Network/virtualNetworks"
RESERVED_BY_AZURE = 5
"""Addresses of each subnet: the first four and the last."""


@ROUTES.add("VirtualNetworks_Get")
def _network(call: Call) -> Answer:
    network = call.arm.resources.get(_network_id(call))
    shown = network.shown()
    shown["properties"]["subnets"] = [s.shown() for s in call.arm.resources.of(f"{NETWORK}/subnets", network.id)]
    return Answer(200, shown)


@ROUTES.add("Subnets_List")
def _subnets(call: Call) -> Answer:
    network = call.arm.resources.get(_network_id(call))
    return listed(call, [s.shown() for s in call.arm.resources.of(f"{NETWORK}/subnets", f"{network.id}/")])


@ROUTES.add("Subnets_Get")
def _subnet(call: Call) -> Answer:
    call.arm.resources.get(_network_id(call))
    found = call.arm.resources.find(f"{_network_id(call)}/subnets/{call.parameters['subnetName']}")
    if found is None:
        raise ArmFault("NotFound", f"Resource {call.path} not found.")
    return Answer(200, found.shown())


@ROUTES.add("VirtualNetworks_ListUsage")
def _usage(call: Call) -> Answer:
    network = call.arm.resources.get(_network_id(call))
    found = []
    for subnet in call.arm.resources.of(f"{NETWORK}/subnets", f"{network.id}/"):
        found.append({
            "id": subnet.id, "currentValue": float(len(_taken(call, subnet.id))), "unit": "Count",
            "limit": float(_prefix(subnet).num_addresses - RESERVED_BY_AZURE),
            "name": {"value": "SubnetSpace", "localizedValue": "Subnet size and usage"},
        })  # fmt: skip
    return listed(call, found)


@ROUTES.add("NetworkInterfaces_List")
def _list(call: Call) -> Answer:
    call.arm.resources.get(call.group)
    return listed(call, [r.shown() for r in call.arm.resources.listed(KIND, f"{call.group}/")])


@ROUTES.add("NetworkInterfaces_Get")
def _get(call: Call) -> Answer:
    return Answer(200, call.arm.resources.get(_id(call)).shown())


@ROUTES.add("NetworkInterfaces_CreateOrUpdate")
def _put(call: Call) -> Answer:
    existing = call.arm.resources.find(_id(call))
    if existing is not None and existing.properties["provisioningState"] == "Deleting":
        raise ArmFault("AnotherOperationInProgress")
    resource = Resource(_id(call), KIND, _body(call, existing), sent=copy.deepcopy(call.body))
    failure = call.failure
    resource.properties["provisioningState"] = "Updating" if existing else "Creating"
    call.arm.resources.add(resource)
    operation = call.arm.operations.begin("Microsoft.Network", resource.id, call.operation, resource.shown)

    def done() -> None:
        resource.properties["provisioningState"] = "Failed" if failure else "Succeeded"
        call.arm.operations.end(operation, failure)

    call.arm.operations.later(call.arm.delays.network_interface, done)
    return Answer(200 if existing else 201, resource.shown(), call.arm.following(operation))


@ROUTES.add("NetworkInterfaces_UpdateTags")
def _patch(call: Call) -> Answer:
    resource = call.arm.resources.get(_id(call))
    resource.body["tags"] = checked_tags(call.body.get("tags", {}))
    return Answer(200, resource.shown())


@ROUTES.add("NetworkInterfaces_Delete")
def _delete(call: Call) -> Answer:
    resource = call.arm.resources.find(_id(call))
    if resource is None:
        return Answer(204)
    check_free(call, resource)
    failure = call.failure
    resource.properties["provisioningState"] = "Deleting"
    operation = call.arm.operations.begin("Microsoft.Network", resource.id, call.operation)

    def done() -> None:
        if failure:
            resource.properties["provisioningState"] = "Failed"
        else:
            call.arm.resources.remove(resource)
        call.arm.operations.end(operation, failure)

    call.arm.operations.later(call.arm.delays.network_interface, done)
    return Answer(202, None, call.arm.following(operation))


def check_free(call: Call, resource: Resource, status: int = 400) -> None:
    """ArmFault: a virtual machine has this network interface, or has a claim on it."""
    reserved: float = resource.runtime or 0
    if reserved > call.arm.clock.now():
        raise ArmFault("NicReservedForAnotherVm", target=resource.id)
    if holder := resource.properties.get("virtualMachine"):
        raise ArmFault("NicInUse", f"Network Interface {resource.id} is used by existing resource {holder['id']}. In "
                       "order to delete the network interface, it must be dissociated from the resource.",
                       status)  # fmt: skip


def _body(call: Call, existing: Resource | None) -> Json:
    body: Json = copy.deepcopy(call.body)
    body["tags"] = checked_tags(body.get("tags") or {})
    properties: Json = body.setdefault("properties", {})
    configurations = properties.get("ipConfigurations") or []
    if not configurations:
        raise ArmFault("NetworkInterfaceMustHaveAtLeastOneIpConfiguration", f"Network interface {_id(call)} must have "
                       "at least one IP configuration.", 400)  # fmt: skip
    for number, configuration in enumerate(configurations):
        _configured(call, body, configuration, existing, first=number == 0)
    old = existing.properties if existing else {}
    kept = {name: old[name] for name in ("virtualMachine", "macAddress", "resourceGuid", "primary") if name in old}
    body["properties"] = {
        "enableAcceleratedNetworking": False, "enableIPForwarding": False, "nicType": "Standard",
        "resourceGuid": str(uuid4()), **properties, **kept,
    }  # fmt: skip
    body["etag"] = f'W/"{uuid4()}"'
    return body


def _configured(call: Call, body: Json, configuration: Json, existing: Resource | None, *, first: bool) -> None:
    if not configuration.get("name"):
        raise ArmFault("InvalidRequestFormat", "Cannot parse the request: an IP configuration has no name.", 400)
    properties: Json = configuration.setdefault("properties", {})
    subnet_id = (properties.get("subnet") or {}).get("id", "")
    subnet = call.arm.resources.find(subnet_id)
    if subnet is None or subnet.type != f"{NETWORK}/subnets":
        raise ArmFault("InvalidResourceReference", f"Resource {subnet_id} referenced by resource {_id(call)} was not "
                       "found. Please make sure that the referenced resource exists, and that both resources are in "
                       "the same region.", 400)  # fmt: skip
    network = call.arm.resources.get(subnet.id.rpartition("/subnets/")[0])
    if network.body["location"] != str(body.get("location", "")).replace(" ", "").lower():
        raise ArmFault("InvalidResourceReference", f"Resource {subnet_id} referenced by resource {_id(call)} was not "
                       "found. Please make sure that the referenced resource exists, and that both resources are in "
                       "the same region.", 400)  # fmt: skip
    if subnet.properties.get("delegations"):
        raise ArmFault(
            "SubnetIsDelegated", f"Subnet {subnet.name} is delegated and can't hold network interfaces.", 400
        )
    call.arm.check_linked(subnet.id, "Microsoft.Network/virtualNetworks/subnets/join/action")
    configuration["id"] = f"{_id(call)}/ipConfigurations/{configuration['name']}"
    properties.setdefault("privateIPAllocationMethod", "Dynamic")
    properties.setdefault("privateIPAddressVersion", "IPv4")
    properties.setdefault("primary", first)
    properties["subnet"] = {"id": subnet.id}
    properties["provisioningState"] = "Succeeded"
    properties["privateIPAddress"] = _address(call, subnet, existing)


def _address(call: Call, subnet: Resource, existing: Resource | None) -> str:
    if existing is not None:
        return str(existing.properties["ipConfigurations"][0]["properties"]["privateIPAddress"])
    prefix = _prefix(subnet)
    taken = _taken(call, subnet.id)
    last = prefix.num_addresses - 1
    for number in range(RESERVED_BY_AZURE - 1, last):
        if (found := str(prefix[number])) not in taken:
            return found
    raise ArmFault("SubnetIsFull", f"Subnet {subnet.name} with address prefix {prefix} does not have enough capacity "
                   "for 1 IP addresses.")  # fmt: skip


def _taken(call: Call, subnet_id: str) -> set[str]:
    found = set(call.arm.taken_addresses.get(subnet_id.lower(), ()))
    for interface in call.arm.resources.of(KIND):
        for configuration in interface.properties.get("ipConfigurations", ()):
            if configuration["properties"]["subnet"]["id"].lower() == subnet_id.lower():
                found.add(configuration["properties"]["privateIPAddress"])
    return found


def _prefix(subnet: Resource) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(subnet.properties["addressPrefix"])


def _id(call: Call) -> str:
    return f"{call.group}/providers/{KIND}/{call.parameters['networkInterfaceName']}"


def _network_id(call: Call) -> str:
    return f"{call.group}/providers/{NETWORK}/{call.parameters['virtualNetworkName']}"
