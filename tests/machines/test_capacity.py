"""What fits on a host."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloudpc.hosts import HostConfig
from cloudpc.machines.interface import Amount
from cloudpc.machines.libvirt.capacity import MEMORY_OVERHEAD_MIB, capacity, overcommitted, shortage
from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.metadata import Label
from cloudpc.provisioning.tags import Tag

TAG = Tag("i", "p", "u", "s", 1, "d", "h")


def config(**changes: object) -> HostConfig:
    return HostConfig.model_validate({"name": "a", "uri": "qemu:///system", **changes})


def definition(vcpus: int, memory_mib: int, disk_gib: int | None) -> Definition:
    label = None if disk_gib is None else Label(TAG, disk_gib)
    return Definition(UUID(int=1), "n", vcpus, memory_mib, label, None, None)


def test_overcommit_and_reserve_apply() -> None:
    found = capacity(
        config(vCpuOvercommit=4, memoryReservedInGB=1.5, diskOvercommit=2),
        cores=2,
        memory_mib=8192,
        disk_gib=100.9,
        definitions=[],
    )
    assert found.total == Amount(vcpus=8, memory_mib=8192 - 1536, disk_gib=201)
    assert found.committed == Amount()


def test_foreign_domains_count_for_cores_and_memory() -> None:
    found = capacity(
        config(), cores=2, memory_mib=8192, disk_gib=100, definitions=[definition(2, 1024, 8), definition(1, 512, None)]
    )
    assert found.committed == Amount(vcpus=3, memory_mib=1536 + 2 * MEMORY_OVERHEAD_MIB, disk_gib=8)


def test_what_is_missing_is_said() -> None:
    found = capacity(config(), cores=1, memory_mib=2048, disk_gib=10, definitions=[definition(3, 512, 8)])
    assert shortage(found, Amount(1, 256, 2)) == ""
    assert shortage(found, Amount(2, 4096, 16)) == (
        "needs 2 vCPU, 1 free; needs 4.1 GB memory, 0.4 GB free; needs 16 GB disk, 2 GB free"
    )


amounts = st.builds(Amount, st.integers(1, 8), st.integers(64, 8192), st.integers(1, 64))


@given(st.lists(amounts, max_size=30), st.integers(1, 16), st.integers(0, 32768), st.floats(0, 500))
def test_claiming_what_fits_never_overcommits(wanted, cores, memory, disk) -> None:
    defined: list[Definition] = []
    for size in wanted:
        before = capacity(config(), cores=cores, memory_mib=memory, disk_gib=disk, definitions=defined)
        if shortage(before, size):
            continue
        defined.append(definition(size.vcpus, size.memory_mib, size.disk_gib))
        after = capacity(config(), cores=cores, memory_mib=memory, disk_gib=disk, definitions=defined)
        assert not overcommitted(after)
