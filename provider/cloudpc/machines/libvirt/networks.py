"""Where a machine's card is plugged in on this host, and how its ssh is reached from outside."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt import cards
from cloudpc.machines.libvirt.agent import Agent
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.domain_xml import AttachedNetwork
from cloudpc.machines.libvirt.errors import classified, unless_gone
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.access import Ssh
from cloudpc.model.check import Check
from cloudpc.model.digest import digest
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Network
from cloudpc.model.text import command_line
from cloudpc.model.watch import Watch

PORTS = range(20000, 30000)
"""Ports of the host's loopback that guests' ssh is forwarded from: below the ones given to outgoing connections."""

SSH_PORT = 22
_LOCAL_INTERFACES = Path("/sys/class/net")
_IFF_UP = 1
"""The kernel's flag of an interface that was brought up."""
_ADDRESS_PAUSE = 0.3

# by their numbers: what `ipaddress` calls reserved or private differs between versions of Python
_NOBODY_S = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
    )
)
"""IPv4 networks in which no guest is reached by others."""
_SOMEBODY_S = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2000::/3",  # global
        "fc00::/7",  # private
        "fec0::/10",  # private, as it was before
    )
)
"""IPv6 networks in which a guest may be reached: all others are reserved, multicast, link-local or loopback."""


def attachment(config: LibvirtHostConfig, network: Network) -> AttachedNetwork | None:
    """What the machine's card is plugged in; None means user-mode networking."""
    if network.kind == "hosted":
        user_mode = config.hosted_network == "user" or config.is_restricted
        return None if user_mode else AttachedNetwork("network", config.hosted_network)
    if network.kind == "network":
        return AttachedNetwork("network", network.source)
    if network.kind == "bridge":
        return AttachedNetwork("bridge", network.source)
    raise _not_found(f"The host has no {network.kind} {network.source}.", "Use a connection to a network of the host.")


def check(connection: Any, config: LibvirtHostConfig, attached: AttachedNetwork | None) -> None:
    """Raise NETWORK_NOT_FOUND unless the network is there and active."""
    if attached is None:
        return
    with classified(f"look for the {attached.kind} {attached.source}"):
        if attached.kind == "bridge":
            if not _has_bridge(connection, config, attached.source):
                raise _not_found(f"The host has no bridge {attached.source}.", "`ip link show type bridge` names them.")
            return
        active = unless_gone(lambda: connection.networkLookupByName(attached.source).isActive())
        if active is None:
            raise _not_found(
                f"The host has no libvirt network {attached.source}.", "`virsh net-list --all` names them."
            )
        if not active:
            raise _not_found(
                f"The host's libvirt network {attached.source} is not active.",
                f"Start it: `{command_line('virsh', 'net-start', attached.source)}; "
                f"{command_line('virsh', 'net-autostart', attached.source)}`.",
            )


def health(connection: Any, config: LibvirtHostConfig, attached: AttachedNetwork | None) -> list[Check]:
    """What a connection's health check finds. Raises NETWORK_NOT_FOUND as `check` does."""
    if attached is None:
        return [Check("hosted network", "passed", "user-mode networking")]
    check(connection, config, attached)
    what = f"{'libvirt network' if attached.kind == 'network' else 'bridge'} {attached.source}"
    if attached.kind == "bridge":
        if config.has_this_network and not _is_up(attached.source):
            raise _not_found(
                f"The host's bridge {attached.source} is down.",
                f"Bring it up: `{command_line('ip', 'link', 'set', 'dev', attached.source, 'up')}`.",
            )
        return [Check(what, "passed", "there" + (" and up" if config.has_this_network else ""))]
    with classified(f"read the leases of the network {attached.source}"):
        network = connection.networkLookupByName(attached.source)
        xml, leased = network.XMLDesc(0), [lease["ipaddr"] for lease in network.DHCPLeases()]
    return [
        Check(what, "passed", "active"),
        *free_addresses(attached.source, xml, leased),
    ]


def free_addresses(name: str, xml: str, leased: Iterable[str]) -> list[Check]:
    """Whether a network's DHCP has an address left; nothing where libvirt gives none.

    Args:
        name: the network's.
        xml: how libvirt describes it.
        leased: what its DHCP server has given.
    """
    total, taken = _leases(xml, leased)
    if not total:
        return []
    what, detail = "free addresses", f"{total - taken} of {total} addresses of the DHCP range are free"
    if taken < total:
        return [Check(what, "passed", detail)]
    action = f"Make the DHCP range larger (`{command_line('virsh', 'net-edit', name)}`), or wait until leases are over."
    return [Check(what, "failed", detail, action, "resourceAvailabilityCheckNoSubnetIP")]


def _leases(xml: str, leased: Iterable[str]) -> tuple[int, int]:
    """How many IPv4 addresses a network's DHCP can give, and how many are given or kept for somebody."""
    root = parsed(xml)
    kept = [host.get("ip", "") for host in root.findall("./ip/dhcp/host")]
    taken = {ipaddress.ip_address(address) for address in (*leased, *kept) if address}
    total = used = 0
    for given in root.findall("./ip/dhcp/range"):
        start, end = (ipaddress.ip_address(given.get(side, "")) for side in ("start", "end"))
        if start.version == 4 and end.version == 4:
            total += int(end) - int(start) + 1
            used += sum(int(start) <= int(address) <= int(end) for address in taken if address.version == 4)
    return total, used


def candidate_ports(machine_id: UUID, taken: set[int]) -> list[int]:
    """Ports to try for a machine, beginning with the one that is its own by hash; without those taken."""
    start = int.from_bytes(digest("port", str(machine_id))[:4], "big") % len(PORTS)
    return [port for port in (*PORTS[start:], *PORTS[:start]) if port not in taken]


def forwarded(config: LibvirtHostConfig, port: int) -> Ssh:
    """Where the ssh of a machine on user-mode networking is reached."""
    return Ssh(host="127.0.0.1", port=port, via=config.way.destination if config.way else "")


def wait_for_address(definition: Definition, agent: Agent, watch: Watch) -> str:
    """The guest's address in its network, as soon as it has one: a DHCP server may take its time.

    Raises:
        ProvisioningError: SET_UP_FAILED, if it has got none by the watch's deadline.
    """
    kind, source = definition.network or ("network", "")
    given, mac = watch.remaining, cards.of(definition)
    while not (usable := [text for text in agent.addresses(mac) if is_usable(text)]):
        if not watch.remaining:
            raise ProvisioningError(
                ErrorCode.SET_UP_FAILED,
                f"The guest has no address in the {kind} {source}, {given:.0f} s after it was ready for one.",
                hint="Check that a DHCP server answers there. If it is merely slow: timeouts.firstBootInSeconds in the "
                "policy.",
            )
        watch.wait(_ADDRESS_PAUSE)
    return usable[0]


def attached(config: LibvirtHostConfig, connection: Any, definition: Definition, guest: str) -> Ssh:
    """Where the ssh of a machine with an address of its own is reached."""
    kind, source = definition.network or ("network", "")
    through_host = config.way is not None and _is_behind_host(connection, kind, source)
    return Ssh(host=guest, port=SSH_PORT, via=config.way.destination if config.way and through_host else "")


def is_usable(address: str) -> bool:
    """Whether others can reach it: not one that a card gives itself, nor one that is no single guest's."""
    given = ipaddress.ip_address(address)
    if given.version == 6 and int(given) >> 32 in (0, 0xFFFF):  # an IPv4 one in IPv6's spelling: ::a.b.c.d, ::ffff:…
        given = ipaddress.IPv4Address(int(given) & 0xFFFFFFFF)
    if given.version == 4:
        return not any(given in network for network in _NOBODY_S)
    return any(given in network for network in _SOMEBODY_S)


def _is_behind_host(connection: Any, kind: str, source: str) -> bool:
    """Whether only the host itself reaches guests of this network."""
    if kind != "network":
        return False
    with classified(f"look at the network {source}"):
        xml = connection.networkLookupByName(source).XMLDesc(0)
    forward = parsed(xml).find("forward")
    return forward is None or forward.get("mode", "nat") == "nat"


def _has_bridge(connection: Any, config: LibvirtHostConfig, name: str) -> bool:
    """Whether the host has a bridge of this name."""
    if config.has_this_network:
        # libvirt's list follows udev, which containers do without.
        return (_LOCAL_INTERFACES / name / "bridge").is_dir()
    devices = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)
    return any(name == _interface(device) for device in devices)


def _interface(device: Any) -> str | None:
    """The name of a network card; None if it has gone since it was listed, as the cards of guests do."""
    xml = unless_gone(lambda: device.XMLDesc(0))
    return None if xml is None else parsed(xml).findtext("./capability/interface")


def _is_up(interface: str) -> bool:
    """Whether this machine's interface is up; one that has gone is not."""
    try:
        return bool(int((_LOCAL_INTERFACES / interface / "flags").read_text(), 16) & _IFF_UP)
    except OSError:
        return False


def _not_found(message: str, hint: str) -> ProvisioningError:
    return ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, message, hint=hint)
