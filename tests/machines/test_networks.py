"""Machines in a libvirt network and on a bridge, and hosts that are reached by ssh."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest

from cloudpc.hosts import HostConfig
from cloudpc.images.image import Image
from cloudpc.machines.interface import Network
from cloudpc.provisioning.cancellation import Cancellation
from cloudpc.provisioning.errors import ErrorCode, ProvisioningError

from .daemon import Daemon
from .desk import Desk, open_desk
from .reach import greeting

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
    spec = desk.boot(network=Network(kind, network.name()))  # type: ignore[arg-type]
    add = ["ip", "addr", "add", f"{GUEST}/24", "dev", "eth0"]
    assert desk.host.run(spec.id, add, timeout=10, cancel=Cancellation()).exit_code == 0
    endpoint = desk.host.endpoint(spec.id)
    assert (endpoint.host, endpoint.port, endpoint.via) == (GUEST, 22, "")
    assert greeting(endpoint) == b"SSH-"


def test_a_network_that_is_not_active_is_said(desk: Desk, network: libvirt.virNetwork) -> None:
    network.destroy()
    with pytest.raises(ProvisioningError, match="not active") as caught:
        desk.host.claim(desk.spec(network=Network("network", network.name())), desk.tag())
    assert caught.value.code is ErrorCode.NETWORK_NOT_FOUND
    assert "net-start" in caught.value.hint


@pytest.fixture
def over_ssh(daemon: Daemon, micro: Image, cache: Path, tmp_path: Path) -> Iterator[Desk]:
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
    config = HostConfig(name="kvm1", uri=f"qemu+ssh://admin@kvm1:2222/system?command={stand_in}")
    yield from open_desk(config.uri, micro, cache, config.pool, config)


def test_a_host_by_ssh(over_ssh: Desk) -> None:
    spec = over_ssh.boot()
    endpoint = over_ssh.host.endpoint(spec.id)
    assert (endpoint.host, endpoint.via) == ("127.0.0.1", "admin@kvm1:2222")
    assert over_ssh.host.run(spec.id, ["hostname"], timeout=10, cancel=Cancellation()).output.strip() == "u-1"
