"""What fits on a host: plain arithmetic over what is defined there."""

from __future__ import annotations

from collections.abc import Iterable

from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.room import Room
from cloudpc.machines.libvirt.shared_volumes import is_base
from cloudpc.model.machines import Amount, Capacity

MEMORY_OVERHEAD_MIB = 128
"""What QEMU itself takes per machine: translated code, device models, thread stacks."""


def capacity(
    config: LibvirtHostConfig,
    *,
    cores: int,
    memory_mib: int,
    room: Room,
    definitions: Iterable[Definition],
) -> Capacity:
    """What may be committed and what is.

    Args:
        config: the host's overcommit and reserve.
        cores: the host's.
        memory_mib: the host's.
        room: what there is of the pool.
        definitions: everything defined on the host, whoever defined it; only disks in this pool count for it.
    """
    total = Amount(
        vcpus=int(cores * config.vcpu_overcommit),
        memory_mib=max(0, memory_mib - int(config.memory_reserved_in_gb * 1024)),
        disk_gib=int(room.gib * config.disk_overcommit),
    )
    known = list(definitions)
    return Capacity(total, committed(known, room), frozenset(definition.id for definition in known))


def committed(definitions: Iterable[Definition], room: Room) -> Amount:
    """What these take, foreign ones as far as libvirt knows it.

    A template that is being made is there for a moment, and only where there is room: it keeps nobody from a place.
    """
    known = [definition for definition in definitions if not is_base(definition.name)]
    return Amount(
        vcpus=sum(definition.vcpus for definition in known),
        memory_mib=sum(definition.memory_mib + MEMORY_OVERHEAD_MIB for definition in known),
        disk_gib=room.committed_gib(known),
    )


def shortage(capacity: Capacity, size: Amount) -> str:
    """What is missing for one more machine of this size, for people; empty if it fits."""
    free = capacity.free
    missing = []
    if size.vcpus > free.vcpus:
        missing.append(f"needs {size.vcpus} vCPU, {max(0, free.vcpus)} free")
    if (needed := size.memory_mib + MEMORY_OVERHEAD_MIB) > free.memory_mib:
        missing.append(f"needs {_gb(needed)} memory, {_gb(free.memory_mib)} free")
    if size.disk_gib > free.disk_gib:
        missing.append(f"needs {size.disk_gib} GB disk, {max(0, free.disk_gib)} GB free")
    return "; ".join(missing)


def overcommitted(capacity: Capacity) -> bool:
    """Whether more is committed than may be."""
    return min(capacity.free) < 0


def _gb(mib: float) -> str:
    """Memory as people say it, in steps of 0.1 GB."""
    return f"{max(0, mib) / 1024:.1f} GB"
