"""What provisioning needs of a machine's host. One driver for each kind of host implements it (model/drivers.py).

Calls block, have a deadline of their own or take one, and raise only `ProvisioningError` (code, retriable, hint)
or `Cancelled`. A host is used from many threads at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from cloudpc.model.access import Access
from cloudpc.model.check import Check
from cloudpc.model.errors import TagUnreadable
from cloudpc.model.guests import Guest, Seed
from cloudpc.model.image import Image
from cloudpc.model.remnants import Remnant
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch


class State(StrEnum):
    """How far a machine is in its life, as its host remembers it."""

    MAKING = "making"
    THERE = "there"
    GOING = "going"
    """Its removal was accepted, and is not over."""


class PowerState(StrEnum):
    """Whether the machine works."""

    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    """It holds its memory, but its processors stand still, and not for a moment only."""
    LEFT_OFF = "deallocated"
    """Off, which its host's entry wants left so: no run starts it."""


@dataclass(frozen=True)
class Limits:
    """How much of each a host may promise; None: as much as anybody asks for."""

    vcpus: int | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None


class Free(NamedTuple):
    """How much of each is not committed; less than nothing where too much is, infinite where there is no limit."""

    vcpus: float
    memory_mib: float
    disk_gib: float


@dataclass(frozen=True)
class Amount(Limits):
    """Cores, memory and disk: what is committed, what a machine takes."""

    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0


@dataclass(frozen=True)
class Capacity:
    """What may be committed on a host (overcommit and reserves applied) and what already is."""

    total: Limits
    committed: Amount
    machines: frozenset[UUID] = frozenset()
    """Which machines `committed` counts, ours and others'."""

    @property
    def free(self) -> Free:
        """What may still be promised."""
        total, committed = self.total, self.committed
        return Free(
            _left(total.vcpus, committed.vcpus),
            _left(total.memory_mib, committed.memory_mib),
            _left(total.disk_gib, committed.disk_gib),
        )


def _left(total: int | None, committed: int) -> float:
    return math.inf if total is None else total - committed


HOSTED = "hosted"
"""The kind of a host's own network: what `regionName: automatic` means. A host's entry says if it has none."""


@dataclass(frozen=True)
class Network:
    """Where a machine's network card is plugged in: the kind is HOSTED or a word of the host's driver.

    So is what `source` then says: which network of that kind.
    """

    kind: str = HOSTED
    source: str = ""


@dataclass(frozen=True)
class Order:
    """The complete description of a machine to be made: some hosts reserve a place by making it at once."""

    id: UUID
    name: str
    title: str
    size: Amount
    network: Network
    tag: Tag
    first_boot_in_seconds: float
    """From the start until it is ready, at most."""
    image: Callable[[Watch], Image]
    """Finds it, verified, and no larger than `size`; may take long the first time, so a host asks when it needs it.

    Raises ProvisioningError: of Stage.IMAGE, which is reported to the watch.
    """
    seed: Callable[[Image], Seed]
    """What its first boot reads; asked once, just before there is a guest. Raises ProvisioningError."""
    may_be_cloned: bool = False
    """Whether it may start as the clone of a template (the policy's `startFrom`), on hosts that have some."""
    joins_entra: bool = False
    """Whether its host is going to have it join Entra (`JoinsEntra`); only of hosts that said they can."""


@dataclass(frozen=True)
class Machine:
    """A machine as its host describes it."""

    id: UUID
    name: str
    tag: Tag
    power: PowerState
    size: Amount
    """What it takes. Where a host has sizes of its own: the service plan's, while it is of the one chosen for that."""
    has_disk: bool = True
    """Looked at only where it is stopped: one that runs has its disk open."""
    paused_because: str = ""
    """Why it is paused, in words."""
    is_billed_while_off: bool = False
    """Whether it is off and keeps its place on a host that bills it for that, as if it ran."""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What somebody who works at its host asks for, by names like Graph's: recorded, and shown; no secrets.

    All calls say the same, until somebody changes it: a run records what has changed.
    """

    @property
    def state(self) -> State:
        """As its tag says; a driver whose host says more gives it the phase that is true."""
        match self.tag.phase:
            case Phase.PROVISIONING:
                return State.MAKING
            case Phase.GOING:
                return State.GOING
        return State.THERE


@dataclass(frozen=True)
class Hypervisor:
    """What tells one hypervisor from others, by whatever name and way it is reached."""

    id: str
    """Its machine's and its own. Vendors give the same to many machines: it proves no more than a difference."""
    holds: frozenset[str]
    """Ids of what was made in it, which no other has."""
    remedy: str = ""
    """What an admin does where two only look like one; completes "If they are …, "."""

    def is_one_with(self, other: Hypervisor) -> bool:
        """Whether both are the same; where nothing was made yet, the id has to do."""
        return self.id == other.id and (bool(self.holds & other.holds) or not (self.holds or other.holds))


class Removed(StrEnum):
    """How far a removal has come."""

    GONE = "gone"
    GOING = "going"
    """The host has accepted it and is at it. Its tag says so, and each run looks again by removing it again."""


class Claimed(Exception):  # noqa: N818 - an answer, not an error
    """The host already has a machine of this identity."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.name)
        self.machine = machine


class Host(Protocol):
    """Something that machines are made on: a computer with a hypervisor, or a cloud."""

    @property
    def name(self) -> str:
        """As in cloudpc:hosts."""

    def hypervisor(self) -> Hypervisor:
        """Which one it is. Raises ProvisioningError: HOST_UNREACHABLE."""

    def capacity(self) -> Capacity:
        """Read from everything that is defined there, whoever defined it."""

    def claim(self, order: Order, watch: Watch) -> None:
        """Reserve identity and room, atomically over all processes, under the tag of the order.

        Nothing that takes long comes before the answer, unless the host can't give one otherwise: a cloud reserves by
        making the machine, and says yes only when it has found room. Whatever it raises, nothing of it is left; what
        a killed one leaves has the tag, and the next run finds it.

        Raises:
            Claimed: it is there already; nothing was changed.
            ProvisioningError: NO_CAPACITY with what is missing, NETWORK_NOT_FOUND, HOST_UNREACHABLE.
        """

    def make(self, order: Order, watch: Watch) -> None:
        """Do what is left until a claimed machine is ready: its first boot is done, and it has its network.

        Every stage that begins is reported to the watch; an error belongs to the stage in which it is raised.

        Raises:
            ProvisioningError: any of Stage.IMAGE to Stage.FIRST_BOOT; with the console's tail where there is one.
        """

    def power_on(self, machine_id: UUID, watch: Watch, *, until_ready: bool = True) -> None:
        """Have a machine work that was stopped after its first boot, or is paused; nothing where it runs.

        Args:
            machine_id: whose.
            watch: ends it; its time is what a guest that has to boot may take.
            until_ready: return when a guest that had to boot is ready again; or else as soon as it boots.

        Raises:
            ProvisioningError: START_FAILED; STORAGE_FULL: a full disk has paused it, and there is still no room;
                BOOT_TIMEOUT, GUEST_DIED.
        """

    def guest(self, machine_id: UUID) -> Guest:
        """The guest of a machine that runs; asks nobody yet."""

    def access(self, machine_id: UUID, watch: Watch) -> Access:
        """Where its user reaches it now, by what its image's guests offer; not yet proven. Waits for its address.

        Raises:
            ProvisioningError: SET_UP_FAILED, it has none by the watch's deadline.
        """

    def finish(self, machine_id: UUID, phase: Phase) -> None:
        """Remove the seed if it is still there, and write the phase into the tag. Idempotent."""

    def describe(self, machine_id: UUID) -> Machine | None:
        """The machine of this identity, or None. Any installation's.

        Raises:
            TagUnreadable: it is there, but nothing says whose it is. So does every call that would change it.
        """

    def overview(self, machine_ids: Collection[UUID]) -> Mapping[UUID, Machine | TagUnreadable]:
        """What `describe` says of each of these that is there, in as few calls as can be: every run asks."""

    def owned(self, installation: str, besides: Container[UUID] = ()) -> list[Machine]:
        """All machines with this installation's tag, except those named: what is known needs no look."""

    def unreadable(self, installation: str, known: Collection[UUID] = ()) -> dict[UUID, str]:
        """Names of machines without a readable tag that may be this installation's, by name, or have these ids."""

    def retag(self, machine_id: UUID, tag: Tag, disk_gib: int) -> None:
        """Write the tag of a machine that state knows, where none can be read; nothing where one can.

        Args:
            machine_id: whose.
            tag: as state says that it was.
            disk_gib: what its service plan promises.
        """

    def remnants(self, installation: str) -> list[Remnant]:
        """What this installation's machines that are gone have left, and what may be its own by an old name.

        What was made a moment ago, for a machine that is about to be, is none.
        """

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        """Remove these, but of machines that are there by now. Idempotent.

        Returns:
            The names of those that are gone now, whoever removed them; others can't be removed, for now at least.
        """

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:
        """Remove the machine completely, in whatever state: memory, firmware, snapshots, seed, cards and disks.

        Idempotent, also while it is going: then it says how far it is, and asks again for what was refused. It may
        wait for the end as long as the time of the watch allows. GONE means that a new one of its identity can be
        claimed; what is left beside it and has names of its own (a card that is reserved for a while) is a remnant.
        """

    def check(self) -> list[Check]:
        """What doctor says of this host: versions, how fast guests run and why, storage, capacity. Never raises."""

    def check_network(self, network: Network) -> list[Check]:
        """What a connection's health check finds on this host: the network, and whether it has addresses left.

        Reports only what is known: on a bridge, nobody but its DHCP server knows who has which address.

        Raises:
            ProvisioningError: NETWORK_NOT_FOUND, HOST_UNREACHABLE.
        """

    def close(self) -> None:
        """Let go of connections; machines go on running."""
