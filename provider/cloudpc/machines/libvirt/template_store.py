"""The templates in one pool: each a frozen overlay of a base image, and the memory that goes with it.

A template is a set of volumes `cloudpc-template-<key>-<image>-<build>-<kind>-<nonce>.{qcow2,save}`; the marker
`….complete` is made last, so that nothing half made is ever used. It says when both were written last: who starts the
template by hand changes its disk, which is no longer the one that its memory knows. By their names alone it is known
which of them newer ones have taken the place of: those of another build of the same image, or of the same kind with
another key.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from posixpath import join
from typing import Any
from xml.etree import ElementTree

from cloudpc.machines.libvirt import disks
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.errors import classified, unless_gone
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.pools import folder_of, path_of
from cloudpc.machines.libvirt.shared_volumes import TEMPLATE_PREFIX
from cloudpc.machines.libvirt.storage import Pool, overlay_volume_xml, raw_volume_xml
from cloudpc.model.digest import digest
from cloudpc.model.errors import ErrorCode

_DISK, _SAVE, _MARKER = ".qcow2", ".save", ".complete"
_PARTS = 5
_LONGEST_MARKER = 200


@dataclass(frozen=True)
class TemplateKey:
    """Which template it is: all that decides whether a memory fits."""

    whole: str
    """Of everything: image build, kernel, command line, QEMU, machine type, size, devices, accelerator."""
    image: str
    """Of the image's name."""
    build: str
    """Of its contents."""
    kind: str
    """Of what it is made like: size, network, accelerator."""

    @property
    def name(self) -> str:
        """What names begin with."""
        return f"{TEMPLATE_PREFIX}{self.whole}-{self.image}-{self.build}-{self.kind}-"


def short(*parts: str, length: int = 8) -> str:
    """For one part of a name."""
    return digest(*parts).hex()[:length]


@dataclass(frozen=True)
class Template:
    """Paths, on the host, of a template."""

    name: str
    disk: str
    save: str


class TemplateStore:
    """Finds, makes and removes them."""

    def __init__(self, connection: Connection, pool: Pool, locks: HostLocks) -> None:
        self._connection = connection
        self.pool = pool
        self._locks = locks

    def find(self, key: TemplateKey) -> Template | None:
        """A whole one, or None."""
        pool = self.pool.existing()
        if pool is None:
            return None
        with classified("look for a template", ErrorCode.DISK_FAILED):
            names = set(self.pool.names(pool))
            for name in sorted(names):
                stem = name.removesuffix(_MARKER)
                is_there = name.startswith(key.name) and name != stem and {stem + _DISK, stem + _SAVE} <= names
                if is_there and self._is_unchanged(pool, stem):
                    return self._template(pool, stem)
        return None

    def begin(self, key: TemplateKey, base: str, size: int) -> Template:
        """Make its disk, of so many bytes; what else belongs to it is named after that."""
        pool = self.pool.open()
        stem = f"{key.name}{self._locks.scope}{secrets.token_hex(3)}"
        with classified("make the disk of a template", ErrorCode.DISK_FAILED):
            self.pool.create(pool, overlay_volume_xml(stem + _DISK, size, base, "0644"), stem + _DISK)
            return self._template(pool, stem)

    def complete(self, template: Template) -> None:
        """From now on it is found."""
        pool = self.pool.open()
        with classified("complete a template", ErrorCode.DISK_FAILED):
            self.pool.look_again(pool)
            marker, written = template.name + _MARKER, _written(pool, template.name)
            volume = self.pool.create(pool, raw_volume_xml(marker, len(written), "0644"), marker)
            self.pool.upload(volume, len(written), iter([written]))

    def retire(self, template: Template) -> None:
        """From now on it is no longer found; its disk stays as long as it has clones."""
        self._remove([template.name])

    def tidy(self, now: TemplateKey | None = None) -> None:
        """Remove what nobody uses: what was half made, and what `now` has taken the place of.

        With the lock for making templates held, and only of this user's on this machine: others may be making theirs.
        """
        stems = self._own()
        self._remove([stem for stem, is_whole in stems.items() if not is_whole or (now and _superseded(stem, now))])

    def there(self) -> tuple[int, int, int]:
        """How many templates there are, whoever made them; how many disks of former ones; bytes that all this takes."""
        pool = self.pool.existing()
        if pool is None:
            return 0, 0, 0
        with classified("list the templates", ErrorCode.DISK_FAILED):
            self.pool.refresh(pool)
            volumes = {v.name(): v for v in pool.listAllVolumes() if v.name().startswith(TEMPLATE_PREFIX)}
            sizes = [unless_gone(volume.info) for volume in volumes.values()]
        whole = {name.removesuffix(_MARKER) for name in volumes if name.endswith(_MARKER)}
        disks_ = {name.removesuffix(_DISK) for name in volumes if name.endswith(_DISK)}
        return len(whole), len(disks_ - whole), sum(int(size[2]) for size in sizes if size is not None)

    def _template(self, pool: Any, stem: str) -> Template:
        folder = folder_of(pool)
        return Template(stem, join(folder, stem + _DISK), join(folder, stem + _SAVE))

    def _own(self) -> dict[str, bool]:
        """Names of those made here, and whether each is complete."""
        pool = self.pool.existing()
        if pool is None:
            return {}
        with classified("list the templates", ErrorCode.DISK_FAILED):
            self.pool.look_again(pool)
            names = [name for name in self.pool.names(pool) if _is_of(name, self._locks.scope)]
            whole = {name.removesuffix(_MARKER) for name in names if name.endswith(_MARKER)}
            stems = {name.rpartition(".")[0] for name in names}
            return {stem: stem in whole and self._is_unchanged(pool, stem) for stem in stems}

    def _is_unchanged(self, pool: Any, stem: str) -> bool:
        """Whether its disk and memory are as they were saved; nothing of ours writes to them after that."""
        found = unless_gone(lambda: (_written(pool, stem), self._marked(pool, stem)))
        return found is not None and found[0] == found[1]

    def _marked(self, pool: Any, stem: str) -> bytes:
        return self.pool.download(pool.storageVolLookupByName(stem + _MARKER), _LONGEST_MARKER)

    def _remove(self, stems: Collection[str]) -> None:
        """The marker goes first, the disk last, and only if nothing lies on it."""
        pool = self.pool.existing()
        if pool is None or not stems:
            return
        with classified("remove a template", ErrorCode.DISK_FAILED):
            for suffix in (_MARKER, _SAVE):
                self.pool.delete(pool, [stem + suffix for stem in stems])
            paths = self._paths(pool, [stem + _DISK for stem in stems])
            needed = disks.needed_in(self._connection.get(), pool, paths.values())
            self.pool.delete(pool, [name for name, path in paths.items() if path not in needed])

    def _paths(self, pool: Any, names: Iterable[str]) -> dict[str, str]:
        there = set(self.pool.names(pool))
        found = {name: path_of(pool, name) for name in names if name in there}
        return {name: path for name, path in found.items() if path is not None}


def _written(pool: Any, stem: str) -> bytes:
    """When its disk and its memory were written last, as their host says. Raises libvirt.libvirtError: one is gone."""
    volumes = (ElementTree.fromstring(pool.storageVolLookupByName(stem + each).XMLDesc(0)) for each in (_DISK, _SAVE))  # noqa: S314
    return " ".join(volume.findtext("target/timestamps/mtime", "-") for volume in volumes).encode()


def _parts(stem: str) -> list[str]:
    return stem.removeprefix(TEMPLATE_PREFIX).split("-")


def _is_of(name: str, scope: str) -> bool:
    parts = _parts(name.rpartition(".")[0])
    return name.startswith(TEMPLATE_PREFIX) and len(parts) == _PARTS and parts[-1].startswith(scope)


def _superseded(stem: str, now: TemplateKey) -> bool:
    whole, image, build, kind, _nonce = _parts(stem)
    return image == now.image and (build != now.build or (kind == now.kind and whole != now.whole))
