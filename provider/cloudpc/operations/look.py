"""What a look at a machine makes of what is recorded of it: by one refresh, or by a run for all its machines at once.

A run asks each host once, all at the same time, while the directory is read. A host that does not answer in time says
nothing, and what state has of its machines holds. What is found so only makes plans: the provider looks again at each
machine that is not as recorded, by the same rules, and state has what it finds (`cloudpc.operations.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from typing import Protocol
from uuid import UUID

from cloudpc.model.cloud_pc import USABLE, WITH_MACHINE, RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable, unexpected_told
from cloudpc.model.machines import Host, Machine, State
from cloudpc.model.remnants import Remnant, of_machine
from cloudpc.model.tags import Phase
from cloudpc.operations.asked import Asked
from cloudpc.rules import transitions


class Place(Protocol):
    """Where a look goes: a host, or what it has said of all that is on it."""

    @property
    def name(self) -> str:
        """The host's, as configured."""

    def describe(self, machine_id: UUID) -> Machine | None:
        """As `Host` has it."""

    def remnants(self, installation: str) -> list[Remnant]:
        """As `Host` has it."""


def is_looked_at(recorded: RecordedCloudPC) -> bool:
    """Whether it is to have a machine that is worth a look."""
    return recorded.has_machine and recorded.status is not Status.DEPROVISIONING


def as_seen(where: Place | None, recorded: RecordedCloudPC, places: Iterable[Place], now: datetime) -> RecordedCloudPC:
    """What is recorded of one with a machine, as its host has it now.

    Args:
        where: the host of the name that state has; None if cloudpc:hosts has no such name any more.
        recorded: by state.
        places: the policy's hosts; one that is missed is looked for on them.
        now: with a time zone.

    Raises:
        ProvisioningError: the host does not say.
    """
    if where is None:
        if followed := _followed(recorded, places, now):
            return followed
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"the host {recorded.host} is not in cloudpc:hosts")
    try:
        machine, left = _asked(where, recorded)
    except TagUnreadable as error:
        if recorded.status not in WITH_MACHINE:  # it counts as lost, and goes on doing so
            raise
        return transitions.tag_unreadable(recorded, error, now)
    if machine is not None and _is_newer(machine, recorded):
        return transitions.not_in_state(recorded, _from_an_older_copy(where, machine, recorded), now)
    if machine is None or machine.tag.generation != recorded.generation:
        message = left or f"its machine is no longer on {where.name}; its data is gone"
        return _followed(recorded, places, now) or _missed(recorded, message, now)
    if not machine.has_disk:
        return _missed(recorded, f"its machine is defined on {where.name}, but its disk is not there", now)
    return _as_its_machine_is(recorded, machine, now)


def told_seen(seen: RecordedCloudPC) -> str:
    """What a look at its machine has changed, in words."""
    if detail := seen.status_detail:
        return f"{seen.status}: {detail.message} [{detail.code}]"
    return seen.events[-1].split(" ", 2)[-1]


def told_still(pc: RecordedCloudPC) -> str:
    """How one that stands still does so, and what becomes of it; to be shown."""
    if pc.power_state == "paused":
        return f"paused: {pc.paused_because}; the next run resumes it"
    return "off; the next run starts it"


def _asked(where: Place, recorded: RecordedCloudPC) -> tuple[Machine | None, str]:
    """Its machine; what is left of one that is missing, in words. Raises ProvisioningError."""
    with unexpected_told(f"looking at {recorded.machine_id}"):
        machine = where.describe(recorded.machine_id)
        if machine is not None and machine.state is State.GOING:  # its data is as good as gone
            machine = None
        return machine, "" if machine or recorded.is_lost else _what_is_left(where, recorded)


def _missed(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    return recorded if recorded.is_lost else transitions.lost(recorded, message, now)


def _as_its_machine_is(recorded: RecordedCloudPC, machine: Machine, now: datetime) -> RecordedCloudPC:
    """Its machine is there, with its disk."""
    pc = transitions.found_again(recorded, now) if recorded.is_lost else recorded
    if pc.status is Status.IN_GRACE_PERIOD and pc.has_code(ErrorCode.TAG_UNREADABLE):
        pc = transitions.tag_readable(pc, now)
    pc = transitions.powered(pc, machine.power, machine.paused_because)
    if pc.status not in USABLE:
        return pc
    if message := _of_another_size(pc, machine):
        return transitions.size_differs(pc, message, now)
    if pc.has_code(ErrorCode.MACHINE_CHANGED):
        return transitions.size_is_right(pc, now)
    return transitions.tag_readable(pc, now) if pc.has_code(ErrorCode.TAG_UNREADABLE) else pc


def _of_another_size(recorded: RecordedCloudPC, machine: Machine) -> str:
    plan, size = recorded.service_plan, machine.size
    if (size.vcpus, size.memory_mib) == (plan.v_cpu_count, plan.memory_mib):
        return ""
    has, should = f"{size.vcpus} vCPU and {size.memory_mib} MiB", f"{plan.v_cpu_count} and {plan.memory_mib}"
    return f"its machine has {has}, the service plan {should}"


def _is_newer(machine: Machine, recorded: RecordedCloudPC) -> bool:
    """Whether its user was given it after what this state remembers."""
    return machine.tag.generation > recorded.generation and machine.tag.phase is Phase.HANDED_OVER


def _from_an_older_copy(where: Place, machine: Machine, recorded: RecordedCloudPC) -> str:
    return (
        f"its machine on {where.name} is of generation {machine.tag.generation}, and this state, an older copy, "
        f"of {recorded.generation}; it is left untouched: `cloudpc adopt` takes it back"
    )


def _followed(recorded: RecordedCloudPC, places: Iterable[Place], now: datetime) -> RecordedCloudPC | None:
    """As another host has it, if one does."""
    if (place := _elsewhere(recorded, places)) is None:
        return None
    return as_seen(place, transitions.moved(recorded, place.name, now), (), now)


def _elsewhere(recorded: RecordedCloudPC, places: Iterable[Place]) -> Place | None:
    """Another host that has it: it was migrated, or hosts are called otherwise in cloudpc:hosts than before."""
    its_own = (recorded.policy_id, recorded.generation, Phase.HANDED_OVER)
    for other in (each for each in places if each.name != recorded.host):
        with suppress(ProvisioningError), unexpected_told(f"looking for {recorded.machine_id} on {other.name}"):
            machine = other.describe(recorded.machine_id)
            if machine and (machine.tag.policy_id, machine.tag.generation, machine.tag.phase) == its_own:
                return other
    return None


def _what_is_left(where: Place, recorded: RecordedCloudPC) -> str:
    """Somebody may have undefined it, and can define it again."""
    its = of_machine(where.remnants(recorded.installation), recorded.machine_id)
    disks = [remnant.name for remnant in its if remnant.kind.may_hold_data]
    if not disks:
        return ""
    return (
        f"its machine is no longer defined on {where.name}, but its disk is there ({', '.join(disks)}): it works again "
        "once it is defined again; a reprovision makes a new one, and deletes that disk"
    )


class Overview:
    """What one host says of the machines that state means to be there; made in a thread that nobody has to wait for."""

    def __init__(self, host: Host, recorded: Collection[RecordedCloudPC]) -> None:
        self.name = host.name
        self._seen = host.overview({pc.machine_id for pc in recorded})
        its = [pc for pc in recorded if pc.host == host.name and not pc.is_lost]
        missing = [pc for pc in its if pc.machine_id not in self._seen]
        self._remnants = {of: _remnants(host, of) for of in {pc.installation for pc in missing}}

    def describe(self, machine_id: UUID) -> Machine | None:
        """As Host has it."""
        if isinstance(found := self._seen.get(machine_id), TagUnreadable):
            raise found
        return found

    @property
    def handed_over(self) -> frozenset[UUID]:
        """Those whose tag says so."""
        machines = (machine for machine in self._seen.values() if isinstance(machine, Machine))
        return frozenset(machine.id for machine in machines if machine.tag.phase is Phase.HANDED_OVER)

    def remnants(self, installation: str) -> list[Remnant]:
        """As Host has it; known only where a machine is missing."""
        if isinstance(found := self._remnants.get(installation, []), ProvisioningError):
            raise found
        return found


class Look:
    """Begins at once, and is waited for when it is asked what has changed."""

    def __init__(self, hosts: Sequence[Host], recorded: Mapping[str, RecordedCloudPC]) -> None:
        self._hosts, self._names = hosts, {host.name for host in hosts}
        self._recorded = {key: pc for key, pc in recorded.items() if is_looked_at(pc)}
        there = [(host, self._on(host.name)) for host in hosts]
        self._asked = Asked("looking at", {host.name: partial(Overview, host, on_it) for host, on_it in there if on_it})

    def changed(self, tell: Callable[[str], None], now: datetime) -> dict[str, RecordedCloudPC]:
        """Those whose machine is not as recorded, as a refresh would have them, by key.

        Args:
            tell: is given why nothing is known of a host's machines.
            now: with a time zone.
        """
        for name, why in self.silent.items():
            tell(f"nothing is known of the machines on {name}: {why}")
        found = {key: self._one(pc, tell, now) for key, pc in self._recorded.items()}
        return {key: pc for key, pc in found.items() if pc != self._recorded[key]}

    def handed_over(self, host: str) -> frozenset[UUID]:
        """Machines of this host that state has and that say so themselves: they are nobody's remains."""
        overview = self._asked.answers.get(host)
        return overview.handed_over if overview else frozenset()

    @property
    def silent(self) -> dict[str, str]:
        """Hosts that have not answered, and why."""
        return self._asked.silent

    def _on(self, host: str) -> list[RecordedCloudPC]:
        return [pc for pc in self._recorded.values() if pc.host == host]

    @cached_property
    def _everywhere(self) -> list[Overview]:
        """All hosts, as far as they answer in time; asked only where a machine is missing, and once for all."""
        recorded = list(self._recorded.values())
        asked = Asked("looking at", {host.name: partial(Overview, host, recorded) for host in self._hosts})
        return list(asked.answers.values())

    def _others(self, recorded: RecordedCloudPC) -> Iterator[Place]:
        if self._names - {recorded.host}:
            yield from self._everywhere

    def _one(self, recorded: RecordedCloudPC, tell: Callable[[str], None], now: datetime) -> RecordedCloudPC:
        overview, is_named = self._asked.answers.get(recorded.host), recorded.host in self._names
        if overview is None and is_named:
            return recorded
        try:
            return as_seen(overview, recorded, self._others(recorded), now)
        except ProvisioningError as error:
            if is_named:  # else it is told where something is to be done to it
                tell(f"{recorded.user_principal_name}: {error.message} [{error.code}]")
            return recorded


def _remnants(host: Host, installation: str) -> list[Remnant] | ProvisioningError:
    try:
        return host.remnants(installation)
    except ProvisioningError as error:
        return error  # of those that are there, all is known
