"""Who may remove which volume that a machine has left: two installations whose ids begin alike are two."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloudpc.machines.libvirt.volumes import MachineVolumes
from cloudpc.model.identity import machine_id
from cloudpc.model.machine_names import machine_name, named_after
from cloudpc.model.remnants import Kind, Machines, Remnant, expired, kept, left_over, uncertain, without_data

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=64)
machines = st.integers(0, 3).map(lambda n: machine_id("installation", f"u-{n}", "plan"))
remnants = st.builds(
    lambda machine, certain, hours: Remnant(
        Kind.VOLUME, "x", machine.hex[:12], certain, None if hours is None else NOW + timedelta(hours=hours)
    ),
    machines, st.booleans(), st.none() | st.integers(-3, 3),
)  # fmt: skip


@given(ids, ids)
def test_a_name_says_whose_it_is_by_the_whole_id(one: str, other: str) -> None:
    name = named_after(machine_name(one, machine_id(one, "u", "plan")) + "-seed.iso")
    assert name is not None
    assert name.is_of(one)
    assert name.may_be_of(other) == (one == other)
    for longer in (one + "2", one[:8] + "z" + one[8:]):
        assert not name.may_be_of(longer[:64]) or longer[:64] == one


@given(ids)
def test_a_name_of_before_says_no_more_than_how_the_id_begins(one: str) -> None:
    name = named_after(f"cloudpc-{one[:8]}-0123456789ab.qcow2")
    assert name is not None
    assert name.may_be_of(one)
    assert not name.is_of(one)


def test_what_is_not_named_after_a_machine_of_ours() -> None:
    for name in ("cloudpc-image-0123456789abcdef-0123456789ab.qcow2", "cloudpc", "other.qcow2", "cloudpc-a-b.qcow2"):
        assert named_after(name) is None


class _Pool:
    """Has volumes of these names."""

    def __init__(self, *names: str) -> None:
        self.held = list(names)

    def existing(self) -> object:
        return self

    def names(self, _: object) -> list[str]:
        return list(self.held)

    def delete(self, _: object, names: list[str]) -> None:
        self.held = [name for name in self.held if name not in names]


def test_a_copy_whose_name_ends_in_a_time_is_no_volume_of_the_machine_itself() -> None:
    """Twelve digits, as of a machine's id."""
    of = machine_id("installation", "u-0", "plan")
    name = machine_name("installation", of)
    made = [f"{name}{ending}" for ending in (".qcow2", "-seed.iso", "-memory.save", "-failed-1764547200.log")]
    copies = [f"{name}{ending}" for ending in ("-202612010516.qcow2", "-before.qcow2", ".qcow2.bak", ".snap1")]
    pool: Any = _Pool(*made, *copies)
    volumes = MachineVolumes(pool, images=None)  # type: ignore[arg-type]
    assert [each.name for each in volumes.of_installation("installation") if each.by_hand] == copies
    volumes.delete_all(of)
    assert pool.held == copies


def test_a_copy_beside_what_is_kept_for_diagnosis_goes_only_with_all_that_is_left_over() -> None:
    """Somebody has made it before the reprovision that failed: a run does not take it for what that has left."""
    machine = machine_id("installation", "u-0", "plan").hex[:12]
    log = Remnant(Kind.VOLUME, "log", machine, keep_until=NOW)
    disk, copy = Remnant(Kind.VOLUME, "disk", machine), Remnant(Kind.VOLUME, "copy", machine, by_hand=True)
    assert kept([log, disk, copy]) == [log, disk]
    assert expired([log, disk, copy], [], [], NOW) == [log, disk]
    assert left_over([log, disk, copy], [], [], NOW) == [log, disk, copy]


@given(st.sets(machines))
def test_what_holds_no_data_goes_only_with_its_own_policys_run(meant: set[UUID]) -> None:
    """Another's may be making the machine that it is for."""
    machine = machine_id("installation", "u-0", "plan")
    card = Remnant(Kind.NETWORK_CARD, "nic", machine.hex[:12], policy_id="lab")
    others = [replace(card, policy_id="other"), replace(card, policy_id=""), replace(card, kind=Kind.DISK)]
    assert without_data([card, *others], "lab", meant, [], NOW) == [card] * (machine not in meant)


@given(st.lists(remnants), st.sets(machines), st.sets(machines))
def test_nothing_goes_that_is_meant_kept_or_perhaps_another_s(
    left: list[Remnant], meant: set[UUID], recorded: set[UUID]
) -> None:
    gone = left_over(left, meant, recorded, NOW)
    kept = {each.machine for each in left if each.keep_until and each.keep_until > NOW}
    assert not any(each.is_of(meant) or each.machine in kept for each in gone)
    assert not [each for each in gone if each in uncertain(left, recorded)]
    assert all(each.certain or each.is_of(recorded) for each in gone)
    stays = [each for each in left if each not in gone]
    assert all(each.is_of(meant) or each.machine in kept or each in uncertain(left, recorded) for each in stays)
    over = expired(left, meant, recorded, NOW)
    assert set(over) <= set(gone)
    assert {each.machine for each in over} <= {e.machine for e in left if e.keep_until and e.keep_until <= NOW}


def test_what_its_machine_does_without_goes_though_the_machine_is_meant() -> None:
    machine = UUID(int=7 << 64)
    card = Remnant(Kind.NETWORK_CARD, "nic", machine.hex[:12], policy_id="lab", superseded=True)
    assert without_data([card], "lab", [machine], [machine], NOW) == [card]
    assert without_data([replace(card, superseded=False)], "lab", [machine], [machine], NOW) == []


@given(st.lists(st.uuids(), max_size=5), st.uuids(), st.integers(0, 32))
def test_among_many_machines_as_among_few(machines: list[UUID], own: UUID, length: int) -> None:
    remnant = Remnant(Kind.VOLUME, "x", own.hex[:length])
    for among in (machines, [*machines, own]):
        assert Machines(among).have(remnant) == remnant.is_of(among)
