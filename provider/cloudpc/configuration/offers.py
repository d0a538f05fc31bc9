"""What the hosts of a policy can have, as far as their drivers say: told before anything is asked of a host."""

from __future__ import annotations

from collections.abc import Iterable

from cloudpc.model import drivers
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import HOSTED, Network


def has(host: HostConfig, network: Network) -> bool:
    """Whether a host of this kind may have such a network."""
    driver = drivers.named(host.driver)
    return network.kind == HOSTED or (driver is not None and network.kind in {k.kind for k in driver.network.KINDS})


def told(hosts: Iterable[HostConfig]) -> str:
    """Hosts and of which kind they are, for messages."""
    return ", ".join(f"{host.name} ({host.driver})" for host in hosts)
