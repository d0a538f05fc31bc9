"""The volumes of one machine: its overlay and its seed, named after it so that one left alone says whose it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.errors import classified, unless_gone
from cloudpc.machines.libvirt.images import ImageStore
from cloudpc.machines.libvirt.pools import folder_of
from cloudpc.machines.libvirt.room import Room, Size
from cloudpc.machines.libvirt.seed import seed_iso
from cloudpc.machines.libvirt.storage import GIB, Pool, lies_on, overlay_volume_xml, raw_volume_xml
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage
from cloudpc.model.machine_names import named_after
from cloudpc.model.machines import Order
from cloudpc.model.remnants import Kind, Remnant

_DISK, _SEED, _MEMORY = ".qcow2", "-seed.iso", "-memory.save"
_KEPT = re.compile(r"-failed-(\d+)\.log$")
"""The console's log of a failed machine: until when, in seconds since 1970, it and the disk are kept."""
_MADE = re.compile(rf"{re.escape(_DISK)}|{re.escape(_SEED)}|{re.escape(_MEMORY)}|-failed-\d+\.log")
"""What follows the machine's name in names of volumes made here; others named after a machine were made by hand."""
_LONGEST_HEAD = 2 * 1024 * 1024
"""Bytes; libvirt fills it up to 1 MiB."""
_SILENCE = b"The console said nothing.\n"


class MachineVolumes:
    """Makes, finds and removes machines' volumes in one pool."""

    def __init__(self, pool: Pool, images: ImageStore) -> None:
        self._pool = pool
        self._images = images

    def create(self, order: Order, image: DiskImage, seed: Seed) -> None:
        """Make overlay and seed; what an earlier attempt left is replaced.

        Raises:
            ProvisioningError: STORAGE_FULL, DISK_FAILED.
        """
        base = self._images.locate(image)
        pool = self._pool.open()
        with classified(f"make the disk of {order.name}", ErrorCode.DISK_FAILED):
            disk = order.name + _DISK
            self._pool.create(pool, overlay_volume_xml(disk, order.size.disk_gib * GIB, base.disk), disk)
            content, name = seed_iso(seed), order.name + _SEED
            volume = self._pool.create(pool, raw_volume_xml(name, len(content), "0600"), name)
            self._pool.upload(volume, len(content), iter([content]))

    def create_clone(self, order: Order, template: str) -> None:
        """Make the overlay of a clone, on its template's disk at this path; it needs no seed."""
        pool = self._pool.open()
        with classified(f"make the disk of {order.name}", ErrorCode.DISK_FAILED):
            disk = order.name + _DISK
            self._pool.create(pool, overlay_volume_xml(disk, order.size.disk_gib * GIB, template), disk)
            self._pool.delete(pool, [order.name + _SEED])  # of an attempt that booted

    @contextmanager
    def memory(self, machine_name: str, saved: str, changed: Callable[[bytes], bytes]) -> Iterator[str]:
        """The path of a copy of a saved memory, for as long as it is restored from.

        Args:
            machine_name: whose it is to be.
            saved: the name of the volume; it stays as it is.
            changed: is given what it begins with, at least its head, and says what the copy begins with.
        """
        pool, name = self._pool.open(), machine_name + _MEMORY
        original = pool.storageVolLookupByName(saved)
        size = int(original.info()[1])
        head = changed(self._pool.download(original, min(size, _LONGEST_HEAD)))
        self._pool.delete(pool, [name])
        copy = pool.createXMLFrom(raw_volume_xml(name, size, "0600"), original, 0)
        try:
            self._pool.upload(copy, len(head), iter([head]))
            yield copy.path()
        finally:
            self._pool.delete(pool, [name])

    def paths(self, machine_name: str, *, has_seed: bool) -> tuple[str, str | None]:
        """Paths, on the host, of a machine's overlay and of its seed, which a clone has not."""
        pool = self._pool.open()
        with classified(f"find the disk of {machine_name}", ErrorCode.DISK_FAILED):
            disk = pool.storageVolLookupByName(machine_name + _DISK).path()
            return disk, pool.storageVolLookupByName(machine_name + _SEED).path() if has_seed else None

    def disk(self, machine_name: str) -> str | None:
        """The path, on the host, of the overlay of this machine's name; None if there is none."""
        return self.path(machine_name + _DISK)

    def delete_seed(self, machine_name: str) -> None:
        """Remove the seed if it is there."""
        if (pool := self._pool.existing()) is not None:
            with classified(f"remove the seed of {machine_name}", ErrorCode.DISK_FAILED):
                self._pool.delete(pool, [machine_name + _SEED])

    def delete_all(self, machine_id: UUID) -> None:
        """Remove all that was made for this machine; copies that somebody has made beside it stay."""
        pool = self._pool.existing()
        if pool is None:
            return
        with classified("remove the machine's volumes", ErrorCode.DISK_FAILED):
            named = ((name, named_after(name)) for name in self._pool.names(pool))
            its = [(name, at) for name, at in named if at and machine_id.hex.startswith(at.machine)]
            self._pool.delete(pool, [name for name, at in its if _MADE.fullmatch(at.ending)])

    def left_of(self, machine_name: str) -> str:
        """The name of the disk of a machine that is not there, unless it is only kept for diagnosis; or nothing."""
        disk, pool = machine_name + _DISK, self._pool.existing()
        if pool is None or self.path(disk) is None:
            return ""
        with classified("list the volumes", ErrorCode.DISK_FAILED):
            kept = any(name.startswith(machine_name) and _KEPT.search(name) for name in self._pool.names(pool))
        return "" if kept else disk

    def backing(self) -> dict[str, str]:
        """Paths of the pool's volumes, with what each lies on; nothing where there is no pool."""
        pool = self._pool.existing()
        if pool is None:
            return {}
        with classified("list the volumes", ErrorCode.DISK_FAILED):
            self._pool.refresh(pool)
            found = {volume.path(): unless_gone(partial(volume.XMLDesc, 0)) for volume in pool.listAllVolumes()}
        return {path: lies_on(xml) for path, xml in found.items() if xml is not None}

    def keep(self, machine_name: str, until: datetime, console: bytes) -> str:
        """Leave the disk, and the console's log beside it, for diagnosis; the seed goes. Says what is kept."""
        pool, log = self._pool.open(), f"{machine_name}-failed-{int(until.timestamp())}.log"
        content = console or _SILENCE
        with classified(f"keep the console of {machine_name}", ErrorCode.DISK_FAILED):
            volume = self._pool.create(pool, raw_volume_xml(log, len(content), "0600"), log)
            self._pool.upload(volume, len(content), iter([content]))
            self._pool.delete(pool, [machine_name + _SEED])
            return f"{machine_name}{_DISK} and {log} in the pool {pool.name()}"

    def of_installation(self, installation: str) -> list[Remnant]:
        """Volumes named after this installation's machines, whether those are there or not."""
        pool = self._pool.existing()
        if pool is None:
            return []
        with classified("list the volumes", ErrorCode.DISK_FAILED):
            found = ((name, named_after(name)) for name in self._pool.names(pool))
            ours = ((name, at) for name, at in found if at is not None and at.may_be_of(installation))
            return [
                Remnant(
                    Kind.VOLUME, name, at.machine, at.is_of(installation), _kept_until(name),
                    by_hand=_MADE.fullmatch(at.ending) is None,
                )
                for name, at in ours
            ]  # fmt: skip

    def path(self, name: str) -> str | None:
        """The path, on the host, of a volume; None if it has gone."""
        pool = self._pool.existing()
        with classified(f"look for {name}", ErrorCode.DISK_FAILED):
            return None if pool is None else unless_gone(lambda: pool.storageVolLookupByName(name).path())

    def delete(self, names: Iterable[str]) -> None:
        """Remove these volumes."""
        if (pool := self._pool.existing()) is not None:
            with classified("remove volumes left over", ErrorCode.DISK_FAILED):
                self._pool.delete(pool, names)

    def room(self, definitions: Collection[Definition]) -> Room:
        """What the pool has of these domains' disks, and what is free in it."""
        pool = self._pool.open()
        with classified("read the pool's size", ErrorCode.DISK_FAILED):
            self._pool.refresh(pool)
            _state, _capacity, _allocation, available = pool.info()
            found = Room(pool.name(), folder_of(pool), int(available))
            names = {name for definition in definitions for name in found.of(definition)}
            sizes = {volume.name(): _size(volume) for volume in pool.listAllVolumes() if volume.name() in names}
            return replace(found, sizes={name: size for name, size in sizes.items() if size is not None})


def _kept_until(volume: str) -> datetime | None:
    found = _KEPT.search(volume)
    return None if found is None else datetime.fromtimestamp(int(found[1]), UTC)


def _size(volume: Any) -> Size | None:
    info = unless_gone(volume.info)
    return None if info is None else Size(most=max(int(info[1]), int(info[2])), taken=int(info[2]))
