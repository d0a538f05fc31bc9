"""What one host has said of its room and its machines, kept in step by what this process does there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import UUID

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Capacity, Host, Limits, Network


def headroom(capacity: Capacity, size: Amount) -> float:
    """How much of the scarcer of memory and cores stays free with this machine placed; below 0 it doesn't fit."""
    total, free = capacity.total, capacity.free
    return min(
        _share(total.memory_mib, free.memory_mib - size.memory_mib), _share(total.vcpus, free.vcpus - size.vcpus)
    )


def _share(total: int | None, left: float) -> float:
    if total is None:
        return 1.0
    return left / total if total else -1.0


def _plus(one: Amount, other: Amount, times: int = 1) -> Amount:
    return Amount(
        one.vcpus + times * other.vcpus,
        one.memory_mib + times * other.memory_mib,
        one.disk_gib + times * other.disk_gib,
    )


@dataclass(eq=False)
class Book:
    """Of one host; who changes it holds the ledger's lock."""

    host: Host
    total: Limits = field(default_factory=Limits)
    committed: Amount = field(default_factory=Amount)
    machines: set[UUID] = field(default_factory=set)
    """Which are there, whoever made them."""
    read_at: float | None = None
    """When it was asked what is written here; None: it has not answered."""
    error: ProvisioningError | None = None
    """Why it says nothing; what it has said before is worth nothing then."""
    failed_at: float = 0.0
    alone_until: float = 0.0
    """Not to be asked again before."""
    asking_since: float | None = None
    """When a question began that is under way."""
    is_asked_again: bool = False
    _chosen: dict[UUID, Amount] = field(default_factory=dict)
    _claimed: dict[UUID, tuple[float, Amount]] = field(default_factory=dict)
    _refusals: dict[tuple[Amount, Network], tuple[ProvisioningError, Limits, Amount]] = field(default_factory=dict)

    @property
    def is_silent(self) -> bool:
        """Whether it could not be reached when it was last asked."""
        return self.error is not None and self.error.code is ErrorCode.HOST_UNREACHABLE

    def headroom(self, size: Amount) -> float:
        """See `headroom`; below 0 also where disk is short.

        What is being claimed counts as taken: many at once would all go to the host that was roomiest a moment ago.
        """
        room = self._room()
        return headroom(room, size) if room.free.disk_gib >= size.disk_gib else -1.0

    def _room(self) -> Capacity:
        committed = self.committed
        for machine_id, size in self._chosen.items():
            if machine_id not in self.machines:
                committed = _plus(committed, size)
        return Capacity(self.total, committed)

    def write(self, found: Capacity, began: float) -> None:
        """What it has said, having been asked then; claims since may not be in it."""
        self.total, self.committed, self.machines = found.total, found.committed, set(found.machines)
        self.error, self.read_at = None, began
        claimed, self._claimed = self._claimed, {}
        for machine_id, (when, size) in claimed.items():
            if when >= began and machine_id not in self.machines:
                self._add(machine_id, size, when)

    def fail(self, error: ProvisioningError, asked_at: float, alone_for: float) -> None:
        """It does not say."""
        self.error, self.failed_at, self.read_at = error, asked_at, None
        self.alone_until = time.monotonic() + alone_for

    def choose(self, machine_id: UUID, size: Amount) -> None:
        """A machine is going to be claimed here."""
        self._chosen[machine_id] = size

    def let_go(self, machine_id: UUID) -> None:
        """It is not, or it has been."""
        self._chosen.pop(machine_id, None)

    def claim(self, machine_id: UUID, size: Amount, now: float) -> None:
        """It has been."""
        self.let_go(machine_id)
        if machine_id not in self.machines:
            self._add(machine_id, size, now)

    def _add(self, machine_id: UUID, size: Amount, when: float) -> None:
        self._claimed[machine_id] = (when, size)
        self.machines.add(machine_id)
        self.committed = _plus(self.committed, size)

    def remove(self, machine_id: UUID, size: Amount | None = None) -> bool:
        """It is gone; returns whether that says how much room there is by now."""
        was_there = machine_id in self.machines
        self.machines.discard(machine_id)
        _, size = self._claimed.pop(machine_id, (0.0, size))
        if size is None or not was_there:
            return not was_there
        self.committed = _plus(self.committed, size, -1)
        return True

    def refuse(self, size: Amount, network: Network, error: ProvisioningError) -> None:
        """It has no room for that."""
        self._refusals[size, network] = (error, self.total, self.committed)

    def refusal(self, size: Amount, network: Network) -> ProvisioningError | None:
        """Why it has no room for that, if it has said so and nothing has changed since."""
        error, *then = self._refusals.get((size, network), (None,))
        return error if then == [self.total, self.committed] else None

    def may_take_by_now(self, size: Amount) -> bool:
        """Whether it had no room for that, and something has changed since."""
        return any(self.refusal(*key) is None for key in self._refusals if key[0] == size)
