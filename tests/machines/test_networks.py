"""Machines in a libvirt network and on a bridge, and hosts that are reached by ssh."""

from __future__ import annotations

import secrets
import socketserver
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest

from cloudpc.machines.libvirt import networks
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage
from cloudpc.model.machines import Network
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with

from .daemon import Daemon
from .desk import Desk, open_desk
from .reach import greeting, ran

pytestmark = pytest.mark.machine

HOST, GUEST = "10.199.7.1", "10.199.7.2"


@pytest.fixture
def network(daemon: Daemon) -> Iterator[libvirt.virNetwork]:
    """An isolated network, whose bridge has the network's name. No DHCP: that would need dnsmasq."""
    name = f"cpt{secrets.token_hex(4)}"
    xml = ElementTree.Element("network")
    ElementTree.SubElement(xml, "name").text = name
    ElementTree.SubElement(xml, "bridge", name=name)
    ElementTree.SubElement(xml, "dns", enable="no")
    ElementTree.SubElement(xml, "ip", address=HOST, netmask="255.255.255.0")
    connection = libvirt.open(daemon.tcp_uri)
    network = connection.networkDefineXML(ElementTree.tostring(xml, encoding="unicode"))
    try:
        network.create()
    except libvirt.libvirtError as error:
        network.undefine()
        pytest.skip(f"no bridges here: {error}")
    yield network
    if network.isActive():
        network.destroy()
    network.undefine()
    connection.close()


@pytest.mark.parametrize("kind", ["network", "bridge"])
def test_the_guest_is_asked_for_its_address(desk: Desk, network: libvirt.virNetwork, kind: str) -> None:
    spec = desk.claim(network=Network(kind, network.name()))
    desk.host.making.start(spec, desk.image)
    desk.host.making.wait_ready(spec.id, Watch().within(180))
    assert ran(desk.host, spec.id, "ip", "addr", "add", f"{GUEST}/24", "dev", "eth0").exit_code == 0
    endpoint = desk.host.access(spec.id, Watch().within(60))
    assert (endpoint.host, endpoint.port, endpoint.via) == (GUEST, 22, "")
    assert greeting(endpoint) == b"SSH-"


def test_a_network_that_is_not_active_is_said(desk: Desk, network: libvirt.virNetwork) -> None:
    network.destroy()
    with fails_with(ErrorCode.NETWORK_NOT_FOUND, network.name()) as caught:
        desk.host.claim(desk.spec(network=Network("network", network.name())), Watch())
    assert "net-start" in caught.value.hint


@pytest.fixture
def over_ssh(daemon: Daemon, micro: DiskImage, cache: Path, tmp_path: Path) -> Iterator[Desk]:
    """The tests' libvirtd by ssh, with a stand-in for the ssh program that runs the command over there itself."""
    stand_in = tmp_path / "ssh"
    stand_in.write_text(
        "#!/usr/bin/env python3\n"  # not this one, whose path may have a space in it
        "import os, sys\n"
        "arguments = sys.argv[1:]\n"
        "command = arguments[arguments.index('--') + 2 :]\n"
        f"enter = ['nsenter', '--mount', '--target={daemon.namespace_pid}', 'sh', '-c']\n"
        "os.execvp(enter[0], [*enter, ' '.join(command)])\n"
    )
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    config = LibvirtHostConfig(name="kvm1", uri=f"qemu+ssh://admin@kvm1:2222/system?command={stand_in}")
    yield from open_desk(config.uri, micro, cache, config.pool, config)


def test_a_host_by_ssh(over_ssh: Desk) -> None:
    spec = over_ssh.boot()
    endpoint = over_ssh.host.access(spec.id, Watch().within(60))
    assert (endpoint.host, endpoint.via) == ("127.0.0.1", "admin@kvm1:2222")
    assert ran(over_ssh.host, spec.id, "hostname").output.strip() == "u-1"


def test_on_a_restricted_network_guests_are_reached_and_reach_nothing(
    daemon: Daemon, micro: DiskImage, cache: Path, tmp_path: Path
) -> None:
    knock = "nc -w 3 10.0.2.2 {port} </dev/null 2>/dev/null && echo reached"
    for hosted, reached in (("user", "hello reached"), ("restricted", "")):
        config = LibvirtHostConfig(name="lab", uri=daemon.tcp_uri, hostedNetwork=hosted)
        with (
            socketserver.TCPServer(("127.0.0.1", 0), _Hello) as server,
            contextmanager(open_desk)(config.uri, micro, cache, config.pool, config) as desk,
        ):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            spec = desk.boot()
            assert greeting(desk.host.access(spec.id, Watch().within(60))) == b"SSH-"
            said = ran(desk.host, spec.id, "sh", "-c", knock.format(port=server.server_address[1]), timeout=60)
            assert " ".join(said.output.split()) == reached
            server.shutdown()


class _Hello(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"hello\n")


# ---- what a connection's health check finds


@pytest.fixture
def host(daemon: Daemon, cache: Path) -> Iterator[LibvirtHost]:
    """The tests' libvirtd; nothing runs on it."""
    made = LibvirtHost(LibvirtHostConfig(name="health", uri=daemon.tcp_uri, sshDestination=""), cache)
    yield made
    made.close()


def _leased(network: libvirt.virNetwork, start: str, end: str, reserved: str = "") -> str:
    """The network's XML with a DHCP range: to have one for real, dnsmasq would be needed."""
    root = ElementTree.fromstring(network.XMLDesc(0))
    address = root.find("./ip")
    assert address is not None
    dhcp = ElementTree.SubElement(address, "dhcp")
    ElementTree.SubElement(dhcp, "range", start=start, end=end)
    if reserved:
        ElementTree.SubElement(dhcp, "host", mac="52:54:00:00:00:01", ip=reserved)
    return ElementTree.tostring(root, encoding="unicode")


def test_a_network_and_its_bridge_are_healthy_while_they_are_up(host: LibvirtHost, network: libvirt.virNetwork) -> None:
    name = network.name()
    [found] = host.check_network(Network("network", name))
    assert (found.what, found.status, found.detail) == (
        f"libvirt network {name}",
        "passed",
        "active",
    )
    [found] = host.check_network(Network("bridge", name))
    assert (found.what, found.status) == (f"bridge {name}", "passed")
    subprocess.run(["ip", "link", "set", "dev", name, "down"], check=True)
    with fails_with(ErrorCode.NETWORK_NOT_FOUND, name) as caught:
        host.check_network(Network("bridge", name))
    assert "ip link set dev" in caught.value.hint
    network.destroy()
    for kind in ("network", "bridge"):
        with fails_with(ErrorCode.NETWORK_NOT_FOUND, name):
            host.check_network(Network(kind, name))  # type: ignore[arg-type]


def test_the_hosted_network_is_healthy_and_what_nobody_made_is_not(host: LibvirtHost) -> None:
    [found] = host.check_network(Network())
    assert (found.status, found.detail) == ("passed", "user-mode networking")
    with fails_with(ErrorCode.NETWORK_NOT_FOUND, "nowhere"):
        host.check_network(Network("network", "nowhere"))


@pytest.mark.parametrize(
    ("leased", "reserved", "status", "free"),
    [
        ([], "", "passed", 3),
        (["10.199.7.10", "10.199.7.200"], "", "passed", 2),  # one of them is not of the range
        (["10.199.7.10", "10.199.7.11"], "10.199.7.11", "passed", 1),  # who has its own address has leased it
        (["10.199.7.10", "10.199.7.11"], "10.199.7.12", "failed", 0),
    ],
)
def test_addresses_that_are_leased_or_kept_are_not_free(
    network: libvirt.virNetwork, leased: list[str], reserved: str, status: str, free: int
) -> None:
    xml = _leased(network, "10.199.7.10", "10.199.7.12", reserved)
    [found] = networks.free_addresses(network.name(), xml, leased)
    assert (found.status, found.detail) == (status, f"{free} of 3 addresses of the DHCP range are free")
    assert found.error_type == ("" if free else "resourceAvailabilityCheckNoSubnetIP")
    assert bool(found.hint) == (not free)


def test_a_host_that_is_away_is_no_fault_of_the_network(daemon: Daemon, cache: Path, tmp_path: Path) -> None:
    nobody = f"qemu+unix:///system?socket={tmp_path}/none"
    away = LibvirtHost(LibvirtHostConfig(name="away", uri=nobody), cache)
    with pytest.raises(ProvisioningError) as caught:
        away.check_network(Network("network", "corp"))
    assert caught.value.code is ErrorCode.HOST_UNREACHABLE
