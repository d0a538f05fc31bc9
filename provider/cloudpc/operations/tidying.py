"""Finishing what dead runs of a policy left between a machine and its record."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from cloudpc.model.abilities import GivesUpPlaces
from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.model.errors import ProvisioningError, unexpected_told
from cloudpc.model.machines import Host, Machine, Removed, State
from cloudpc.model.remnants import Remnant, expired, without_data
from cloudpc.model.tags import Phase
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations import twins
from cloudpc.operations.removal import Removal
from cloudpc.operations.second_look import is_still_there

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Machines of one host that are finished at the same time."""


def _none(_host: str) -> Container[UUID]:
    return ()


@dataclass(frozen=True)
class Meant:
    """What a run means there to be; its stack's lock is held.

    Args:
        installation: whose machines.
        policy_id: of which policy; others are left alone.
        living: Cloud PCs of state that have a machine, by its id.
        wanted: what this run is making: its provider sees to it.
        known: all that state has anything of.
        handed_over: of a host, machines that are known to be: they need no look.
        silent: hosts that are not asked: nobody waits for them, nor knows which hypervisor they are.
    """

    installation: str
    policy_id: str
    living: Mapping[UUID, RecordedCloudPC]
    wanted: Collection[UUID] = ()
    known: Collection[UUID] = ()
    handed_over: Callable[[str], Container[UUID]] = _none
    silent: Container[str] = ()


def tidy(hosts: Sequence[Host], removal: Removal, meant: Meant) -> list[str]:
    """See to machines that no run has come to say the last of.

    One that state has is handed over, if a run died just before it could say so. One that nobody was ever given (phase
    `provisioning` or `ready`), that is neither recorded nor being made now, is removed. What was kept of failed ones
    for diagnosis goes when its time is over; what holds no data and outlived its machine (a network card) goes at once.

    Returns:
        The names of removed machines, and of what else was removed.
    """
    tidying = _Tidying(hosts, removal, meant)
    asked = [host for host in hosts if host.name not in meant.silent]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:  # one that does not answer holds up no other
        return [name for removed in pool.map(tidying.on, asked) for name in removed]


class _Tidying:
    def __init__(self, hosts: Sequence[Host], removal: Removal, meant: Meant) -> None:
        self._hosts = {host.name: host for host in hosts}
        self._removal = removal
        self._meant = meant

    def on(self, host: Host) -> list[str]:
        meant, removed = self._meant, list[str]()
        # a host that is away, or has trouble of its own, has its turn in a later run
        with contextlib.suppress(ProvisioningError), unexpected_told(f"tidying {host.name}"):
            owned = host.owned(meant.installation, meant.handed_over(host.name))
            concerned = [machine for machine in owned if self._is_concerned(machine)]
            with ThreadPoolExecutor(_AT_ONCE) as pool:  # a run that wrote no state may have left thousands
                for machine, gone in zip(concerned, pool.map(partial(self._is_removed, host), concerned), strict=True):
                    removed += [machine.name] if gone else []
            removed += host.discard(self._over(host.remnants(meant.installation)))
            if isinstance(host, GivesUpPlaces):
                for name in host.give_up_places(meant.installation, meant.policy_id):
                    log.info("%s on %s was off, and is billed no longer", name, host.name)
        return removed

    def _over(self, remnants: Collection[Remnant]) -> list[Remnant]:
        meant, now = self._meant, datetime.now(UTC)
        over = expired(remnants, meant.wanted, meant.known, now)
        needed = [*meant.wanted, *meant.living]
        return list(dict.fromkeys([*over, *without_data(remnants, meant.policy_id, needed, meant.known, now)]))

    def _is_concerned(self, machine: Machine) -> bool:
        is_the_policys = machine.tag.policy_id == self._meant.policy_id
        return is_the_policys and machine.tag.phase is not Phase.HANDED_OVER and machine.id not in self._meant.wanted

    def _is_removed(self, host: Host, machine: Machine) -> bool:
        """Finish it one way or the other. Raises ProvisioningError."""
        pc = self._meant.living.get(machine.id)
        # another generation was begun by a reprovision that nobody asks for any longer, and may be half a machine
        if pc is None or pc.generation != machine.tag.generation:
            return self._unknown_is_removed(host, machine)
        # a host that was given another name is still the one that state means
        if pc.host == host.name or pc.host not in self._hosts:
            if machine.state is not State.GOING:  # whoever ends it or makes it again looks at that one
                host.finish(machine.id, Phase.HANDED_OVER)
            return False
        named = self._hosts[pc.host]
        return is_still_there(host, machine) and self._has_another(named, host, machine) and _is_gone(host, machine)

    def _unknown_is_removed(self, host: Host, machine: Machine) -> bool:
        if not is_still_there(host, machine):
            return False
        if left := self._removal.delete_unknown(host, machine):
            log.warning("%s stays for now: %s", machine.name, "; ".join(left))
        return not left

    @staticmethod
    def _has_another(named: Host, host: Host, machine: Machine) -> bool:
        """Whether the host that state names has one like it, which goes on, so that this is not the one it means.

        Two hosts may have swapped names, or be one hypervisor that did not say so when it was asked.

        Raises:
            ProvisioningError: that host does not say.
        """
        its = named.describe(machine.id)
        if its is None or its.tag.generation != machine.tag.generation:
            return False
        which = twins.ask([named, host])
        return not which.silent and not twins.twins(which.answers)


def _is_gone(host: Host, machine: Machine) -> bool:
    return host.delete(machine.id, Watch().within(REMOVED_WITHIN)) is Removed.GONE
