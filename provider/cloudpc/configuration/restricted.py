"""What a policy can't ask for on a hosted network where guests reach nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cloudpc.devices.configuration import DevicesConfig
from cloudpc.model.cloud_pc import NetworkChoice
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import HOSTED
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import Problem


def problems(
    file: str,
    policy: ProvisioningPolicy,
    networks: Iterable[NetworkChoice | None],
    hosts: Iterable[HostConfig],
    devices: DevicesConfig,
) -> Iterator[Problem]:
    """Told before the first run: in the guest each of them would only time out.

    Args:
        file: the policy's, for messages.
        policy: what is asked for.
        networks: its networks, in order; None where one is wrong.
        hosts: where it may be carried out.
        devices: what Cloud PCs become in the tenant.
    """
    restricted, choices = [host for host in hosts if host.reaches_nothing], list(networks)
    if not restricted or not any(choice and choice.kind == HOSTED for choice in choices):
        return
    names = ", ".join(host.name for host in restricted)
    says = ", ".join(dict.fromkeys(host.reaches_nothing for host in restricted))
    why = f"the policy may use the hosted network of {names}, where guests reach nothing ({says})"
    instead = "use a connection (onPremisesConnectionId) to a network of the host, or another hosted network"
    if policy.packages:
        message = f"can't be installed: {why}; put them into the image, or {instead}"
        yield Problem(file, "cloudpc:policy.packages", message)
    for i, choice in enumerate(choices):
        if choice and choice.kind == HOSTED and choice.joins_domain:
            field = f"cloudpc:policy.domainJoinConfigurations[{i}]"
            yield Problem(file, field, f"can't join a domain: {why}; {instead}")
    if devices.registration == "adopt":
        message = f"needs guests that join the tenant themselves, but {why}; {instead}"
        yield Problem(file, "cloudpc:devices.registration", message, "adopt")
