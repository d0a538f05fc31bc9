"""What machines have left on a host, and who may remove which of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Kind(StrEnum):
    """What it is, as users call it."""

    VOLUME = "volume"
    """A disk, or something beside it: a seed, a console's log."""
    DISK = "disk"
    NETWORK_CARD = "network card"

    @property
    def may_hold_data(self) -> bool:
        """Whether its user may have something on it."""
        return self is not Kind.NETWORK_CARD


@dataclass(frozen=True)
class Remnant:
    """Something whose machine is gone."""

    kind: Kind
    name: str
    machine: str
    """How the id of its machine begins, in hexadecimal digits."""
    certain: bool = True
    """Whether its name says whose it is: older names hold only eight characters of the installation's id."""
    keep_until: datetime | None = None
    """A console's log says until when it and its machine's disk are kept for diagnosis."""
    policy_id: str = ""
    """Which policy its machine was of, where it says so: all do that hold no data."""
    by_hand: bool = False
    """Whether somebody has made it beside what is the machine's own, such as a copy of its disk: it is removed only by
    who asks for all that is left over."""
    superseded: bool = False
    """Whether its machine is there, and has another instead: it is of an attempt before. Nothing that may hold data."""
    stays_because: str = field(default="", compare=False)
    """What its host said when it was to go and could not; nothing if nobody has tried."""

    def is_of(self, machines: Iterable[UUID]) -> bool:
        """Whether it was one of these machines'. For many remnants: `Machines`."""
        return any(machine_id.hex.startswith(self.machine) for machine_id in machines)


class Machines:
    """Machines that remnants are looked for among: a host may have thousands of both."""

    def __init__(self, ids: Iterable[UUID]) -> None:
        self._ids = [machine_id.hex for machine_id in ids]
        self._beginnings: dict[int, set[str]] = {}

    def have(self, remnant: Remnant) -> bool:
        """Whether it was one of theirs."""
        length = len(remnant.machine)
        if length not in self._beginnings:
            self._beginnings[length] = {machine_id[:length] for machine_id in self._ids}
        return remnant.machine in self._beginnings[length]


def without_machine(remnants: Iterable[Remnant], machines: Iterable[UUID]) -> list[Remnant]:
    """Those that were none of these machines'."""
    there = Machines(machines)
    return [remnant for remnant in remnants if not there.have(remnant)]


def of_machine(remnants: Iterable[Remnant], machine: UUID) -> list[Remnant]:
    """Those that are this one's."""
    its = machine.hex
    return [remnant for remnant in remnants if its.startswith(remnant.machine)]


def kept(remnants: Collection[Remnant]) -> list[Remnant]:
    """Those that are kept for diagnosis, whether or not their time is over."""
    machines = {remnant.machine for remnant in remnants if remnant.keep_until is not None}
    return [remnant for remnant in remnants if remnant.machine in machines and not remnant.by_hand]


def left_over(
    remnants: Collection[Remnant], meant: Collection[UUID], recorded: Collection[UUID], now: datetime
) -> list[Remnant]:
    """Those that no longer belong to anybody, so that they may be removed once a person agrees.

    Args:
        remnants: of one host.
        meant: machines that somebody still means, and whose disks are theirs.
        recorded: machines that state knows, or did: an uncertain one is the installation's only if it was one of these.
        now: what is kept for diagnosis until later is nobody's leftover.
    """
    kept = {remnant.machine for remnant in remnants if remnant.keep_until is not None and now < remnant.keep_until}
    known, wanted = Machines(recorded), Machines(meant)
    ours = [remnant for remnant in remnants if remnant.certain or known.have(remnant)]
    return [
        remnant for remnant in ours if remnant.machine not in kept and (remnant.superseded or not wanted.have(remnant))
    ]


def expired(
    remnants: Collection[Remnant], meant: Collection[UUID], recorded: Collection[UUID], now: datetime
) -> list[Remnant]:
    """Those that were kept for diagnosis, and long enough; the rest as for `left_over`."""
    over = {remnant.machine for remnant in remnants if remnant.keep_until is not None and remnant.keep_until <= now}
    left = left_over(remnants, meant, recorded, now)
    return [remnant for remnant in left if remnant.machine in over and not remnant.by_hand]


def without_data(
    remnants: Collection[Remnant],
    policy_id: str,
    meant: Collection[UUID],
    recorded: Collection[UUID],
    now: datetime,
) -> list[Remnant]:
    """Those of the policy's machines that hold nothing of their users; the rest as for `left_over`.

    A run of the policy may remove them unasked: nobody else makes a machine of it meanwhile.
    """
    left = left_over(remnants, meant, recorded, now)
    return [remnant for remnant in left if remnant.policy_id == policy_id and not remnant.kind.may_hold_data]


def uncertain(remnants: Collection[Remnant], recorded: Collection[UUID]) -> list[Remnant]:
    """Those that may be another installation's: reported, and never removed."""
    return [remnant for remnant in without_machine(remnants, recorded) if not remnant.certain]
