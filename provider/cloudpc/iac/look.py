"""A run's look at its machines: what has changed since the last one is known before anything is planned.

One call a host, all at once, while the directory is read. A host that does not answer in time says nothing, and what
state has of its machines holds. What is found here only makes plans: the provider looks again at each machine that is
not as recorded, by the same rules, and state has what it finds (`cloudpc.iac.steps`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from cloudpc.cloud_pc import RecordedCloudPC
from cloudpc.iac import steps
from cloudpc.machines.interface import Host, Machine
from cloudpc.provisioning.errors import ProvisioningError, TagUnreadable, unexpected_told
from cloudpc.provisioning.remnants import Remnant
from cloudpc.provisioning.tags import Phase

WITHIN = 10.0
"""Seconds that a run waits for its hosts' answers, from when it has asked; ssh may need several."""


class Overview:
    """What one host has said of the machines that state means to be there."""

    def __init__(self, host: Host, seen: Mapping[UUID, Machine | TagUnreadable]) -> None:
        self.name = host.name
        self._seen = seen
        self._host = host

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
        """As Host has it; asked only where a machine is missing."""
        return self._host.remnants(installation)


class Look:
    """Begins at once, and is waited for when it is asked what has changed."""

    def __init__(self, hosts: Sequence[Host], recorded: Mapping[str, RecordedCloudPC]) -> None:
        self._hosts, self._names = hosts, {host.name for host in hosts}
        self._all: list[_Answer] | None = None
        self._until = time.monotonic() + WITHIN
        self._recorded = {key: pc for key, pc in recorded.items() if steps.is_looked_at(pc)}
        asked = {host.name: (host, [steps.identity(pc) for pc in self._on(host.name)]) for host in hosts}
        self._answers = {name: _Answer(host, ids) for name, (host, ids) in asked.items() if ids}

    def changed(self, outputs: Mapping[str, dict[str, Any]], tell: Callable[[str], None]) -> dict[str, RecordedCloudPC]:
        """Those whose machine is not as recorded, as a refresh would have them, by key.

        Args:
            outputs: as recorded, by key.
            tell: is given why nothing is known of a host's machines.
        """
        for name, answer in self._answers.items():
            if why := answer.wait(self._until):
                tell(f"nothing is known of the machines on {name}: {why}")
        found = {key: self._one(pc, outputs[key], tell) for key, pc in self._recorded.items()}
        changed = {key: props for key, props in found.items() if props != outputs[key]}
        return {key: RecordedCloudPC.model_validate(props) for key, props in changed.items()}

    def handed_over(self, host: str) -> frozenset[UUID]:
        """Machines of this host that state has and that say so themselves: they are nobody's remains."""
        overview = self._overview(host)
        return overview.handed_over if overview else frozenset()

    def _on(self, host: str) -> list[RecordedCloudPC]:
        return [pc for pc in self._recorded.values() if pc.host == host]

    def _others(self, recorded: RecordedCloudPC) -> Iterator[Host]:
        """The other hosts, as far as they answer in time; asked only where a machine is missing, and once for all."""
        if self._all is None and self._names - {recorded.host}:
            ids = [steps.identity(pc) for pc in self._recorded.values()]
            until, self._all = time.monotonic() + WITHIN, [_Answer(host, ids) for host in self._hosts]
            for answer in self._all:
                answer.wait(until)
        yield from (cast("Host", answer.overview) for answer in self._all or () if answer.overview)

    def _overview(self, host: str) -> Overview | None:
        answer = self._answers.get(host)
        return answer.overview if answer else None

    def _one(self, recorded: RecordedCloudPC, props: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
        overview, is_named = self._overview(recorded.host), recorded.host in self._names
        if overview is None and is_named:
            return props
        try:
            return steps.as_seen(cast("Host | None", overview), props, recorded, self._others(recorded))
        except ProvisioningError as error:
            if not is_named:
                return props  # told where something is to be done to it
            tell(f"{recorded.user_principal_name}: {error.message} [{error.code}]")
            return props


class _Answer:
    """What a host answers in a thread of its own, which nobody has to wait for."""

    def __init__(self, host: Host, ids: Collection[UUID]) -> None:
        self.overview: Overview | None = None
        """Set by `wait`, and only there: what comes later is not for this run."""
        self._host, self._ids = host, ids
        self._found: Overview | str = f"no answer within {WITHIN:.0f} s"
        self._thread = threading.Thread(target=self._ask, name=f"look at {host.name}", daemon=True)
        self._thread.start()

    def wait(self, until: float) -> str:
        """Wait for it until then; returns why there is none."""
        self._thread.join(max(0.0, until - time.monotonic()))
        found = self._found
        if isinstance(found, str):
            return found
        self.overview = found
        return ""

    def _ask(self) -> None:
        try:
            with unexpected_told(f"looking at {self._host.name}"):
                self._found = Overview(self._host, self._host.overview(self._ids))
        except ProvisioningError as error:
            self._found = f"{error.message} [{error.code}]"
