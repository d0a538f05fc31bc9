"""A machine that the host's full storage has stopped: reported with the reason, and going on once there is room."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.power import NO_ROOM
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage
from cloudpc.model.machines import PowerState
from cloudpc.model.watch import Watch
from tests.support.waiting import wait_until

from .daemon import Daemon
from .desk import Desk, open_desk
from .reach import ran

pytestmark = pytest.mark.machine

FOLDER, FILLER = "/var/lib/libvirt/small", "/var/lib/libvirt/small/filler"
_FILL = f"head -c $(($(stat -f -c '%a*%S' {FOLDER}) - 4194304)) /dev/zero > {FILLER} || true"
"""The guest writes, too, meanwhile: that the room was gone before is what is wanted."""
_WRITE = "dd if=/dev/urandom of=/home/data bs=1M count=24; sync"


def _there(daemon: Daemon, *command: str) -> None:
    """Run it where the daemon sees its files."""
    subprocess.run(["nsenter", "--mount", "--pid", f"--target={daemon.namespace_pid}", *command], check=True)


@pytest.fixture
def small(daemon: Daemon, micro: DiskImage, cache: Path) -> Iterator[Desk]:
    """A pool in a file system of its own, with room for one machine and little more."""
    config = LibvirtHostConfig.model_validate(
        {"name": "lab", "uri": daemon.tcp_uri, "pool": "small", "poolPath": FOLDER, "diskOvercommit": 100}
    )
    _there(daemon, "mkdir", "-p", FOLDER)
    _there(daemon, "mount", "-t", "tmpfs", "-o", "size=192m,mode=0755", "tmpfs", FOLDER)
    yield from open_desk(daemon.tcp_uri, micro, cache, "small", config)
    _there(daemon, "umount", "-l", FOLDER)


def test_a_full_disk_pauses_a_machine_and_room_lets_it_go_on(small: Desk, daemon: Daemon) -> None:
    host, spec = small.host, small.boot()
    _there(daemon, "sh", "-c", _FILL)
    with contextlib.suppress(ProvisioningError):  # as far as it comes
        ran(host, spec.id, "sh", "-c", _WRITE, timeout=5)

    def paused() -> bool:
        machine = host.describe(spec.id)
        return machine is not None and (machine.power, machine.paused_because) == (PowerState.PAUSED, NO_ROOM)

    wait_until(paused, 60, "it never came to write more than there is room for")
    with pytest.raises(ProvisioningError) as refused:
        host.power_on(spec.id, Watch(), until_ready=False)
    assert refused.value.code is ErrorCode.STORAGE_FULL
    assert paused()
    _there(daemon, "rm", FILLER)
    host.power_on(spec.id, Watch(), until_ready=False)
    written = ran(host, spec.id, "sh", "-c", "sync; wc -c < /home/data", timeout=60)
    assert written.exit_code == 0
