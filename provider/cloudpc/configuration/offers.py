"""What the hosts of a policy can have, as far as their drivers say: told before anything is asked of a host."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cloudpc.images import sources
from cloudpc.images.sources import Source
from cloudpc.model import drivers
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import HOSTED, Network


def has(host: HostConfig, network: Network) -> bool:
    """Whether a host of this kind may have such a network."""
    driver = drivers.named(host.driver)
    return network.kind == HOSTED or (driver is not None and network.kind in {k.kind for k in driver.network.KINDS})


def source(meant: Iterable[Source], image_id: str, hosts: Collection[HostConfig]) -> Source | None:
    """Which of these is used; None if no host takes the images of any.

    Args:
        meant: by the policy's imageType.
        image_id: of the policy.
        hosts: where its Cloud PCs may be made; none if that is not known.
    """
    taken = [each for each in meant if not hosts or any(takes(host, each.kind) for host in hosts)]
    return sources.chosen(taken, image_id)


def takes(host: HostConfig, kind: str) -> bool:
    """Whether a host of this kind makes machines of such images."""
    return kind in _images(host)


def told_with_images(hosts: Iterable[HostConfig]) -> str:
    """Hosts and which images they take, for messages."""
    return ", ".join(f"{host.name} ({host.driver}: {', '.join(sorted(_images(host))) or 'none'})" for host in hosts)


def _images(host: HostConfig) -> frozenset[str]:
    driver = drivers.named(host.driver)
    return driver.images if driver is not None else frozenset()


def told(hosts: Iterable[HostConfig]) -> str:
    """Hosts and of which kind they are, for messages."""
    return ", ".join(f"{host.name} ({host.driver})" for host in hosts)
