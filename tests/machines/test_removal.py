"""Delete leaves nothing, whatever state it finds; what a killed run left is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import libvirt
import pytest

from cloudpc.provisioning.cancellation import Cancellation

from .daemon import Daemon
from .desk import Desk

pytestmark = pytest.mark.machine


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Any]:
    opened = libvirt.open(daemon.tcp_uri)
    yield opened
    opened.close()


def remains(daemon: Daemon, name: str) -> list[Path]:
    """Every file of the daemon that is named after the machine.

    But for /var/log/libvirt/qemu/<name>.log: libvirt keeps it when it forgets the domain, and its API can't remove it.
    """
    folders = ("var/lib/libvirt", "var/cache/libvirt", "etc/libvirt", "run/libvirt")
    return [file for folder in folders for file in (daemon.root / folder).rglob(f"*{name}*")]


def test_only_claimed(desk: Desk, daemon: Daemon) -> None:
    spec = desk.spec()
    desk.host.claim(spec, desk.tag())
    desk.host.delete(spec.id)
    assert remains(daemon, spec.name) == []


def test_never_there(desk: Desk) -> None:
    desk.host.delete(desk.spec().id)


def test_paused(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec = desk.claim()
    desk.host.start(spec, desk.image)
    connection.lookupByUUID(spec.id.bytes).suspend()
    desk.host.delete(spec.id)
    assert remains(daemon, spec.name) == []


def test_with_a_managed_save(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec = desk.claim()
    desk.host.start(spec, desk.image)
    connection.lookupByUUID(spec.id.bytes).managedSave(0)
    desk.host.delete(spec.id)
    assert remains(daemon, spec.name) == []


def test_with_firmware_variables_and_a_snapshot(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec = desk.claim()
    desk.host.start(spec, replace(desk.image, kernel=None, initrd=None, firmware="uefi"))
    domain = connection.lookupByUUID(spec.id.bytes)
    assert remains(daemon, f"{spec.name}_VARS"), "UEFI keeps no variables here; this test shows nothing"
    domain.destroy()
    domain.snapshotCreateXML("<domainsnapshot/>", 0)
    desk.host.delete(spec.id)
    assert remains(daemon, spec.name) == []


def test_from_a_pool_that_has_stopped(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """As one does whose folder libvirt could not read for a moment: its files are still there."""
    spec = desk.claim()
    connection.storagePoolLookupByName(desk.config.pool).destroy()
    desk.host.delete(spec.id)
    assert remains(daemon, spec.name) == []


def test_what_is_kept_of_a_failed_machine(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """Disk and console alone; no leftover until its time is over, and then gone, unless it is being made anew."""
    spec, now = desk.claim(), datetime.now(UTC)
    told = desk.host.keep_for_diagnosis(spec.id, now + timedelta(hours=1))
    kept = remains(daemon, spec.name)
    assert len(kept) == 2
    assert all(Path(path).name in told for path in kept)
    assert desk.host.describe(spec.id) is None
    assert desk.host.leftovers(desk.installation) == []
    assert desk.host.remove_expired(desk.installation, []) == []
    desk.host.discard_kept(spec.id)
    assert remains(daemon, spec.name) == []

    over, wanted = desk.claim("u-1"), desk.claim("u-2")
    for each in (over, wanted):
        desk.host.keep_for_diagnosis(each.id, now)
    removed = desk.host.remove_expired(desk.installation, [wanted.id])
    assert removed == sorted([f"{over.name}.qcow2", f"{over.name}-failed-{int(now.timestamp())}.log"])
    desk.claim("u-2")
    desk.host.discard_kept(wanted.id)
    assert desk.host.describe(wanted.id) is not None, "nothing is discarded of one that is there"
    desk.host.delete(wanted.id)
    assert remains(daemon, wanted.name) == []


def test_volumes_left_behind_are_named_and_removed(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec, kept = desk.claim("u-1"), desk.claim("u-2")
    connection.lookupByUUID(spec.id.bytes).undefine()
    left = [f"{spec.name}-seed.iso", f"{spec.name}.qcow2"]
    assert desk.host.leftovers(desk.installation) == left
    assert desk.host.leftovers("another1") == []
    assert desk.host.leftovers(desk.installation, [spec.id]) == [], "somebody may define it again"
    assert desk.host.remove_leftovers(desk.installation, [spec.id]) == []
    assert desk.host.remove_leftovers(desk.installation) == left
    assert remains(daemon, spec.name) == []
    assert remains(daemon, kept.name)
    described = desk.host.describe(kept.id)
    assert described is not None
    assert described.has_disk
    connection.storagePoolLookupByName(desk.config.pool).storageVolLookupByName(f"{kept.name}.qcow2").delete()
    described = desk.host.describe(kept.id)
    assert described is not None
    assert not described.has_disk
    desk.host.ensure_image(desk.image, print, Cancellation())  # the base is nobody's leftover
