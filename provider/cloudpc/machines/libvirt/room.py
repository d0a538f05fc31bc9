"""Which volumes of one pool are disks, whoever has them: how large they may grow, and what they take already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.storage import GIB


@dataclass(frozen=True)
class Size:
    """Of a volume, in bytes."""

    most: int
    """What it may grow to."""
    taken: int


@dataclass(frozen=True)
class Room:
    """The disks in one pool, as of one moment.

    Args:
        pool: its name.
        folder: where its volumes are, on the host.
        available: bytes that are free there.
        sizes: of volumes that are disks of domains, by name.
    """

    pool: str
    folder: str
    available: int
    sizes: Mapping[str, Size] = field(default_factory=dict)

    @property
    def gib(self) -> float:
        """Disk there is for machines: what is free, and what their disks take already."""
        return (self.available + sum(size.taken for size in self.sizes.values())) / GIB

    def committed_gib(self, definitions: Iterable[Definition]) -> int:
        """What these may make of it: each disk in this pool once, and those that are promised and not made yet."""
        known = list(definitions)
        names = {name for definition in known for name in self.of(definition)}
        grown = sum(self.sizes[name].most for name in names if name in self.sizes)
        return -(-grown // GIB) + sum(d.label.disk_gib for d in known if d.label is not None and self._is_promised(d))

    def of(self, definition: Definition) -> set[str]:
        """Names of its disks that are in this pool."""
        paths = map(PurePosixPath, definition.disks)
        named = {volume for pool, volume in definition.pool_volumes if pool == self.pool}
        return named | {path.name for path in paths if path.parent == PurePosixPath(self.folder)}

    def _is_promised(self, definition: Definition) -> bool:
        """Whether its disk is to be made here, or was made since these sizes were read."""
        if names := self.of(definition):
            return not names & self.sizes.keys()
        # one that was claimed by an older cloudpc does not say where: it counts everywhere until it has its disk
        return not definition.names_disks and definition.label is not None and definition.label.pool in ("", self.pool)
