"""What others remove between our finding it and our looking at it was not there: on libvirt's own test driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from cloudpc import guests
from cloudpc.machines.libvirt import networks, removal
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.domain_xml import AttachedNetwork
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.machines.libvirt.metadata import Label, to_element
from cloudpc.machines.libvirt.power import power
from cloudpc.machines.libvirt.volumes import _size
from cloudpc.model.errors import ErrorCode
from cloudpc.model.identity import machine_id
from cloudpc.model.machines import Amount, PowerState
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with
from tests.support.orders import order

from .reach import ran

INSTALLATION = "0123456789abcdef"
POOL, NETWORK = "pool", "net"
ID = machine_id(INSTALLATION, "u-1", "plan")
TAG = Tag(INSTALLATION, "policy", "u-1", "plan", 1, "CPC-1", "settings")
SPEC = order(TAG, Amount(1, 64, 1))

LINUX = guests.named("linux")
DOMAIN = f"""
<domain type="test">
  <name>{SPEC.name}</name><uuid>{ID}</uuid><memory unit="MiB">64</memory><vcpu>1</vcpu>
  <metadata>{ElementTree.tostring(to_element(Label(TAG, 1)), encoding="unicode")}</metadata>
  <os><type>hvm</type></os>
</domain>
"""
VOLUME = f"<volume><name>{SPEC.name}.qcow2</name><capacity>1048576</capacity></volume>"
NODE = f"""
<node>
  <pool type="dir"><name>{POOL}</name><target><path>/nowhere</path></target></pool>
  <network><name>{NETWORK}</name><bridge name="br-net"/></network>
</node>
"""


class Beside:
    """A connection beside which somebody removes each thing in the moment after it was found."""

    def __init__(self, connection: Any) -> None:
        self.real = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def getMemoryStats(self, *_: object) -> dict[str, int]:
        return {"total": 2**22}

    def getInfo(self) -> list[Any]:
        return ["x86_64", 4096, 1000]

    def lookupByUUID(self, uuid: bytes) -> Any:
        return _gone(self.real.lookupByUUID(uuid))

    def listAllDomains(self, flags: int) -> list[Any]:
        found = self.real.listAllDomains(flags)
        return [_gone(domain) if domain.name() == SPEC.name else domain for domain in found]

    def networkLookupByName(self, name: str) -> Any:
        network = self.real.networkLookupByName(name)
        network.destroy()
        network.undefine()
        return network

    def listAllDevices(self, _flags: int) -> list[Any]:
        return [Card("vnet7", gone=True), Card("br7", gone=False)]


class Card:
    """A network card in the host's list of devices."""

    def __init__(self, name: str, *, gone: bool) -> None:
        self._name, self._gone = name, gone

    def XMLDesc(self, _flags: int) -> str:
        if self._gone:
            raise refusal(libvirt.VIR_ERR_NO_NODE_DEVICE)
        return f"<device><capability type='net'><interface>{self._name}</interface></capability></device>"


def _gone(domain: Any) -> Any:
    if domain.isActive():
        domain.destroy()
    domain.undefine()
    return Gone(domain)


class Gone:
    """A domain that was found, and is no longer there."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._domain, name)

    def undefineFlags(self, _flags: int) -> None:  # the test driver knows none of them
        self._domain.undefine()


def refusal(code: int) -> libvirt.libvirtError:
    raised = libvirt.libvirtError("as libvirt says it")
    raised.err = (code, libvirt.VIR_FROM_QEMU, "as libvirt says it", libvirt.VIR_ERR_ERROR, "", None, None, -1, -1)
    return raised


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Any]:
    """libvirt's test driver, with a world of the test's own."""
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    connection = libvirt.open(f"test://{node}")
    connection.defineXML(DOMAIN)
    connection.storagePoolLookupByName(POOL).createXML(VOLUME, 0)
    yield connection
    connection.close()


def host_on(connection: Any, folder: Path) -> LibvirtHost:
    host = LibvirtHost(LibvirtHostConfig(name="host", uri="test:///default", pool=POOL), folder)
    for own in (host._connection, host._agents):
        own.get = lambda: connection  # type: ignore[method-assign]
    return host


@pytest.fixture
def host(driver: Any, tmp_path: Path) -> LibvirtHost:
    return host_on(Beside(driver), tmp_path)


def test_a_claim_goes_past_what_vanishes(driver: Any, host: LibvirtHost) -> None:
    """It reads all that is defined, and the domain of its own identity: a removal beside it fails neither."""
    driver.storagePoolLookupByName(POOL).storageVolLookupByName(f"{SPEC.name}.qcow2").delete(0)  # goes first
    defined: list[str] = []
    host._connection.get().defineXMLFlags = lambda xml, _flags: defined.append(xml)
    host.claim(SPEC, Watch())
    assert len(defined) == 1


def test_capacity_counts_what_is_there(driver: Any, host: LibvirtHost) -> None:
    assert ID not in host.capacity().machines
    assert [domain.name() for domain in driver.listAllDomains(0)] == []


@pytest.mark.parametrize(
    "call",
    [
        lambda host: host.making.start(SPEC, None),
        lambda host: host.power_on(ID, Watch(), until_ready=False),
        lambda host: host.making.wait_ready(ID, Watch().within(1)),
        lambda host: ran(host, ID, "true", timeout=1),
        lambda host: host.guest(ID).run([LINUX.facts()], Watch()),
        lambda host: host.guest(ID).set_password("alice", "secret", Watch()),
        lambda host: host.access(ID, Watch().within(1)),
        lambda host: host.finish(ID, Phase.READY),
    ],
)
def test_calls_on_a_machine_that_vanishes_say_so(host: LibvirtHost, call: Callable[[LibvirtHost], object]) -> None:
    with fails_with(ErrorCode.GUEST_DIED) as raised:
        call(host)
    assert raised.value.retriable


def test_looking_at_and_removing_what_vanishes(driver: Any, host: LibvirtHost) -> None:
    assert host.describe(ID) is None
    driver.defineXML(DOMAIN)
    assert host.owned(INSTALLATION) == []
    driver.defineXML(DOMAIN)
    host.delete(ID, Watch())
    assert driver.storagePoolLookupByName(POOL).listVolumes() == []


def test_each_step_of_a_removal_may_find_that_it_is_over(driver: Any) -> None:
    domain = _gone(driver.lookupByUUID(ID.bytes))
    removal.stop(domain)
    removal.undefine(domain)


def test_an_agent_s_domain_that_vanishes_ends_the_patience(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> str:
        raise refusal(libvirt.VIR_ERR_AGENT_UNRESPONSIVE)

    monkeypatch.setattr("libvirt_qemu.qemuAgentCommand", silent)
    with pytest.raises(AgentUnavailable):
        Agent(_gone(driver.lookupByUUID(ID.bytes)), patience=60).addresses("")


def test_what_somebody_else_started_in_this_moment_runs(driver: Any, tmp_path: Path) -> None:
    class Faster(Beside):
        def lookupByUUID(self, uuid: bytes) -> Any:
            return _Late(self.real.lookupByUUID(uuid))

    host_on(Faster(driver), tmp_path).power_on(ID, Watch(), until_ready=False)
    assert driver.lookupByUUID(ID.bytes).isActive()


class _Late:
    """A domain that is found stopped, and is started by another before we do it."""

    def __init__(self, domain: Any) -> None:
        self._domain, self._looked = domain, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._domain, name)

    def isActive(self) -> int:
        found = self._domain.isActive()
        if not self._looked:
            self._looked = True
            self._domain.create()
        return int(found)


def test_a_machine_that_stops_while_its_phase_is_written(driver: Any, tmp_path: Path) -> None:
    class Stopping:
        written: list[int] = []

        def isActive(self) -> int:
            return 1

        def XMLDesc(self, flags: int) -> str:
            return str(driver.lookupByUUID(ID.bytes).XMLDesc(flags))

        def setMetadata(self, *arguments: Any) -> None:
            if arguments[-1] & libvirt.VIR_DOMAIN_AFFECT_LIVE:
                raise refusal(libvirt.VIR_ERR_OPERATION_INVALID)
            self.written.append(arguments[-1])

    class Found(Beside):
        def lookupByUUID(self, _uuid: bytes) -> Any:
            return Stopping()

    host_on(Found(driver), tmp_path).finish(ID, Phase.READY)
    assert Stopping.written == [libvirt.VIR_DOMAIN_AFFECT_CONFIG]


def test_a_volume_that_vanishes_takes_no_room(driver: Any, tmp_path: Path) -> None:
    volume = driver.storagePoolLookupByName(POOL).storageVolLookupByName(f"{SPEC.name}.qcow2")
    volume.delete(0)
    assert _size(volume) is None


def test_a_network_that_vanishes_is_told_as_one_that_is_not_there(driver: Any) -> None:
    with fails_with(ErrorCode.NETWORK_NOT_FOUND, "network net") as raised:
        networks.check(
            Beside(driver),
            LibvirtHostConfig(name="a", uri="qemu+ssh://kvm1/system"),
            AttachedNetwork("network", NETWORK),
        )
    assert raised.value.code is ErrorCode.NETWORK_NOT_FOUND


def test_other_guests_cards_may_vanish_while_a_bridge_is_looked_for(driver: Any) -> None:
    networks.check(
        Beside(driver), LibvirtHostConfig(name="a", uri="qemu+ssh://kvm1/system"), AttachedNetwork("bridge", "br7")
    )


def test_a_bridge_of_this_machine_that_vanishes_is_down(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_has_bridge", lambda *_: True)
    with fails_with(ErrorCode.NETWORK_NOT_FOUND, "br-that-was"):
        networks.health(
            Beside(driver), LibvirtHostConfig(name="a", uri="qemu:///system"), AttachedNetwork("bridge", "br-that-was")
        )


def test_what_vanished_does_not_run(driver: Any) -> None:
    assert power(_gone(driver.lookupByUUID(ID.bytes))) == (PowerState.STOPPED, "")
