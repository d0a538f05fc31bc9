"""The probe guest, and what doctor says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudpc.machines.libvirt import acceleration as module
from cloudpc.machines.libvirt import probe
from cloudpc.machines.libvirt.acceleration import Acceleration
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.driver import connect
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import Pool
from cloudpc.model.errors import ErrorCode, ProvisioningError

from .daemon import Daemon
from .desk import Desk

pytestmark = pytest.mark.machine


def test_the_probe_runs_to_its_end_where_guests_run(desk: Desk, daemon: Daemon) -> None:
    connection = Connection(Address(desk.config.uri))
    locks = HostLocks(desk.cache / "locks", desk.config.uri)
    acceleration = Acceleration(connection, Pool(desk.config, connection, locks), locks, desk.cache)
    assert acceleration.run_probe("qemu") == probe.PROGRESS.decode()
    assert list((daemon.root / "var/lib/libvirt/images").rglob("*probe*")) == []
    assert not [domain for domain in connection.get().listAllDomains(0) if "probe" in domain.name()]
    connection.close()


class HostWithKVM:
    """A connection to a host that says it has KVM."""

    address = Address("qemu:///system")

    def get(self) -> HostWithKVM:
        return self

    def __init__(self, emulator: Path = Path("/nowhere")) -> None:
        self.emulator = emulator

    def getCapabilities(self) -> str:
        arch = f"<arch name='x86_64'><emulator>{self.emulator}</emulator><domain type='kvm'/></arch>"
        return f"<capabilities><guest>{arch}</guest></capabilities>"

    def getVersion(self) -> int:
        return 7002000


def stuck() -> str:
    return ""


def passed() -> str:
    return probe.PROGRESS.decode()


def no_start() -> str:
    raise ProvisioningError(ErrorCode.START_FAILED, "QEMU ended")


@pytest.mark.parametrize(
    ("probed", "accelerator", "remembered"),
    [(passed, Accelerator.KVM, True), (stuck, Accelerator.TCG, True), (no_start, Accelerator.TCG, False)],
)
def test_verdicts_of_guests_that_ran_are_remembered_by_other_processes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probed: Callable[[], str],
    accelerator: Accelerator,
    remembered: bool,
) -> None:
    """What kept QEMU from starting may be put right without the host's next boot."""
    monkeypatch.setattr(module, "_A_WHILE", 0.0)
    probes: list[str] = []
    monkeypatch.setattr(Acceleration, "run_probe", lambda _self, kind: probes.append(kind) or probed())

    def verdict_of_a_process() -> Accelerator:
        locks = HostLocks(tmp_path / "locks", "qemu:///system")
        acceleration = Acceleration(HostWithKVM(), None, locks, tmp_path / "cache")  # type: ignore[arg-type]
        assert acceleration.verdict() is acceleration.verdict()
        return acceleration.verdict().accelerator

    assert verdict_of_a_process() is accelerator
    first = len(probes)
    assert verdict_of_a_process() is accelerator
    assert len(probes) == (first if remembered else 2 * first) > 0


def test_another_build_of_qemu_is_probed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []
    monkeypatch.setattr(Acceleration, "run_probe", lambda _self, kind: probes.append(kind) or passed())
    qemu = tmp_path / "qemu"
    for build in ("one", "one", "an update of the same version"):
        if not qemu.exists() or qemu.read_text() != build:
            qemu.write_text(build)
        locks = HostLocks(tmp_path / "locks", "qemu:///system")
        Acceleration(HostWithKVM(qemu), None, locks, tmp_path / "cache").verdict()  # type: ignore[arg-type]
    assert len(probes) == 2


def test_the_probe_runs_beside_what_comes_before_the_first_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, uploaded = threading.Event(), threading.Event()

    def probe_beside(_self: Acceleration, _kind: str) -> str:
        begun.set()
        assert uploaded.wait(10)
        return passed()

    monkeypatch.setattr(Acceleration, "run_probe", probe_beside)
    locks = HostLocks(tmp_path / "locks", "qemu:///system")
    acceleration = Acceleration(HostWithKVM(), None, locks, tmp_path / "cache")  # type: ignore[arg-type]
    acceleration.look_ahead()
    assert begun.wait(10), "it begins by itself"
    acceleration.look_ahead()  # another machine of the same host
    uploaded.set()
    assert acceleration.verdict().accelerator is Accelerator.KVM
    acceleration.close()


def test_a_probe_ahead_that_fails_leaves_its_error_to_who_needs_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Acceleration, _kind: str) -> str:
        raise ProvisioningError(ErrorCode.DISK_FAILED, "no pool")

    monkeypatch.setattr(Acceleration, "run_probe", fail)
    locks = HostLocks(tmp_path / "locks", "qemu:///system")
    acceleration = Acceleration(HostWithKVM(), None, locks, tmp_path / "cache")  # type: ignore[arg-type]
    acceleration.look_ahead()
    acceleration.close()
    with pytest.raises(ProvisioningError, match="no pool"):
        acceleration.verdict()


def test_doctor_says_what_there_is(desk: Desk) -> None:
    desk.claim()
    checks = {check.what: check for check in desk.host.check()}
    assert list(checks) == ["libvirt", "QEMU", "acceleration", "storage pool", "a guest", "capacity", "network default"]
    assert not [check for check in checks.values() if check.status == "failed"]
    assert "/var/lib/libvirt/images/cloudpc" in checks["storage pool"].detail
    kvm = desk.host.acceleration.verdict().accelerator is Accelerator.KVM
    assert checks["acceleration"].status == ("passed" if kvm else "warning")


def test_doctor_of_a_host_that_is_not_there_says_only_that(desk: Desk) -> None:
    config = desk.config.model_copy(update={"uri": "qemu+unix:///system?socket=/nowhere/libvirt-sock"})
    host = connect(config, cache=desk.cache)
    (only,) = host.check()
    assert (only.what, only.status) == ("libvirt", "failed")
    assert "libvirtd" in only.hint
