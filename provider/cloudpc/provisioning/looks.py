"""New looks at hosts, each shared by all who look at that moment; and so is the removal of what machines have left."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from typing import TypeVar
from uuid import UUID

from cloudpc.model.abilities import leaves_only_data
from cloudpc.model.errors import ErrorCode, HostTaken, ProvisioningError, TagUnreadable, unexpected_told
from cloudpc.model.machines import Host, Machine
from cloudpc.model.remnants import Remnant
from cloudpc.provisioning.batched import Batched
from cloudpc.provisioning.ledger import Ledger

_APART = 0.3
"""Seconds between two looks at a host: otherwise each of hundreds that are placed would look at all hosts."""
_ONE_BY_ONE = 2
"""At most so many machines are asked for one by one, which is cheaper than a look at all of a host."""
_OF_THE_HOST = {ErrorCode.HOST_UNREACHABLE, ErrorCode.POOL_UNUSABLE}
_V = TypeVar("_V")

Seen = Machine | TagUnreadable | None
"""What a host has under a machine's id."""


class Looks:
    """At the hosts of a ledger, which knows who does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._machines = {host.name: Batched(partial(_machines, host), _APART) for host in ledger.hosts}
        self._remnants = {host.name: Batched(partial(_remnants, host), _APART) for host in ledger.hosts}
        self._discarded = {host.name: Batched(partial(_discard, host), _APART) for host in ledger.hosts}

    def begin(self, machine_id: UUID, besides: Container[str] = ()) -> Look:
        """Look for this machine on all hosts but these, at once."""
        hosts = [host for host in self.ledger.hosts if host.name not in besides]
        silent = {host.name: why for host in hosts if (why := self.ledger.silence(host.name))}
        asked = {host.name: self._machines[host.name].ask(machine_id) for host in hosts if host.name not in silent}
        return Look(self, hosts, asked, silent)

    def remnants(self, host: Host, installation: str, *, within: float | None = None) -> list[Remnant]:
        """As Host has it. Raises ProvisioningError."""
        if why := self.ledger.silence(host.name):
            raise why
        return self.answer(host, self._remnants[host.name].ask(installation), within) or []

    def discard(self, host: Host, remnants: Sequence[Remnant]) -> Collection[str]:
        """As Host has it. Raises ProvisioningError.

        Where they may hold data, their host first looks whose disks lie on which, at all it has: once for all that are
        removed at this moment. Elsewhere each takes its time, and goes beside others'.
        """
        if not remnants:
            return ()
        if not leaves_only_data(host):
            return host.discard(remnants)
        gone = self._discarded[host.name].ask(tuple(remnants)).result()
        if isinstance(gone, ProvisioningError):
            raise gone
        return gone or ()

    def answer(self, host: Host, asked: Future[_V], within: float | None = None) -> _V:
        """What a host has said to this, in time. Raises ProvisioningError."""
        within = self.ledger.within if within is None else within
        with self.ledger.calling(host):
            try:
                return asked.result(within)
            except NotYet:
                raise self.ledger.too_late(host.name, within) from None


class Look:
    """For one machine: begun, and waited for when somebody wants to know."""

    def __init__(
        self,
        looks: Looks,
        hosts: Collection[Host],
        asked: Mapping[str, Future[Seen]],
        silent: Mapping[str, ProvisioningError],
    ) -> None:
        self._looks, self._hosts, self._asked, self._silent = looks, hosts, asked, silent

    def seen(self, within: float | None = None) -> Iterator[tuple[Host, Seen | ProvisioningError]]:
        """What each has, or why it does not say.

        Args:
            within: seconds for each; the ledger's, without.
        """
        for host in self._hosts:
            if why := self._silent.get(host.name):
                yield host, why
                continue
            try:
                seen = self._looks.answer(host, self._asked[host.name], within)
            except ProvisioningError as error:
                yield host, error
            else:
                yield host, seen


def _machines(host: Host, machine_ids: Collection[UUID]) -> Mapping[UUID, Seen]:
    with unexpected_told(f"looking for machines on {host.name}"):
        if len(machine_ids) > _ONE_BY_ONE:
            return host.overview(machine_ids)
        return {machine_id: _machine(host, machine_id) for machine_id in machine_ids}


def _machine(host: Host, machine_id: UUID) -> Seen:
    try:
        return host.describe(machine_id)
    except TagUnreadable as error:
        return error


def _remnants(host: Host, installations: Collection[str]) -> Mapping[str, list[Remnant]]:
    with unexpected_told(f"looking for what machines have left on {host.name}"):
        return {installation: host.remnants(installation) for installation in installations}


_Remnants = tuple[Remnant, ...]


def _discard(host: Host, asked: Collection[_Remnants]) -> Mapping[_Remnants, Collection[str] | ProvisioningError]:
    try:
        with unexpected_told(f"removing what machines have left on {host.name}"):
            gone = host.discard([remnant for remnants in asked for remnant in remnants])
    except ProvisioningError as error:
        if len(asked) == 1 or _is_of_the_host(error):
            return dict.fromkeys(asked, error)
        # what is wrong with one of them keeps no other; halves, as nearly all can go
        each, half = list(asked), len(asked) // 2
        return {**_discard(host, each[:half]), **_discard(host, each[half:])}
    return {remnants: {remnant.name for remnant in remnants}.intersection(gone) for remnants in asked}


def _is_of_the_host(error: ProvisioningError) -> bool:
    """Whether each of them would fail of the same, and take as long, such as a quarter of an hour for a lock."""
    return isinstance(error, HostTaken) or error.code in _OF_THE_HOST
