"""The smaller parts: seed, console tail, ports, addresses of hosts, locks, the probe's ROM."""

from __future__ import annotations

import io
import shutil
import threading
import time
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

import pycdlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.guests.linux.first_boot_end import errors_in
from cloudpc.machines.libvirt import networks, probe
from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.console import tail_of
from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.seed import seed_iso
from cloudpc.machines.libvirt.storage import default_path
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode, HostTaken
from cloudpc.model.machines import Seed
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with


@given(st.text(st.characters(codec="utf-8"), max_size=5000), st.text(st.characters(codec="utf-8"), max_size=5000))
def test_a_seed_is_read_back(meta: str, user: str) -> None:
    image = pycdlib.PyCdlib()
    image.open_fp(io.BytesIO(seed_iso(Seed(meta, user))))
    try:
        assert image.pvd.volume_identifier.strip() == b"cidata"
        for name, content in (("meta-data", meta), ("user-data", user)):
            for path in ({"rr_path": f"/{name}"}, {"joliet_path": f"/{name}"}):
                out = io.BytesIO()
                image.get_file_from_iso_fp(out, **path)
                assert out.getvalue().decode() == content
    finally:
        image.close()


def test_a_console_s_tail_is_for_people() -> None:
    content = b"\x1b[2J\x1b[1;31mboot\x1b[0m\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(30)) + b"\xff\x07end"
    assert tail_of(content, 3) == "line 28\nline 29\n\ufffdend"
    assert tail_of(b"\x1b[1;31mboot\x1b[0m\r\n", 15) == "boot"


def test_a_panic_s_reason_is_not_pushed_out_by_its_trace() -> None:
    lines = (
        [f"before {n}" for n in range(20)] + ["Kernel panic - not syncing: no init"] + [f"trace {n}" for n in range(40)]
    )
    tail = tail_of("\n".join(lines).encode(), 15).splitlines()
    assert len(tail) == 15
    assert "Kernel panic - not syncing: no init" in tail
    assert "before 19" in tail


@given(st.binary(max_size=2000), st.integers(1, 30))
def test_any_console_has_a_tail(content: bytes, lines: int) -> None:
    tail = tail_of(content, lines)
    assert len(tail.split("\n")) <= lines
    assert not any(character in tail for character in "\x00\x07\x1b\r")


@given(st.uuids(), st.sets(st.integers(20000, 29999), max_size=50))
def test_ports_begin_with_the_machine_s_own_and_pass_over_taken_ones(identity: UUID, taken: set[int]) -> None:
    ports = networks.candidate_ports(identity, taken)
    assert len(ports) == len(networks.PORTS) - len(taken)
    assert not taken & set(ports)
    own = networks.candidate_ports(identity, set())[0]
    assert ports[0] == own or own in taken


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        *(("10.0.2.15", True), ("2001:db8::7", True), ("169.254.1.2", False), ("fe80::1", False)),
        *(("127.0.0.1", False), ("::1", False), ("0.0.0.0", False), ("::", False), ("0.1.2.3", False)),
        *(("224.0.0.1", False), ("ff02::1", False), ("240.0.0.1", False), ("255.255.255.255", False)),
        *(("::ffff:127.0.0.1", False), ("::127.0.0.1", False), ("::ffff:169.254.1.1", False), ("100::1", False)),
        *(("::ffff:10.0.2.15", True), ("fd00::5", True), ("fec0::5", True), ("2a00:1450::1", True)),
        *(("192.168.122.7", True), ("172.16.0.1", True), ("100.64.0.1", True), ("192.0.2.1", True), ("8.8.8.8", True)),
    ],
)
def test_addresses_of_guests(address: str, usable: bool) -> None:
    assert networks.is_usable(address) is usable


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_any_spelling(address: IPv4Address) -> None:
    spelled = {networks.is_usable(f"{before}{address}") for before in ("", "::ffff:", "::")}
    assert len(spelled) == 1


@given(st.ip_addresses())
def test_no_address_that_is_nobody_s_is_used(address: IPv4Address | IPv6Address) -> None:
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert not networks.is_usable(str(address))


def test_pools_are_made_where_qemu_can_read() -> None:
    assert default_path(Address("qemu:///system"), "cloudpc") == "/var/lib/libvirt/images/cloudpc"
    assert default_path(Address("qemu+ssh://kvm1/system"), "cloudpc") == "/var/lib/libvirt/images/cloudpc"
    assert default_path(Address("qemu:///session"), "cloudpc").endswith("/cloudpc/pools/cloudpc")
    with fails_with(ErrorCode.POOL_UNUSABLE, "cloudpc", "qemu+ssh://kvm1/session") as caught:
        default_path(Address("qemu+ssh://kvm1/session"), "cloudpc")
    assert "poolPath" in caught.value.hint


def test_result_files() -> None:
    assert errors_in(b'{"v1": {"datasource": "x", "errors": []}}') == []
    assert errors_in(b'{"v1": {"errors": ["(\'users\', KeyError())"]}}') == ["('users', KeyError())"]
    assert errors_in(b'{"v1": {"err') is None
    assert errors_in(b"") is None


def test_slots_are_as_many_as_there_are(tmp_path) -> None:
    locks = HostLocks(tmp_path, "qemu:///system")
    inside, most, guard = 0, 0, threading.Lock()

    def boot() -> None:
        nonlocal inside, most
        with locks.slot("boot", 2, Cancellation()):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=boot) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_a_wait_for_a_lock_can_be_cancelled_and_ends(tmp_path) -> None:
    locks = HostLocks(tmp_path, "qemu:///system")
    cancel = Cancellation()
    with locks.hold("image", timeout=1), locks.slot("boot", 1, Cancellation()):
        with pytest.raises(HostTaken), locks.hold("image", timeout=0.1):
            pass
        threading.Timer(0.1, cancel.cancel).start()
        with pytest.raises(Cancelled), locks.slot("boot", 1, cancel):
            pass
        with pytest.raises(Cancelled), locks.hold("image", timeout=5, cancel=cancel):
            pass
        with locks.hold("other", timeout=0.1), HostLocks(tmp_path, "qemu:///session").hold("image", timeout=0.1):
            pass


def test_the_rom_is_its_source_s() -> None:
    assert len(probe.rom()) == probe.SIZE
    if not shutil.which("as") or not shutil.which("objcopy"):
        pytest.skip("needs binutils")
    from cloudpc.machines.libvirt.probe import build

    assert build.assemble() == probe.rom(), "run python -m cloudpc.machines.libvirt.probe.build"


def test_a_guest_whose_address_comes_late_is_waited_for() -> None:
    seconds = 0.0

    class Clock(Watch):
        """Its time goes by in waits alone."""

        def __init__(self, given: float) -> None:
            super().__init__()
            self.given = given

        def wait(self, pause: float) -> None:
            nonlocal seconds
            self.check()
            seconds += pause

        @property
        def remaining(self) -> float:
            return max(0.0, self.given - seconds)

    class Agent:
        def addresses(self, _mac: str) -> list[str]:
            return ["fe80::1", "10.0.0.7"] if seconds > 120 else ["fe80::1", "169.254.3.4"]

    machine = Definition(UUID(int=1), "m", 1, 1, None, None, ("network", "hq"))
    assert networks.wait_for_address(machine, Agent(), Clock(900)) == "10.0.0.7"  # type: ignore[arg-type]
    seconds = 0.0
    with fails_with(ErrorCode.SET_UP_FAILED, "hq", "60 s") as caught:
        networks.wait_for_address(machine, Agent(), Clock(60))  # type: ignore[arg-type]
    assert "timeouts.firstBootInSeconds" in caught.value.hint
    stopped = Clock(900)
    stopped.cancel.cancel()
    with pytest.raises(Cancelled):
        networks.wait_for_address(machine, Agent(), stopped)  # type: ignore[arg-type]
