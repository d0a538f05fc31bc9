"""What fits on a host."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloudpc.machines.libvirt.capacity import MEMORY_OVERHEAD_MIB, capacity, overcommitted, shortage
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.metadata import Label
from cloudpc.machines.libvirt.room import Room, Size
from cloudpc.machines.libvirt.storage import GIB
from cloudpc.model.machines import Amount
from cloudpc.model.tags import Tag

TAG = Tag("i", "p", "u", "s", 1, "d", "h")


def config(**changes: object) -> LibvirtHostConfig:
    return LibvirtHostConfig.model_validate({"name": "a", "uri": "qemu:///system", **changes})


def definition(vcpus: int, memory_mib: int, disk_gib: int | None) -> Definition:
    label = None if disk_gib is None else Label(TAG, disk_gib)
    return Definition(UUID(int=1), "n", vcpus, memory_mib, label, None, None)


def pool(gib: float = 100, **sizes: tuple[float, float]) -> Room:
    """The pool `cloudpc`: what is free, and of each disk what it may grow to and takes."""
    known = {name: Size(round(most * GIB), round(taken * GIB)) for name, (most, taken) in sizes.items()}
    return Room("cloudpc", "/pool", round(gib * GIB), known)


def with_disks(*paths: str, label: Label | None = None, volumes: tuple[tuple[str, str], ...] = ()) -> Definition:
    return replace(definition(1, 64, None), label=label, disks=paths, pool_volumes=volumes)


def test_overcommit_and_reserve_apply() -> None:
    found = capacity(
        config(vCpuOvercommit=4, memoryReservedInGB=1.5, diskOvercommit=2),
        cores=2,
        memory_mib=8192,
        room=pool(100.9),
        definitions=[],
    )
    assert found.total == Amount(vcpus=8, memory_mib=8192 - 1536, disk_gib=201)
    assert found.committed == Amount()


def test_foreign_domains_count_for_cores_and_memory() -> None:
    found = capacity(
        config(), cores=2, memory_mib=8192, room=pool(), definitions=[definition(2, 1024, 8), definition(1, 512, None)]
    )
    assert found.committed == Amount(vcpus=3, memory_mib=1536 + 2 * MEMORY_OVERHEAD_MIB, disk_gib=8)


def test_what_is_missing_is_said() -> None:
    found = capacity(config(), cores=1, memory_mib=2048, room=pool(10), definitions=[definition(3, 512, 8)])
    assert shortage(found, Amount(1, 256, 2)) == ""
    assert shortage(found, Amount(2, 4096, 16)) == (
        "needs 2 vCPU, 1 free; needs 4.1 GB memory, 0.4 GB free; needs 16 GB disk, 2 GB free"
    )


amounts = st.builds(Amount, st.integers(1, 8), st.integers(64, 8192), st.integers(1, 64))


@given(st.lists(amounts, max_size=30), st.integers(1, 16), st.integers(0, 32768), st.floats(0, 500))
def test_claiming_what_fits_never_overcommits(wanted, cores, memory, disk) -> None:
    defined: list[Definition] = []
    for size in wanted:
        before = capacity(config(), cores=cores, memory_mib=memory, room=pool(disk), definitions=defined)
        if shortage(before, size):
            continue
        defined.append(definition(size.vcpus, size.memory_mib, size.disk_gib))
        after = capacity(config(), cores=cores, memory_mib=memory, room=pool(disk), definitions=defined)
        assert not overcommitted(after)


def test_a_pool_counts_the_disks_that_are_in_it_and_no_others() -> None:
    here = pool(20, mine=(8, 2), theirs=(4.5, 4.5))
    ours = Label(TAG, 8, "cloudpc")
    counted = [
        with_disks("/pool/mine", label=ours),
        with_disks("/pool/theirs"),  # somebody else's, in our pool
        with_disks(label=ours),  # claimed, and has no disk yet
        with_disks(label=Label(TAG, 8)),  # the same, claimed by a cloudpc that does not say where
    ]
    elsewhere = [
        with_disks("/other/mine", label=Label(TAG, 8, "other")),
        with_disks("/other/mine", label=Label(TAG, 8)),
        with_disks("/pool/deeper/mine", label=ours),
        with_disks("/dev/vg/lv"),
        with_disks(label=Label(TAG, 8, "other")),
        with_disks(volumes=(("other", "mine"),)),
    ]
    assert here.gib == 20 + 6.5
    assert here.committed_gib(counted) == 13 + 8 + 8
    assert here.committed_gib([*counted, *elsewhere]) == 13 + 8 + 8
    assert pool(20).committed_gib(elsewhere) == 0


def test_a_disk_counts_once_whoever_names_it_and_however() -> None:
    here = pool(20, mine=(8, 2))
    both = [with_disks("/pool/mine"), with_disks(volumes=(("cloudpc", "mine"),))]
    assert here.committed_gib(both) == 8
    assert [here.of(each) for each in both] == [{"mine"}, {"mine"}]


def test_a_disk_that_was_made_since_the_pool_was_read_is_what_was_promised() -> None:
    """Or whose file somebody has taken away, and may bring back."""
    assert pool(20).committed_gib([with_disks("/pool/new", label=Label(TAG, 8, "cloudpc"))]) == 8
    assert pool(20).committed_gib([with_disks("/pool/new")]) == 0
