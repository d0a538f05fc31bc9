"""How the subnet that a connection names stands: its network and region, who holds it, its addresses, its way out.

Error types are Windows 365's own words for the same (Graph's `cloudPcOnPremisesConnectionHealthCheckErrorType`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from cloudpc.machines.azure import permissions, standing
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.standing import AVAILABILITY, PERMISSION
from cloudpc.machines.azure.subnet_ids import SubnetId
from cloudpc.model.check import Check
from cloudpc.model.errors import ProvisioningError

_ADDRESSES: Final = "free addresses"
_AZURES_OWN: Final = 5
"""Addresses of each subnet that Azure keeps: the first four and the last."""
_FEW: Final = 5
"""So few free addresses are worth a warning: a reprovision and another attempt want one each for a while."""


def checks(arm: Arm, config: AzureHostConfig, subnet: SubnetId) -> list[Check]:
    """All of it. Never raises but Cancelled."""
    what = f"virtual network {subnet.network}"
    try:
        with arm.asking(f"look for the {what}"):
            network = arm.get(subnet.network_path, "network")
    except ProvisioningError as error:
        return [_unseen(what, error)]
    if network is None:
        hint = "Correct the connection's subnetId (or hostedNetwork), or make the network: it is never made here."
        return [Check(what, "failed", f"is not in {subnet.group}", hint, f"{AVAILABILITY}VNetInvalid")]
    if _region(network.get("location", "")) != _region(config.location):
        detail = f"is in {network.get('location')}, machines of this host are in {config.location}"
        hint = "Use a network of the same region, or add a host of that region to cloudpc:hosts."
        return [Check(what, "failed", detail, hint, f"{AVAILABILITY}UnsupportedVNetRegion")]
    return [Check(what, "passed", f"is in {network['location']}"), *_look_into(arm, subnet, network)]


def _look_into(arm: Arm, subnet: SubnetId, network: Mapping[str, Any]) -> list[Check]:
    what = f"subnet {subnet.name}"
    subnets = (network.get("properties") or {}).get("subnets") or ()
    found = next((each for each in subnets if str(each.get("name", "")).lower() == subnet.name.lower()), None)
    if found is None:
        there = ", ".join(str(each.get("name")) for each in subnets) or "none"
        hint = f"The network {subnet.network} has these: {there}."
        return [Check(what, "failed", "is not in its network", hint, f"{AVAILABILITY}SubnetInvalid")]
    properties = found.get("properties") or {}
    kind = f"{PERMISSION}NoWindows365NetworkUserRole"
    return [
        _of_its_own(what, properties),
        _way_out(what, properties),
        *standing.told(_ADDRESSES, partial(_addresses, arm, subnet, properties)),
        *standing.rights(arm, subnet.network, subnet.network_path, permissions.NETWORK, kind),
    ]


def _addresses(arm: Arm, subnet: SubnetId, properties: Mapping[str, Any]) -> list[Check]:
    with arm.asking("count the subnet's addresses"):
        usages = (arm.get(f"{subnet.network_path}/usages", "network") or {}).get("value", ())
    usage = next((each for each in usages if str(each.get("id", "")).lower() == subnet.path.lower()), None)
    if usage is None:
        return [Check(_ADDRESSES, "passed", "Azure does not count them")]
    total = usable(int(usage["limit"]), _prefixes(properties))
    free = max(0, total - int(usage["currentValue"]))
    detail = f"{free} of {total} are free"
    hint = "Make the subnet larger, or use another one; cards of failed machines are held for some minutes."
    if free == 0:
        return [Check(_ADDRESSES, "failed", detail, hint, f"{AVAILABILITY}NoSubnetIP")]
    if free < _FEW:
        return [Check(_ADDRESSES, "warning", detail, hint, f"{AVAILABILITY}NoSubnetIP")]
    return [Check(_ADDRESSES, "passed", detail)]


def usable(limit: int, prefixes: list[str]) -> int:
    """How many addresses of a subnet machines can have.

    Args:
        limit: as Azure says; nobody knows whether it counts the five that Azure keeps.
        prefixes: the subnet's address ranges.
    """
    sizes = [ipaddress.ip_network(prefix, strict=False) for prefix in prefixes]
    fours = [net.num_addresses - _AZURES_OWN for net in sizes if net.version == 4]
    return max(0, min(limit, sum(fours))) if fours else max(0, limit - _AZURES_OWN)


def _prefixes(properties: Mapping[str, Any]) -> list[str]:
    one = properties.get("addressPrefix")
    return list(properties.get("addressPrefixes") or ([one] if one else []))


def _of_its_own(what: str, properties: Mapping[str, Any]) -> Check:
    """Whether machines may be in there: some services keep a subnet for themselves."""
    services = [str((each.get("properties") or {}).get("serviceName")) for each in properties.get("delegations") or ()]
    if services:
        hint = "Use a subnet that is delegated to no service."
        detail = f"is delegated to {', '.join(services)}"
        return Check(what, "failed", detail, hint, f"{AVAILABILITY}SubnetDelegationFailed")
    if properties.get("serviceAssociationLinks") or properties.get("resourceNavigationLinks"):
        hint = "Use a subnet that no other service has taken."
        kind = f"{AVAILABILITY}SubnetWithExternalResources"
        return Check(what, "failed", "is held by another service", hint, kind)
    return Check(what, "passed", "is there, and no service has taken it")


def _way_out(what: str, properties: Mapping[str, Any]) -> Check:
    """Whether guests reach Azure's own services, as far as the subnet says it."""
    name = f"way out of {what}"
    for field, words in (("natGateway", "a NAT gateway"), ("routeTable", "a route table")):
        if properties.get(field):
            return Check(name, "passed", words)
    if properties.get("defaultOutboundAccess") is False:
        hint = (
            "Give the subnet a NAT gateway or a route to a firewall: without, machines do not become ready, commands "
            "in them hang until their time is over, and no packages are found."
        )
        detail = "private, and neither NAT gateway nor route table"
        return Check(name, "warning", detail, hint, "endpointConnectivityCheckUnknownError")
    return Check(name, "passed", "Azure's default")


def _unseen(what: str, error: ProvisioningError) -> Check:
    """A network that may not be read lacks a role; one without a group does not exist."""
    check = standing.refused(what, error)
    kinds = {
        f"{PERMISSION}NoSubscriptionReaderRole": f"{PERMISSION}NoWindows365NetworkUserRole",
        f"{AVAILABILITY}ResourceGroupInvalid": f"{AVAILABILITY}VNetInvalid",
    }
    return Check(what, "failed", check.detail, check.hint, kinds.get(check.error_type, check.error_type))


def _region(name: str) -> str:
    """`West Europe` and `westeurope` are one."""
    return name.replace(" ", "").lower()
