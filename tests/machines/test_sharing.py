"""Many at once on one host: processes that race for the last place, threads that share a connection and a pool."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import libvirt
import pytest

from cloudpc.machines.libvirt.acceleration import Acceleration, Verdict
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.capacity import MEMORY_OVERHEAD_MIB
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.driver import connect
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Claimed, Network
from cloudpc.model.watch import Watch
from tests.support.orders import seed

from .daemon import Daemon
from .desk import SIZE, Desk, open_desk

pytestmark = pytest.mark.machine


def claim(config: LibvirtHostConfig, cache: Path, installation: str, user: str, size: Amount) -> str:
    """What becomes of one claim, in a process of its own."""
    host = connect(config, cache=cache)
    desk = Desk(host, config, cache, installation, None)  # type: ignore[arg-type]
    try:
        host.claim(desk.spec(user, size), Watch())
    except Claimed:
        return "claimed"
    except ProvisioningError as error:
        return error.code.value
    finally:
        host.close()
    return "made"


def race(desk: Desk, users: list[str], size: Amount, caches: list[Path] | None = None) -> list[str]:
    caches = caches or [desk.cache] * len(users)
    with multiprocessing.get_context("spawn").Pool(len(users)) as processes:
        arguments = [
            (desk.config, cache, desk.installation, user, size) for user, cache in zip(users, caches, strict=True)
        ]
        return processes.starmap(claim, arguments, chunksize=1)


@pytest.fixture
def full(desk: Desk) -> Iterator[Desk]:
    """The host as if it had memory for two of SIZE more than it has machines now, and no more."""
    free = desk.host.capacity()
    left = 2 * (SIZE.memory_mib + MEMORY_OVERHEAD_MIB) + 64
    reserve = (free.total.memory_mib + 1024 - free.committed.memory_mib - left) / 1024
    config = desk.config.model_copy(update={"memory_reserved_in_gb": reserve})
    yield from open_desk(config.uri, desk.image, desk.cache, config.pool, config)


def test_what_does_not_fit_is_said_and_leaves_nothing(full: Desk) -> None:
    big = Amount(vcpus=1, memory_mib=1024, disk_gib=1)
    with pytest.raises(ProvisioningError) as caught:
        full.host.claim(full.spec("u-1", big), Watch())
    assert caught.value.code is ErrorCode.NO_CAPACITY
    assert "needs 1.1 GB memory, 0.6 GB free" in caught.value.message
    assert full.host.owned(full.installation) == []


def test_processes_never_take_more_places_than_there_are(full: Desk) -> None:
    outcomes = race(full, ["u-1", "u-2", "u-3", "u-4"], SIZE)
    assert sorted(outcomes) == ["made", "made", "noCapacity", "noCapacity"]
    assert len(full.host.owned(full.installation)) == 2


def test_clients_on_different_machines_never_take_more_places_than_there_are(full: Desk, tmp_path: Path) -> None:
    users = ["u-1", "u-2", "u-3", "u-4"]
    outcomes = race(full, users, SIZE, [tmp_path / user for user in users])  # no lock in common
    assert set(outcomes) <= {"made", "noCapacity"}
    assert outcomes.count("made") == len(full.host.owned(full.installation)) <= 2


def test_one_user_is_claimed_once(desk: Desk) -> None:
    outcomes = race(desk, ["u-1"] * 4, SIZE)
    assert sorted(outcomes) == ["claimed", "claimed", "claimed", "made"]


def test_a_missing_network_is_said_before_anything_is_made(desk: Desk) -> None:
    for network in (Network("network", "no-such"), Network("bridge", "no-such0")):
        with pytest.raises(ProvisioningError) as caught:
            desk.host.claim(desk.spec(network=network), Watch())
        assert caught.value.code is ErrorCode.NETWORK_NOT_FOUND
        assert "no-such" in caught.value.message
    assert desk.host.owned(desk.installation) == []


@pytest.fixture
def roomy(desk: Desk) -> Iterator[Desk]:
    """The host with cores and disk for all."""
    config = desk.config.model_copy(update={"vcpu_overcommit": 64.0, "disk_overcommit": 100.0})
    yield from open_desk(config.uri, desk.image, desk.cache, config.pool, config)


def test_thirty_two_threads_make_and_remove_disks(roomy: Desk) -> None:
    desk = roomy
    users = [f"u-{number}" for number in range(32)]
    small = Amount(vcpus=1, memory_mib=64, disk_gib=1)

    def make(user: str) -> None:
        spec = desk.claim(user, small)
        desk.host.making.create_disk(spec, desk.image, seed(user))

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(make, users))
        assert len(desk.host.owned(desk.installation)) == 32
        list(threads.map(lambda user: desk.host.delete(desk.spec(user).id, Watch()), users))
    assert desk.host.owned(desk.installation) == []
    assert desk.host.remnants(desk.installation) == []


def test_one_more_boot_than_the_host_has_cores_waits(
    desk: Desk, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under TCG; a host with KVM takes more."""
    monkeypatch.setattr(Acceleration, "verdict", lambda _self: Verdict(Accelerator.TCG, "for the test"))
    connection = libvirt.open(daemon.tcp_uri)
    cores = connection.getInfo()[2]
    connection.close()
    host, cancel = connect(desk.config, cache=tmp_path), Cancellation()
    try:
        with ExitStack() as booting:
            for _slot in range(cores):
                booting.enter_context(host.making.boot_slot(Watch(cancel)))
            threading.Timer(0.5, cancel.cancel).start()
            with pytest.raises(Cancelled), host.making.boot_slot(Watch(cancel)):
                pass
    finally:
        host.close()


def test_two_boot_side_by_side(desk: Desk) -> None:
    def boot(user: str) -> int:
        return desk.host.access(desk.boot(user).id, Watch().within(60)).port

    with ThreadPoolExecutor(2) as threads:
        ports = list(threads.map(boot, ["u-1", "u-2"]))
    assert len(set(ports)) == 2
