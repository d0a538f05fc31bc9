"""The subnets that machines are plugged in, and the private addresses that they get there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cloudpc.machines.azure import standing, subnet_health
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.configuration import SUBNET, AzureHostConfig
from cloudpc.machines.azure.subnet_ids import SubnetId
from cloudpc.model.access import Access, Bastion, Rdp, Ssh
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import HOSTED, Network
from cloudpc.model.watch import Watch

SSH_PORT: Final = 22
RDP_PORT: Final = 3389


class Networks:
    """The networks of a host.

    Args:
        arm: what is asked.
        config: the host's entry.
    """

    def __init__(self, arm: Arm, config: AzureHostConfig) -> None:
        self._arm = arm
        self._config = config

    def subnet_id(self, network: Network) -> str:
        """The id of the subnet that is meant; asks nobody.

        Raises:
            ProvisioningError: NETWORK_NOT_FOUND, this host offers no such network.
        """
        return self._subnet(network).path

    def check(self, network: Network) -> list[Check]:
        """What a connection's health check finds: the host in its subscription, the network, what it may do there.

        Raises:
            ProvisioningError: NETWORK_NOT_FOUND; HOST_UNREACHABLE, Azure does not answer.
        """
        subnet = self._subnet(network)
        found = standing.checks(self._arm, self._config)
        if away := next((check for check in found if check.error_type == standing.AWAY), None):
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, away.detail, hint=away.hint)
        if standing.is_closed(found):
            return found
        return [*found, *subnet_health.checks(self._arm, self._config, subnet)]

    def hosted_checks(self) -> list[Check]:
        """How the subnet of `regionName: automatic` stands, if the entry names one. Never raises but Cancelled."""
        subnet = SubnetId.parse(self._config.hosted_network or "")
        return [] if subnet is None else subnet_health.checks(self._arm, self._config, subnet)

    def access(self, vm_id: str, nic_id: str, watch: Watch, *, is_windows: bool = False) -> Access:
        """Where a machine's user reaches it: the private address of its card; by the entry's Bastion, if it has one.

        Args:
            vm_id: the machine's resource id.
            nic_id: its card's.
            watch: ends it.
            is_windows: by remote desktop then.

        Raises:
            ProvisioningError: SET_UP_FAILED, it has no address.
        """
        with self._arm.asking("read the machine's address", watch):
            card = self._arm.get(nic_id, "network") or {}
        address = _private_address(card)
        if not address:
            message = f"{nic_id.rpartition('/')[2]} on {self._config.name} has no private address"
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, message)
        id_ = self._config.bastion
        bastion = Bastion(bastion_id=id_, target_id=vm_id) if id_ else None
        if is_windows:
            return Rdp(host=address, port=RDP_PORT, bastion=bastion)
        return Ssh(host=address, port=SSH_PORT, bastion=bastion)

    def _subnet(self, network: Network) -> SubnetId:
        name, source = self._config.name, network.source
        if network.kind == HOSTED:
            source = self._config.hosted_network or ""
            if not source:
                message = f"{name} has no network of its own for `regionName: automatic`"
                hint = "name a subnet in hostedNetwork in cloudpc:hosts, or use a connection with subnetId"
                raise ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, message, hint=hint)
        found = SubnetId.parse(source) if network.kind in (HOSTED, SUBNET) else None
        if found is None:
            message = f"{name} has no {network.kind} {source}"
            hint = "use a connection with the subnetId of a subnet in its subscription and region"
            raise ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, message, hint=hint)
        if found.subscription.lower() != self._config.subscription_id.lower():
            message = f"the subnet {found.network}/{found.name} is in another subscription than {name}"
            hint = "network cards, machines and their network belong to one subscription; add a host in that one"
            raise ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, message, hint=hint)
        return found


def _private_address(card: Mapping[str, Any]) -> str:
    configurations = (card.get("properties") or {}).get("ipConfigurations") or ()
    found = [each.get("properties") or {} for each in configurations]
    found.sort(key=lambda each: not each.get("primary"))
    return next((str(each["privateIPAddress"]) for each in found if each.get("privateIPAddress")), "")
