"""What does not go together in a connection's fields that name a subnet: Graph's names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cloudpc.machines.azure.subnet_ids import SubnetId

_BESIDE: Final = ("virtualNetworkId", "resourceGroupId", "subscriptionId")
_SUBSCRIPTION: Final = re.compile(r"(?:/subscriptions/)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
_GROUP: Final = re.compile(r"/subscriptions/([0-9a-f-]{36})/resourceGroups/[^/]+", re.IGNORECASE)
_WHOLE: Final = "/subscriptions/…/virtualNetworks/NETWORK/subnets/SUBNET"


def contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and message, in values as they stand in the file."""
    given = {name: values[name] for name in ("subnetId", *_BESIDE) if isinstance(values.get(name), str)}
    if "subnetId" not in given:
        yield from ((name, "has a meaning only with subnetId") for name in given)
        return
    subnet, wrong = _subnet(given["subnetId"], given.get("virtualNetworkId"))
    if wrong is not None:
        yield wrong
    yield from _around(subnet, given)


def _subnet(name: str, network: str | None) -> tuple[SubnetId | None, tuple[str, str] | None]:
    """The subnet that is meant, and what is wrong with it."""
    whole = SubnetId.parse(name)
    if network is None:
        wrong = None if whole else ("subnetId", f"must be {_WHOLE}, or the subnet's name beside virtualNetworkId")
        return whole, wrong
    if SubnetId.within(network, "default") is None:
        return whole, ("virtualNetworkId", "must be a network's whole id, /subscriptions/…/virtualNetworks/NETWORK")
    if whole is None:
        named = SubnetId.within(network, name)
        return named, None if named else ("subnetId", f"must be a subnet's name, or {_WHOLE}")
    same = whole.network_path.lower() == network.lower()
    return whole, None if same else ("subnetId", "is a subnet of another network than virtualNetworkId")


def _around(subnet: SubnetId | None, given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for field, pattern, shape in (
        ("subscriptionId", _SUBSCRIPTION, "a subscription's id"),
        ("resourceGroupId", _GROUP, "a group's whole id, /subscriptions/…/resourceGroups/GROUP"),
    ):
        if field not in given:
            continue
        found = pattern.fullmatch(given[field])
        if found is None:
            yield field, f"must be {shape}"
        elif subnet is not None and found[1].lower() != subnet.subscription.lower():
            yield field, "is of another subscription than the subnet: network cards are made in the subnet's own"
