"""Delete leaves nothing, whatever state it finds; what a killed run left is found and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import libvirt
import pytest

from cloudpc.machines.libvirt.storage import overlay_volume_xml, pool_xml, raw_volume_xml
from cloudpc.model.errors import ErrorCode
from cloudpc.model.remnants import expired, left_over, uncertain
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with

from .daemon import Daemon
from .desk import Desk

pytestmark = pytest.mark.machine


def remains(daemon: Daemon, name: str) -> list[Path]:
    """Every file of the daemon that is named after the machine.

    But for /var/log/libvirt/qemu/<name>.log: libvirt keeps it when it forgets the domain, and its API can't remove it.
    """
    folders = ("var/lib/libvirt", "var/cache/libvirt", "etc/libvirt", "run/libvirt")
    return [file for folder in folders for file in (daemon.root / folder).rglob(f"*{name}*")]


def test_only_claimed(desk: Desk, daemon: Daemon) -> None:
    spec = desk.spec()
    desk.host.claim(spec, Watch())
    desk.host.delete(spec.id, Watch())
    assert remains(daemon, spec.name) == []


def test_never_there(desk: Desk) -> None:
    desk.host.delete(desk.spec().id, Watch())


def test_paused(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    connection.lookupByUUID(spec.id.bytes).suspend()
    desk.host.delete(spec.id, Watch())
    assert remains(daemon, spec.name) == []


def test_with_a_managed_save(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    connection.lookupByUUID(spec.id.bytes).managedSave(0)
    desk.host.delete(spec.id, Watch())
    assert remains(daemon, spec.name) == []


def test_with_firmware_variables_and_a_snapshot(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, replace(desk.image, kernel=None, initrd=None, firmware="uefi"))
    domain = connection.lookupByUUID(spec.id.bytes)
    assert remains(daemon, f"{spec.name}_VARS"), "UEFI keeps no variables here; this test shows nothing"
    domain.destroy()
    domain.snapshotCreateXML("<domainsnapshot/>", 0)
    desk.host.delete(spec.id, Watch())
    assert remains(daemon, spec.name) == []


def test_from_a_pool_that_has_stopped(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """As one does whose folder libvirt could not read for a moment: its files are still there."""
    spec = desk.claim()
    connection.storagePoolLookupByName(desk.config.pool).destroy()
    desk.host.delete(spec.id, Watch())
    assert remains(daemon, spec.name) == []


def test_what_is_kept_of_a_failed_machine(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """Only disk and console; not left over until its time is over, and then gone, unless it is being made again."""
    spec, now = desk.claim(), datetime.now(UTC)
    told = desk.host.keep_for_diagnosis(spec.id, now + timedelta(hours=1))
    kept = remains(daemon, spec.name)
    assert len(kept) == 2
    assert all(Path(path).name in told for path in kept)
    assert desk.host.describe(spec.id) is None
    left = desk.host.remnants(desk.installation)
    assert {Path(path).name for path in kept} == {remnant.name for remnant in left}
    assert expired(left, [], [], now) == left_over(left, [], [], now) == []
    desk.host.discard(left)
    assert remains(daemon, spec.name) == []

    over, wanted = desk.claim("u-1"), desk.claim("u-2")
    for each in (over, wanted):
        desk.host.keep_for_diagnosis(each.id, now)
    left = desk.host.remnants(desk.installation)
    removed = desk.host.discard(expired(left, [wanted.id], [], datetime.now(UTC)))
    assert removed == sorted([f"{over.name}.qcow2", f"{over.name}-failed-{int(now.timestamp())}.log"])
    desk.claim("u-2")
    assert desk.host.discard(left) == removed
    assert desk.host.describe(wanted.id) is not None, "nothing is discarded of one that is there"
    desk.host.delete(wanted.id, Watch())
    assert remains(daemon, wanted.name) == []


def test_volumes_left_behind_are_named_and_removed(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec, kept = desk.claim("u-1"), desk.claim("u-2")
    connection.lookupByUUID(spec.id.bytes).undefine()
    left = [f"{spec.name}-seed.iso", f"{spec.name}.qcow2"]
    found = desk.host.remnants(desk.installation)
    assert sorted(remnant.name for remnant in found) == left
    assert all(remnant.certain for remnant in found)
    assert desk.host.remnants(desk.installation + "2") == []
    assert desk.host.discard(found) == left
    assert remains(daemon, spec.name) == []
    assert remains(daemon, kept.name)
    described = desk.host.describe(kept.id)
    assert described is not None
    assert described.has_disk
    connection.storagePoolLookupByName(desk.config.pool).storageVolLookupByName(f"{kept.name}.qcow2").delete()
    described = desk.host.describe(kept.id)
    assert described is not None
    assert not described.has_disk
    desk.host.making.bring_image(desk.image, Watch())  # the base is nobody's leftover


def _snapshot(domain: Any, path: str) -> None:
    """What `virsh snapshot-create-as --disk-only` does: the domain goes on on an overlay at this path."""
    xml = f"<domainsnapshot><disks><disk name='vda'><source file='{path}'/></disk></disks></domainsnapshot>"
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    domain.snapshotCreateXML(xml, flags)


@pytest.mark.parametrize("folder", ["pool", "elsewhere"])
def test_what_its_disk_became_by_hand_goes_too(desk: Desk, daemon: Daemon, connection: Any, folder: str) -> None:
    """Two snapshots, the first of which has no name of ours, in the pool or where no pool is."""
    spec, other = desk.claim("u-1"), desk.claim("u-2")
    pool = connection.storagePoolLookupByName(desk.config.pool)
    disk = pool.storageVolLookupByName(f"{spec.name}.qcow2").path()
    at = Path(disk).parent if folder == "pool" else Path("/var/lib/libvirt/boot")
    desk.host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    for name in ("by-hand", "again"):
        _snapshot(domain, str(at / name))
    files = [daemon.root / str(at / name).lstrip("/") for name in ("by-hand", "again")]
    assert all(file.exists() for file in files)
    pools = {each.name() for each in connection.listAllStoragePools()}
    desk.host.delete(spec.id, Watch())
    assert not any(file.exists() for file in files)
    assert remains(daemon, spec.name) == []
    assert remains(daemon, other.name)
    assert {each.name() for each in connection.listAllStoragePools()} == pools
    assert desk.host.making.bring_image(desk.image, Watch()) is None, "its base is others', too"


def _with_its_disk_renamed(desk: Desk, daemon: Daemon, connection: Any) -> tuple[Any, Any, str, Path]:
    """One that is off: its order, its domain, which names its disk as before, by this path, and the disk's file now."""
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    domain.destroy()
    pool = connection.storagePoolLookupByName(desk.config.pool)
    disk = pool.storageVolLookupByName(f"{spec.name}.qcow2").path()
    file = daemon.root / disk.lstrip("/")
    renamed = file.rename(file.with_name("alice.qcow2"))
    pool.refresh(0)
    return spec, domain, disk, renamed


def test_a_disk_of_another_name_is_there_and_goes(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec, domain, disk, renamed = _with_its_disk_renamed(desk, daemon, connection)
    connection.defineXML(domain.XMLDesc(0).replace(disk, disk.replace(f"{spec.name}.qcow2", renamed.name)))
    described = desk.host.describe(spec.id)
    assert described is not None
    assert described.has_disk
    desk.host.delete(spec.id, Watch())
    assert not renamed.exists()


def _as_volume(domain: Any, path: str, pool: str, volume: str) -> str:
    """Its definition, with its disk named as a volume of a pool."""
    xml = ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    [disk] = (disk for disk in xml.iter("disk") if disk.find(f"source[@file='{path}']") is not None)
    disk.set("type", "volume")
    source = disk.find("source")
    assert source is not None
    source.attrib.clear()
    source.attrib.update(pool=pool, volume=volume)
    return ElementTree.tostring(xml, encoding="unicode")


def test_disks_that_it_has_as_volumes_are_there_and_go(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """virt-manager attaches them so, from whatever pool; its own may have been made one, under another name."""
    spec, domain, disk, renamed = _with_its_disk_renamed(desk, daemon, connection)
    connection.defineXML(_as_volume(domain, disk, desk.config.pool, renamed.name))
    described = desk.host.describe(spec.id)
    assert described is not None
    assert described.has_disk

    other = connection.storagePoolCreateXML(pool_xml("theirs", "/var/lib/libvirt/boot"), 0)
    try:
        other.createXML(raw_volume_xml("data.raw", 1024, "0600"), 0)
        more = "<disk type='volume'><source pool='theirs' volume='data.raw'/><target dev='vdz' bus='virtio'/></disk>"
        domain.attachDeviceFlags(more, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        desk.host.delete(spec.id, Watch())
        assert not renamed.exists()
        assert other.listVolumes() == []
    finally:
        other.destroy()


def test_a_volume_whose_pool_was_stopped_keeps_its_machine(desk: Desk, connection: Any) -> None:
    """Nobody knows whether it is there, so its owner's name stays on it."""
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    domain.destroy()
    other = connection.storagePoolDefineXML(pool_xml("stopped", "/var/lib/libvirt/boot"), 0)
    try:
        other.create(0)
        other.createXML(raw_volume_xml("data.raw", 1024, "0600"), 0)
        more = "<disk type='volume'><source pool='stopped' volume='data.raw'/><target dev='vdz' bus='virtio'/></disk>"
        domain.attachDeviceFlags(more, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        other.destroy()
        with fails_with(ErrorCode.DISK_FAILED, "stopped"):
            desk.host.delete(spec.id, Watch())
        assert desk.host.describe(spec.id) is not None
        other.create(0)
        desk.host.delete(spec.id, Watch())
        assert desk.host.describe(spec.id) is None
        assert "data.raw" not in other.listVolumes()
    finally:
        if other.isActive():
            other.destroy()
        other.undefine()


def test_a_disk_that_another_machine_uses_too_stays(desk: Desk, daemon: Daemon, connection: Any) -> None:
    spec, other = desk.claim("u-1"), desk.claim("u-2")
    for each in (spec, other):
        desk.host.making.start(each, desk.image)
    domains = [connection.lookupByUUID(each.id.bytes) for each in (spec, other)]
    for domain in domains:
        domain.destroy()
    pool = connection.storagePoolLookupByName(desk.config.pool)
    paths = [pool.storageVolLookupByName(f"{each.name}.qcow2").path() for each in (spec, other)]
    connection.defineXML(domains[0].XMLDesc(0).replace(*paths))
    desk.host.delete(spec.id, Watch())
    assert remains(daemon, f"{other.name}.qcow2")
    assert remains(daemon, spec.name) == []


def test_one_that_was_undefined_while_it_ran(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """It runs on without a definition, and is gone with all that says what its disks are once it is stopped."""
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    _snapshot(domain, "/var/lib/libvirt/boot/by-hand")
    domain.undefine()
    desk.host.delete(spec.id, Watch())
    assert not (daemon.root / "var/lib/libvirt/boot/by-hand").exists()
    assert remains(daemon, spec.name) == []


@pytest.mark.parametrize(
    ("kind", "source", "named"),
    [
        ("block", "dev='/dev/loop7'", "/dev/loop7"),
        ("network", "protocol='rbd' name='pool/alice'", "rbd:pool/alice"),
        ("network", "protocol='nbd'", "nbd"),
    ],
)
def test_a_disk_that_is_no_file_of_the_host_is_not_removed_but_told(
    desk: Desk, connection: Any, kind: str, source: str, named: str
) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    domain.destroy()
    host = "<host name='store.example' port='7000'/>" if kind == "network" else ""
    disk = f"<disk type='{kind}' device='disk'><source {source}>{host}</source><target dev='vdz' bus='virtio'/></disk>"
    domain.attachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    with fails_with(ErrorCode.DISK_FAILED, named):
        desk.host.delete(spec.id, Watch())
    assert desk.host.describe(spec.id) is not None, "what is not removed is still known"
    domain.detachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    desk.host.delete(spec.id, Watch())


def test_names_of_before_are_ours_only_if_their_machine_is_recorded(desk: Desk, connection: Any) -> None:
    """They hold the first eight characters of an installation's id, which two may have in common."""
    pool, now = desk.host._pool.open(), datetime.now(UTC)
    spec = desk.spec()
    old = f"cloudpc-{desk.installation[:8]}-{spec.id.hex[:12]}.qcow2"
    pool.createXML(raw_volume_xml(old, 1024, "0600"), 0)
    try:
        for installation in (desk.installation, f"{desk.installation[:8]}-another"):
            [remnant] = desk.host.remnants(installation)
            assert (remnant.name, remnant.certain) == (old, False)
        assert left_over([remnant], [], [UUID(int=7)], now) == []
        assert uncertain([remnant], [UUID(int=7)]) == [remnant]
        assert left_over([remnant], [], [spec.id], now) == [remnant]
        assert uncertain([remnant], [spec.id]) == []
    finally:
        assert desk.host.discard([remnant]) == [old]


def _copied(connection: Any, name: str, source: str) -> Any:
    """A machine that somebody has made by hand, with this disk."""
    return connection.defineXML(
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>"
        f"<devices><disk device='disk' {source}<target dev='vda'/></disk></devices></domain>"
    )


@pytest.mark.parametrize("kind", ["file", "volume"])
def test_the_disk_of_a_copy_made_by_hand_stays(desk: Desk, daemon: Daemon, connection: Any, kind: str) -> None:
    """virt-clone names it after the machine it was copied from; doctor does not take it for a leftover."""
    spec, pool = desk.claim(), connection.storagePoolLookupByName(desk.config.pool)
    name = f"{spec.name}-clone.qcow2"
    path = pool.createXML(raw_volume_xml(name, 1024, "0600"), 0).path()
    sources = {
        "file": f"type='file'><source file='{path}'/>",
        "volume": f"type='volume'><source pool='{pool.name()}' volume='{name}'/>",
    }
    copy = _copied(connection, f"{spec.name}-clone", sources[kind])
    try:
        desk.host.delete(spec.id, Watch())
        assert remains(daemon, f"{spec.name}.qcow2") == []
        [disk] = remains(daemon, name)
        assert desk.host.discard(desk.host.remnants(desk.installation)) == []
        assert disk.exists()
    finally:
        copy.undefine()
    assert desk.host.discard(desk.host.remnants(desk.installation)) == [name]


def test_what_an_overlay_lies_on_is_not_discarded(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """Somebody saves what is on the disk of a machine that was undefined."""
    spec, pool = desk.claim(), connection.storagePoolLookupByName(desk.config.pool)
    connection.lookupByUUID(spec.id.bytes).undefine()
    disk = pool.storageVolLookupByName(f"{spec.name}.qcow2").path()
    overlay = pool.createXML(overlay_volume_xml("saving.qcow2", 1 << 30, disk), 0)
    assert desk.host.discard(desk.host.remnants(desk.installation)) == [f"{spec.name}-seed.iso"]
    assert remains(daemon, f"{spec.name}.qcow2")
    overlay.delete()
    assert desk.host.discard(desk.host.remnants(desk.installation)) == [f"{spec.name}.qcow2"]


def test_a_disk_without_its_machine_is_not_overwritten(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """The host's definitions are lost, or somebody undefined it: what is kept for diagnosis alone is nobody's."""
    spec = desk.claim()
    connection.lookupByUUID(spec.id.bytes).undefine()
    [disk] = remains(daemon, f"{spec.name}.qcow2")
    before = disk.stat().st_ino
    with fails_with(ErrorCode.MACHINE_NOT_IN_STATE, f"{spec.name}.qcow2") as refused:
        desk.host.claim(spec, Watch())
    assert not refused.value.retriable
    assert disk.stat().st_ino == before
    assert desk.host.describe(spec.id) is None
    desk.host.discard(desk.host.remnants(desk.installation))
    desk.claim()
    desk.host.keep_for_diagnosis(spec.id, datetime.now(UTC))
    desk.claim()
    desk.host.delete(spec.id, Watch())


def test_a_disk_that_was_put_back_by_hand_is_seen_before_it_is_overwritten(desk: Desk, daemon: Daemon) -> None:
    """libvirt does not know of files that others write until it looks again."""
    spec = desk.claim()
    [disk] = remains(daemon, f"{spec.name}.qcow2")
    desk.host.delete(spec.id, Watch())
    disk.write_bytes(b"from a backup")
    fresh = desk.another()
    with fails_with(ErrorCode.MACHINE_NOT_IN_STATE, f"{spec.name}.qcow2"):
        fresh.claim(spec, Watch())
    assert disk.read_bytes() == b"from a backup"
    assert fresh.discard(fresh.remnants(desk.installation)) == [disk.name]
    fresh.close()


def test_a_copy_of_its_disk_stays_and_is_named(desk: Desk, daemon: Daemon, connection: Any) -> None:
    """As somebody makes one before a reprovision."""
    spec, pool = desk.claim(), connection.storagePoolLookupByName(desk.config.pool)
    endings = ("-202612010516.qcow2", "-before.qcow2", ".backup.qcow2", ".qcow2.bak")
    copies = [f"{spec.name}{ending}" for ending in endings]
    for name in copies:
        pool.createXML(raw_volume_xml(name, 1024, "0600"), 0)
    desk.host.delete(spec.id, Watch())
    left = desk.host.remnants(desk.installation)
    assert sorted(remnant.name for remnant in left) == copies
    assert all(remnant.by_hand for remnant in left), "so that only who asks for all that is left over removes it"
    assert desk.host.discard(left) == copies
