"""The probe guest, and what doctor says."""

from __future__ import annotations

import pytest

from cloudpc.machines.interface import Accelerator
from cloudpc.machines.libvirt import connect, probe
from cloudpc.machines.libvirt.acceleration import Acceleration
from cloudpc.machines.libvirt.connection import Address, Connection
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import Pool

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


def test_the_verdict_is_remembered_by_other_processes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = desk.host.accelerator()

    def probed_again(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(Acceleration, "run_probe", probed_again)
    another = desk.another()
    assert another.accelerator() is verdict
    another.close()


def test_doctor_says_what_there_is(desk: Desk) -> None:
    desk.claim()
    checks = {check.what: check for check in desk.host.check()}
    assert list(checks) == ["libvirt", "QEMU", "acceleration", "storage pool", "a guest", "capacity", "network default"]
    assert not [check for check in checks.values() if check.state == "failed"]
    assert "/var/lib/libvirt/images/cloudpc" in checks["storage pool"].detail
    assert checks["acceleration"].state == ("ok" if desk.host.accelerator() is Accelerator.KVM else "warning")


def test_doctor_of_a_host_that_is_not_there_says_only_that(desk: Desk) -> None:
    config = desk.config.model_copy(update={"uri": "qemu+unix:///system?socket=/nowhere/libvirt-sock"})
    host = connect(config, cache=desk.cache)
    (only,) = host.check()
    assert (only.what, only.state) == ("libvirt", "failed")
    assert "libvirtd" in only.hint
