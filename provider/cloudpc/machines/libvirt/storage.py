"""The storage pool of a host and the volumes in it, through libvirt's storage API alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import libvirt

from cloudpc.files import folders
from cloudpc.machines.libvirt import pools
from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.errors import classified, has_code, unless_gone
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.errors import ErrorCode, ProvisioningError

SYSTEM_IMAGES = "/var/lib/libvirt/images"
"""Where the hypervisor's user may read, under AppArmor and SELinux as shipped."""

GIB = 1024**3
_CHUNK = 256 * 1024
_LOCK_TIMEOUT = 60.0
_REFRESH_EVERY = 10.0
_BUSY_TRIES, _BUSY_PAUSE = 50, 0.1
_JOBS_RUNNING = "asynchronous jobs running"
_BUSY = (_JOBS_RUNNING, "still being allocated", "in use")
"""How libvirt refuses what would disturb a volume that another thread or client is making; it has no code for it."""


class Pool:
    """The host's pool for Cloud PCs; made when first used."""

    def __init__(self, config: LibvirtHostConfig, connection: Connection, locks: HostLocks) -> None:
        self._config = config
        self._connection = connection
        self._locks = locks
        self._refreshed = float("-inf")
        self._is_checked = False

    def open(self) -> Any:
        """The active `virStoragePool`; defined, built and started if need be.

        Raises:
            ProvisioningError: POOL_UNUSABLE: it is no folder, or none can be made where it is to be.
        """
        connection = self._connection.get()
        name = self._config.pool
        with classified(f"open the storage pool {name}", ErrorCode.DISK_FAILED):
            pool = _lookup(connection, name)
            if pool is not None:
                self._check_folder(pool)
            if pool is not None and unless_gone(pool.isActive):
                return pool
            with self._locks.hold("pool", timeout=_LOCK_TIMEOUT):
                try:
                    return self._make(connection, name)
                except libvirt.libvirtError as error:
                    # The lock holds between this user's processes: a client elsewhere may have made it just now.
                    pool = _lookup(connection, name)
                    if pool is None or not pool.isActive():
                        raise pools.not_usable(self._config, error) from error
                    return pool

    def _make(self, connection: Any, name: str) -> Any:
        """Define the pool if it isn't, and start it. Only one that is ours to make is built: it may format disks."""
        pool = _lookup(connection, name)
        if pool is None:
            return self._make_new(connection, name)
        if not pool.isActive():
            pool.create(0)
        return pool

    def _make_new(self, connection: Any, name: str) -> Any:
        path = self._path()
        pools.check_free(connection, self._config, path)
        pool = connection.storagePoolDefineXML(pool_xml(name, path), 0)
        try:
            pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
        except libvirt.libvirtError:
            pool.undefine()  # otherwise the next run would take it for somebody else's
            raise
        pool.setAutostart(1)
        return pool

    def _check_folder(self, pool: Any) -> None:
        if not self._is_checked:
            pools.check_folder(pool, self._config)
            self._is_checked = True

    def existing(self) -> Any | None:
        """The active pool, or None where no Cloud PC was ever made. One that was stopped is started: it has disks."""
        connection = self._connection.get()
        with classified(f"look for the storage pool {self._config.pool}", ErrorCode.DISK_FAILED):
            pool = _lookup(connection, self._config.pool)
            return self.open() if pool is not None and pools.is_folder(pool) else None

    @property
    def asked_path(self) -> str:
        """Where cloudpc:hosts says that it is made, if it does."""
        return self._config.pool_path or ""

    def names(self, pool: Any) -> list[str]:
        """Names of the volumes in the pool, as of one moment.

        Never `listVolumes`, which asks for their number first: with a volume made in between it leaves out another.
        """
        return [volume.name() for volume in pool.listAllVolumes()]

    def refresh(self, pool: Any) -> None:
        """Let libvirt look again at what is in the folder and what is free; at most every ten seconds."""
        if time.monotonic() - self._refreshed < _REFRESH_EVERY:
            return
        self._refreshed = time.monotonic()
        try:
            pool.refresh(0)
        except libvirt.libvirtError as error:
            if _JOBS_RUNNING not in str(error.get_error_message()):
                raise pools.not_usable(self._config, error) from error
            # refused while another volume is being made; the figures are then as fresh as that one

    def look_again(self, pool: Any) -> None:
        """Let libvirt see a file that it has not made as a volume."""
        _patiently(lambda: pool.refresh(0))

    def create(self, pool: Any, xml: str, name: str) -> Any:
        """Make a volume; one of this name that an interrupted attempt left is replaced."""
        for last in (False, True):
            try:
                return pool.createXML(xml, 0)
            except libvirt.libvirtError as error:
                if last:
                    raise
                if has_code(error, libvirt.VIR_ERR_STORAGE_VOL_EXIST):
                    self.delete(pool, [name])
                elif "exists" in str(error.get_error_message()).lower():
                    self.look_again(pool)
                    self.delete(pool, [name])
                else:
                    raise
        raise AssertionError("unreachable")

    def delete(self, pool: Any, names: Iterable[str]) -> None:
        """Delete volumes; those that are gone are none of our concern."""
        for name in names:
            unless_gone(partial(_patiently, partial(_delete, pool, name)))

    def download(self, volume: Any, size: int) -> bytes:
        """What a volume begins with: at most so many bytes."""
        stream = volume.connect().newStream(0)
        volume.download(stream, 0, size, 0)
        content = bytearray()
        try:
            while more := stream.recv(_CHUNK):
                content += more
            stream.finish()
        except BaseException:
            with suppress(libvirt.libvirtError):
                stream.abort()
            raise
        return bytes(content)

    def upload(self, volume: Any, size: int, chunks: Iterator[bytes]) -> None:
        """Fill a volume through a stream, or its beginning."""
        with self._stream(volume, size) as send:
            for chunk in chunks:
                send(chunk)

    @contextmanager
    def _stream(self, volume: Any, size: int) -> Iterator[Callable[[bytes], None]]:
        stream = volume.connect().newStream(0)
        volume.upload(stream, 0, size, 0)

        def send(data: bytes) -> None:
            view = memoryview(data)
            while view:
                sent = stream.send(bytes(view[:_CHUNK]))
                view = view[sent:]

        try:
            yield send
            stream.finish()
        except BaseException:
            with suppress(libvirt.libvirtError):  # it may have broken already; what broke it is what counts
                stream.abort()
            raise

    def _path(self) -> str:
        if self._config.pool_path:
            return self._config.pool_path
        return default_path(self._connection.address, self._config.pool)


def default_path(address: Address, pool: str) -> str:
    """Where a pool is made: a folder of the host that its hypervisor's user can read.

    Raises:
        ProvisioningError: the host's user session is remote, so that its home is not known here.
    """
    if not address.is_session:
        return f"{SYSTEM_IMAGES}/{pool}"
    if address.is_local:
        return str(folders.data() / "pools" / pool)
    raise ProvisioningError(
        ErrorCode.POOL_UNUSABLE,
        f"The storage pool {pool} is not on {address.uri} yet, and nothing says where it may be made.",
        retriable=False,
        hint="Set poolPath of the host to a folder there, or use the host's qemu:///system.",
    )


def pool_xml(name: str, path: str) -> str:
    """A pool that is a folder. A new one is made so that others may pass through it, which QEMU's own user must.

    Its mode is not said: libvirt makes new ones 0711, and would give a mode that is said to one that is there, too.
    """
    pool = Element("pool", type="dir")
    SubElement(pool, "name").text = name
    target = SubElement(pool, "target")
    SubElement(target, "path").text = path
    return ElementTree.tostring(pool, encoding="unicode")


def raw_volume_xml(name: str, size: int, mode: str) -> str:
    """A volume of so many bytes, to be filled by upload; `mode` in octal."""
    volume = _volume(name, size)
    _target(volume, "raw", mode)
    return ElementTree.tostring(volume, encoding="unicode")


def overlay_volume_xml(name: str, size: int, base: str, mode: str = "0600") -> str:
    """A qcow2 volume of so many bytes on a qcow2 base that is never written to; `base` is a path of the host."""
    volume = _volume(name, size)
    _target(volume, "qcow2", mode)
    backing = SubElement(volume, "backingStore")
    SubElement(backing, "path").text = base
    SubElement(backing, "format", type="qcow2")
    return ElementTree.tostring(volume, encoding="unicode")


def lies_on(volume: str) -> str:
    """The path that a volume's XML names as its base; empty: none."""
    return parsed(volume).findtext("backingStore/path", "")


def file_chunks(path: Path) -> Iterator[bytes]:
    """A file in pieces as large as one message to libvirt carries."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _volume(name: str, size: int) -> Element:
    volume = Element("volume", type="file")
    SubElement(volume, "name").text = name
    SubElement(volume, "capacity", unit="bytes").text = str(size)
    SubElement(volume, "allocation", unit="bytes").text = "0"
    return volume


def _target(volume: Element, kind: str, mode: str) -> None:
    target = SubElement(volume, "target")
    SubElement(target, "format", type=kind)
    SubElement(SubElement(target, "permissions"), "mode").text = mode


def _delete(pool: Any, name: str) -> None:
    pool.storageVolLookupByName(name).delete(0)


def _patiently(action: Callable[[], Any]) -> Any:
    """Do it, after waiting while other volumes are being made."""
    for attempt in range(_BUSY_TRIES):
        try:
            return action()
        except libvirt.libvirtError as error:
            text = str(error.get_error_message())
            if attempt == _BUSY_TRIES - 1 or not any(sign in text for sign in _BUSY):
                raise
            time.sleep(_BUSY_PAUSE)
    raise AssertionError("unreachable")


def _lookup(connection: Any, name: str) -> Any | None:
    return unless_gone(lambda: connection.storagePoolLookupByName(name))
