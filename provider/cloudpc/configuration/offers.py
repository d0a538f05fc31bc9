"""What the hosts of a policy can have, as far as their drivers say, before anything is asked of a host."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable

from cloudpc.images import counterparts
from cloudpc.images.sources import Source
from cloudpc.model import drivers
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import QCOW2
from cloudpc.model.machines import Network


def has(host: HostConfig, network: Network) -> bool:
    """Whether a host may have such a network, as far as its driver and its entry say."""
    return network.kind in drivers.network_kinds(host.driver) and host.offers(network)


def forms(meant: Collection[Source], image_id: str, hosts: Collection[HostConfig]) -> list[Source]:
    """Where the forms of an image come from, that of the first host first: one for each kind that hosts take.

    Where none has it, the first that a host takes, which says why; empty if no host takes the images of any.

    Args:
        meant: by the policy's imageType.
        image_id: of the policy.
        hosts: where its Cloud PCs may be made; none if that is not known: then one form is enough.
    """
    taken = [each for host in hosts for each in meant if takes(host, each.kind)] if hosts else list(meant)
    having: dict[str, Source] = {}
    for each in taken:
        if each.has(image_id):
            having.setdefault(each.kind, each)
    return list(having.values())[: None if hosts else 1] or taken[:1]


def form(host: HostConfig, kinds: Iterable[str]) -> str | None:
    """Which of these kinds of images a host makes machines of, if of any."""
    return next((kind for kind in kinds if takes(host, kind)), None)


def left_out(meant: Collection[Source], used: Container[str], image_id: str, hosts: Iterable[HostConfig]) -> list[str]:
    """Which hosts get no machine because the image has no form for them, and what to add.

    Args:
        meant: by the policy's imageType.
        used: the kinds of the forms that it has.
        image_id: of the policy.
        hosts: the policy's.
    """
    told_ = []
    for host in hosts:
        kinds = _images(host)
        if not any(kind in used for kind in kinds):
            message = f"{host.name} ({host.driver}) gets none of the Cloud PCs: the image {image_id} has no form for it"
            told_.append(message + next((f"; {_add(each, image_id)}" for each in meant if each.kind in kinds), ""))
    return told_


def _add(source: Source, image_id: str) -> str:
    """What to add so that an image has the form of this source."""
    if source.entry is not None:
        return f"add {' or '.join(source.entry.NAMED_BY)} to cloudpc:images.{image_id}"
    if source.kind == QCOW2:
        return "it takes what is built from a recipe of that name"
    return f"name what it is there in vm-images/{counterparts.FILE}: {image_id}: {{{source.kind}: …}}"


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
