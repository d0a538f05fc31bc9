"""What a domain itself names as its disks is its own, whatever it is called and wherever it lies.

A disk becomes something else by hand: an overlay (external snapshot), another name, another folder.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import libvirt

from cloudpc.machines.libvirt.definitions import Definition, parse
from cloudpc.machines.libvirt.errors import classified, unless_gone
from cloudpc.machines.libvirt.shared_volumes import is_base
from cloudpc.machines.libvirt.storage import lies_on, pool_xml
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machine_names import named_after
from cloudpc.model.text import command_line

_DEVICES = "/dev/"
_MANY = 64
"""No chain of overlays is longer; a longer one is a circle."""


def changed_by_hand(domain: Any, usual: str | None) -> list[str]:
    """Paths of the disks that a domain writes to alone, with the overlays that they are made of.

    Args:
        domain: whose; asked before it is stopped, since one that was undefined meanwhile is gone then.
        usual: where its disk was made: one that is still there is left out, and needs no look at what others use.

    Raises:
        ProvisioningError: DISK_FAILED; one is no file of the host, so that nobody here may remove it.
    """
    connection, machine_id = domain.connect(), UUID(bytes=domain.UUID())
    with classified(f"look for the disks of {domain.name()}", ErrorCode.DISK_FAILED):
        definitions = [parse(xml) for xml in _definitions(domain)]
        own = {path for definition in definitions for path in paths(connection, definition)} - {usual}
        used = used_by(other for other in connection.listAllDomains(0) if other.UUID() != domain.UUID()) if own else ()
        alone = sorted(own.difference(used))
        for path in [*alone, *(far for definition in definitions for far in definition.far_disks)]:
            _refuse_foreign(path, domain.name())
        layers = [layer for path in alone for layer in _layers(connection, path, machine_id)]
        return [layer for layer in layers if layer not in used]


def remove(connection: Any, paths: Iterable[str]) -> None:
    """Remove volumes, wherever on the host they lie; those that are gone are none of our concern.

    Raises:
        ProvisioningError: DISK_FAILED.
    """
    for path in paths:
        with classified(f"remove {path}", ErrorCode.DISK_FAILED), _volume_at(connection, path) as volume:
            if volume is not None:
                unless_gone(partial(volume.delete, 0))


def used_by(domains: Iterable[Any]) -> set[str]:
    """All files and devices of the host that domains name, also as volumes of a pool."""
    sources = (
        (domain.connect(), source)
        for domain in domains
        for xml in _definitions(domain)
        for source in parsed(xml).iter("source")
    )
    return {path for connection, source in sources for path in _paths(connection, source) if path}


def needed(backing: Mapping[str, str], unwanted: Collection[str], used: Collection[str]) -> set[str]:
    """Paths that are used, or that lie below a volume which is used or stays.

    Args:
        backing: what each volume of a pool lies on; empty where that is nothing.
        unwanted: what nobody but these may need.
        used: what domains name.
    """
    found: set[str] = set()
    left = [*used, *(backing.keys() - set(unwanted))]
    while left:
        if (path := left.pop()) and path not in found:
            found.add(path)
            left.append(backing.get(path, ""))
    return found


def needed_in(connection: Any, pool: Any, unwanted: Collection[str]) -> set[str]:
    """The same of a pool's volumes, with the kernels of all domains, and with disks elsewhere that lie on them.

    Raises:
        libvirt.libvirtError: it is not known what one lies on.
    """
    backing = {}
    for volume in pool.listAllVolumes():
        if (xml := unless_gone(partial(volume.XMLDesc, 0))) is not None:
            backing[volume.path()] = lies_on(xml)
    domains = connection.listAllDomains(0)
    used = used_by(domains) | {path for each in domains for xml in _definitions(each) for path in _kernels(xml)}
    for path in sorted(used - backing.keys()):
        if path.startswith("/") and not path.startswith(_DEVICES):
            used.update(_chain(connection, path))
    return needed(backing, unwanted, used)


def is_there(connection: Any, path: str) -> bool:
    """Whether there is a volume at this path of the host."""
    with _volume_at(connection, path) as volume:
        return volume is not None


def paths(connection: Any, definition: Definition) -> list[str]:
    """Where on the host the disks are that a domain writes to alone; volumes that are gone are left out.

    Raises:
        libvirt.libvirtError: the pool of one does not say, for example because it was stopped.
    """
    volumes = (_volume_path(connection, pool, volume) for pool, volume in definition.pool_volumes)
    return [*definition.disks, *(path for path in volumes if path)]


def has_one(connection: Any, definition: Definition) -> bool:
    """Whether the first of the disks that a domain names is there; one that is not on the host may be."""
    if definition.disks:
        return is_there(connection, definition.disks[0])
    if definition.pool_volumes:
        return _volume_path(connection, *definition.pool_volumes[0]) is not None
    return bool(definition.far_disks)


def _paths(connection: Any, source: ElementTree.Element) -> Iterator[str | None]:
    yield source.get("file")
    yield source.get("dev")
    if (pool := source.get("pool")) and (volume := source.get("volume")):
        yield _volume_path(connection, pool, volume)


def _volume_path(connection: Any, pool: str, volume: str) -> str | None:
    path: str | None = unless_gone(
        lambda: connection.storagePoolLookupByName(pool).storageVolLookupByName(volume).path()
    )
    return path


def _definitions(domain: Any) -> list[str]:
    """Its XML as it will start next time, and as it runs: a snapshot may be in one alone."""
    found = (unless_gone(partial(domain.XMLDesc, flags)) for flags in (libvirt.VIR_DOMAIN_XML_INACTIVE, 0))
    return [xml for xml in found if xml is not None]


def _refuse_foreign(path: str, name: str) -> None:
    """A file is the machine's own; a device, a volume of another kind of pool or a disk elsewhere need not be."""
    if not path.startswith("/") or path.startswith(_DEVICES):
        raise ProvisioningError(
            ErrorCode.DISK_FAILED,
            f"{name} has the disk {path}, no file of the host but attached by hand: nothing is removed there.",
            retriable=False,
            hint=f"`{command_line('virsh', 'detach-disk', name, path, '--config')}` takes it from the machine.",
        )


def _layers(connection: Any, path: str, machine_id: UUID) -> list[str]:
    """A disk and what it lies on, as far as that is this machine's alone: base images are not."""
    chain = _chain(connection, path)
    names = [named_after(posixpath.basename(each)) for each in chain]
    own = [at for at, name in enumerate(names) if name is not None and machine_id.hex.startswith(name.machine)]
    bases = [at for at, each in enumerate(chain) if is_base(posixpath.basename(each))]
    end = own[-1] + 1 if own else bases[0] if bases else 1
    return [each for at, each in enumerate(chain[:end]) if at in own or names[at] is None]  # never another machine's


def _chain(connection: Any, path: str) -> list[str]:
    chain = [path]
    while len(chain) < _MANY and (backing := _backing(connection, chain[-1])):
        chain.append(backing)
    return chain


def _backing(connection: Any, path: str) -> str | None:
    with _volume_at(connection, path) as volume:
        return None if volume is None else lies_on(volume.XMLDesc(0))


def _kernels(domain: str) -> list[str]:
    os = parsed(domain).find("os")
    return [] if os is None else [each.text for each in os if each.tag in ("kernel", "initrd") and each.text]


@contextmanager
def _volume_at(connection: Any, path: str) -> Iterator[Any | None]:
    """The volume of this path, or None; where no pool has its folder, through one that is there just for the look."""
    if volume := unless_gone(lambda: connection.storageVolLookupByPath(path)):
        yield volume
        return
    folder = posixpath.dirname(path)
    if pool := _pool_of(connection, folder):
        pool.refresh(0)  # a file that libvirt has not seen yet
        yield unless_gone(lambda: connection.storageVolLookupByPath(path))
        return
    with _passing_pool(connection, folder):
        yield unless_gone(lambda: connection.storageVolLookupByPath(path))


def _pool_of(connection: Any, folder: str) -> Any | None:
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        xml = unless_gone(partial(pool.XMLDesc, 0))
        if xml is not None and parsed(xml).findtext("target/path") == folder:
            return pool
    return None


@contextmanager
def _passing_pool(connection: Any, folder: str) -> Iterator[None]:
    try:
        pool = connection.storagePoolCreateXML(pool_xml(f"cloudpc-look-{secrets.token_hex(4)}", folder), 0)
    except libvirt.libvirtError as error:
        if "no such file or directory" not in str(error.get_error_message()).lower():
            raise
        yield  # then nothing is in it
        return
    try:
        yield
    finally:
        with suppress(libvirt.libvirtError):
            pool.destroy()  # its folder and what is in it stay
