"""A run's look at its machines: what has changed since the last one is known before anything is planned.

One call a host, all at once, while the directory is read. A host that does not answer in time says nothing, and what
state has of its machines holds. What is found here only makes plans: the provider looks again at each machine that is
not as recorded, by the same rules, and state has what it finds (`cloudpc.operations.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from uuid import UUID

from cloudpc.model.cloud_pc import WITH_MACHINE, RecordedCloudPC
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.machines import Host, Machine
from cloudpc.model.remnants import Remnant
from cloudpc.model.tags import Phase
from cloudpc.operations.asked import Asked
from cloudpc.operations.look import Place, as_seen, is_looked_at


class Overview:
    """What one host says of the machines that state means to be there; made in a thread that nobody has to wait for."""

    def __init__(self, host: Host, recorded: Collection[RecordedCloudPC]) -> None:
        self.name = host.name
        self._seen = host.overview({pc.machine_id for pc in recorded})
        its = [pc for pc in recorded if pc.host == host.name and pc.status in WITH_MACHINE]
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


class _Silent:
    """A host that has not answered in time."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def describe(self, _machine_id: UUID) -> Machine | None:
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, self._why)

    def remnants(self, _installation: str) -> list[Remnant]:
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, self._why)


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
            tell(f"the machines on {name} could not be looked at: {why}")
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
    def _everywhere(self) -> list[Place]:
        """All hosts, also those that don't answer; asked only where a machine is missing, and once for all."""
        recorded = list(self._recorded.values())
        asked = Asked("looking at", {host.name: partial(Overview, host, recorded) for host in self._hosts})
        return [*asked.answers.values(), *(_Silent(name, why) for name, why in asked.silent.items())]

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
            if is_named:  # otherwise it is reported where something is done to it
                tell(f"{recorded.user_principal_name}: {error.message} [{error.code}]")
            return recorded


def _remnants(host: Host, installation: str) -> list[Remnant] | ProvisioningError:
    try:
        return host.remnants(installation)
    except ProvisioningError as error:
        return error  # of those that are there, all is known
