"""What is defined on a host, read from the domains' own XML: the only record of what is committed there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import libvirt

from cloudpc.machines.libvirt.domain_xml import AGENT_CHANNEL, SEED_ALIAS
from cloudpc.machines.libvirt.errors import unless_gone
from cloudpc.machines.libvirt.metadata import Label, from_domain
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.machines import Amount, Machine, PowerState

_KIB_PER_UNIT = {
    "KiB": 1,
    "k": 1,
    "MiB": 1024,
    "M": 1024,
    "GiB": 1024**2,
    "G": 1024**2,
    "bytes": 1 / 1024,
    "b": 1 / 1024,
}
_ARGUMENT = "{http://libvirt.org/schemas/domain/qemu/1.0}arg"
_LOCAL = {"file", "dev", "volume"}
_MAC = re.compile(r",mac=([0-9a-f]{2}(?::[0-9a-f]{2}){5})", re.IGNORECASE)
_FORWARD = re.compile(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-")


@dataclass(frozen=True)
class Definition:
    """One domain, ours or somebody else's."""

    id: UUID
    name: str
    vcpus: int
    memory_mib: int
    label: Label | None
    forwarded_port: int | None
    network: tuple[str, str] | None
    """Kind and source of its first card, where libvirt knows it."""
    disks: tuple[str, ...] = ()
    """Paths, on the host, of the disks it writes to alone, whatever they are called."""
    pool_volumes: tuple[tuple[str, str], ...] = ()
    """The same of those that it has as volumes: pool and name. Nothing of ours has."""
    far_disks: tuple[str, ...] = ()
    """The same of those that are on no path of the host, such as rbd or nbd, in words. Nothing of ours is."""
    macs: frozenset[str] = frozenset()
    """Of its network cards, in lower case; those that libvirt does not know of included."""

    @property
    def names_disks(self) -> bool:
        """Whether it has disks: one that is only claimed has not."""
        return bool(self.disks or self.pool_volumes or self.far_disks)

    def machine(self, label: Label, power: PowerState, paused_because: str = "") -> Machine:
        """As the interface describes it."""
        return Machine(
            id=self.id,
            name=self.name,
            tag=label.tag,
            power=power,
            size=Amount(vcpus=self.vcpus, memory_mib=self.memory_mib, disk_gib=label.disk_gib),
            paused_because=paused_because,
        )


def parse(xml: str) -> Definition:
    """Read one domain's XML, as libvirt gives it."""
    domain = parsed(xml)
    memory = domain.find("memory")
    kib = 0.0 if memory is None else int(memory.text or 0) * _KIB_PER_UNIT.get(memory.get("unit", "KiB"), 1)
    port = None
    for argument in domain.iter(_ARGUMENT):
        if found := _FORWARD.search(argument.get("value", "")):
            port = int(found[1])
    network = None
    if (interface := domain.find("./devices/interface")) is not None:
        kind = interface.get("type", "")
        source = interface.find("source")
        network = (kind, "" if source is None else source.get(kind, ""))
    return Definition(
        id=UUID(domain.findtext("uuid", "")),
        name=domain.findtext("name", ""),
        vcpus=int(domain.findtext("vcpu", "1")),
        memory_mib=-int(-kib // 1024),
        label=from_domain(domain),
        forwarded_port=port,
        network=network,
        disks=tuple(path for source in _own_disks(domain) for path in (source.get("file"), source.get("dev")) if path),
        pool_volumes=tuple(
            (source.get("pool", ""), source.get("volume", "")) for source in _own_disks(domain) if source.get("volume")
        ),
        far_disks=tuple(_far(source) for source in _own_disks(domain) if _LOCAL.isdisjoint(source.keys())),
        macs=frozenset(mac.lower() for mac in _macs(domain)),
    )


def _macs(domain: ElementTree.Element) -> Iterator[str]:
    for card in domain.iterfind("./devices/interface/mac"):
        yield card.get("address", "")
    for argument in domain.iter(_ARGUMENT):
        yield from _MAC.findall(argument.get("value", ""))


def _own_disks(domain: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Sources of its disks; not its seed, nor what it only reads or shares with others."""
    for disk in domain.iterfind("./devices/disk"):
        source = disk.find("source")
        is_shared = disk.find("readonly") is not None or disk.find("shareable") is not None
        if disk.get("device", "disk") == "disk" and source is not None and not is_shared:
            yield source


def _far(source: ElementTree.Element) -> str:
    """Where a disk is that is reached by a protocol, or in some way that libvirt has learned since."""
    where = [source.get(name, "") for name in ("protocol", "type", "name", "dir", "path") if source.get(name)]
    return ":".join(where) or "that its definition does not name"


def has_seed(xml: str) -> bool:
    """Whether a domain's XML still has the seed of its first boot."""
    aliases = parsed(xml).iterfind("./devices/disk/alias")
    return any(alias.get("name") == SEED_ALIAS for alias in aliases)


def agent_is_connected(xml: str) -> bool:
    """Whether the guest agent has its channel open, from the XML of a running domain."""
    channels = parsed(xml).iterfind("./devices/channel/target")
    return any(target.get("name") == AGENT_CHANNEL and target.get("state") == "connected" for target in channels)


def definition_of(domain: Any) -> Definition | None:
    """One domain as it will start next time; None if it has gone since it was found.

    A tag that was taken from that alone is still on the one that runs.
    """
    xml = unless_gone(lambda: domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    definition = None if xml is None else parse(xml)
    if definition is not None and definition.label is None and is_running(domain):
        running = unless_gone(lambda: domain.XMLDesc(0))
        return None if running is None else replace(definition, label=parse(running).label)
    return definition


def all_definitions(connection: Any) -> list[Definition]:
    """Everything defined or running on the host, whoever defined it."""
    found = map(definition_of, connection.listAllDomains(0))
    return [definition for definition in found if definition is not None]


def find_domain(connection: Any, machine_id: UUID) -> Any | None:
    """The domain of this id, or None."""
    return unless_gone(lambda: connection.lookupByUUID(machine_id.bytes))


def is_running(domain: Any) -> bool:
    """Whether the domain runs, a paused one included; one that has gone does not."""
    return bool(unless_gone(domain.isActive))
