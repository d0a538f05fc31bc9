"""Which machines state knows: that of all stacks of a backend, whatever their policy and however a host is called.

A machine's identity says neither, so what one stack knows is known. What none knows is somebody's all the same: its
state may be lost, or in another backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from cloudpc.model.machines import Host, Machine, State
from cloudpc.model.tags import Phase
from cloudpc.operations.records import StackRecord

Found = list[tuple[Host, Machine]]
_HOSTS_AT_ONCE = 32


@dataclass(frozen=True)
class Inventory:
    """Machines by what state says of them; nothing, where no stack is asked."""

    given: frozenset[UUID] = frozenset()
    """Their users have them."""
    begun: frozenset[UUID] = frozenset()
    """There is an entry without a machine, or an operation that a dead run had begun: what is there is unfinished."""
    remembered: frozenset[UUID] = frozenset()
    """All that state has anything of, also of those that are gone."""
    kept_off: frozenset[UUID] = frozenset()
    """Those that an admin wants off."""
    policies: frozenset[str] = frozenset()
    """Whose stacks have run: what is half made of theirs is theirs to sweep."""

    @classmethod
    def of(cls, records: Sequence[StackRecord]) -> Inventory:
        """What these stacks know."""
        given: set[UUID] = set()
        begun = {machine for record in records for machine in record.begun}
        for cloud_pc in (c for record in records for c in record.cloud_pcs):
            (given if cloud_pc.recorded.has_machine else begun).add(cloud_pc.recorded.machine_id)
        return cls(
            frozenset(given),
            frozenset(begun),
            frozenset[UUID]().union(*(record.machines for record in records)),
            frozenset(c.recorded.machine_id for r in records for c in r.cloud_pcs if c.recorded.is_kept_off),
            frozenset(record.policy for record in records if record.installation),
        )

    def unknown(self, hosts: Sequence[Host], installation: str | None, policy: str | None = None) -> Found:
        """An installation's machines that no user has by state: lost ones, unfinished ones, another backend's.

        Args:
            hosts: where to look; all are asked at once.
            installation: whose; None where there is none, so that nothing is its.
            policy: only this policy's.

        Raises:
            ProvisioningError: a host does not answer.
        """
        if not (installation and hosts):
            return []
        with ThreadPoolExecutor(min(len(hosts), _HOSTS_AT_ONCE)) as pool:
            owned = pool.map(lambda host: host.owned(installation, besides=self.given), hosts)
            return [
                (host, machine)
                for host, machines in zip(hosts, owned, strict=True)
                for machine in machines
                if policy in (None, machine.tag.policy_id)
            ]

    def is_lost(self, machine: Machine) -> bool:
        """Whether somebody works on it, and no state knows."""
        return machine.tag.phase is Phase.HANDED_OVER and machine.id not in self.given

    def is_unfinished(self, machine: Machine) -> bool:
        """Whether it is what a run of these stacks had begun, and nobody was ever given.

        A complete one (`ready`) may be in use by another backend's state, which has not said so on the host yet.
        """
        if machine.state is State.GOING:
            return True
        half_made = machine.tag.phase is Phase.PROVISIONING and machine.tag.policy_id in self.policies
        return half_made or (machine.id in self.begun and machine.tag.phase is not Phase.HANDED_OVER)

    def is_strange(self, machine: Machine) -> bool:
        """Whether no stack has anything to do with it, not even as something to be finished."""
        return machine.id not in self.given | self.begun and not self.is_unfinished(machine)


def named(found: Found) -> str:
    """For messages."""
    return ", ".join(f"{machine.name} on {host.name}" for host, machine in found)
