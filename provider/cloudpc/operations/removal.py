"""Taking a Cloud PC away: its machine, and what directories know of it.

What must not happen: that a machine is deleted which somebody works on and state does not know; that one policy takes
from another; that something registered stays of which nothing remembers that it is there. So hosts are looked at
first, and a machine whose tag alone remembers a registration goes only after that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from cloudpc.model.abilities import leaves_only_data
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.errors import ProvisioningError, TagUnreadable
from cloudpc.model.machines import Host, Machine, Removed
from cloudpc.model.remnants import Kind, Remnant, kept, of_machine
from cloudpc.model.tags import Phase
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.inventory import Found, named
from cloudpc.operations.organisation import Organisation
from cloudpc.operations.releasing import Releasing, may_be_registered, remains
from cloudpc.operations.second_look import is_still_there
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.registration import trying

log = logging.getLogger(__name__)

_WITHIN = 60.0
"""Seconds for what a host says: a cloud that has much to do takes its time, and what is not known is not removed."""
_MAY_HAVE_KEPT = (Status.FAILED, Status.DEPROVISIONING)


@dataclass(frozen=True)
class _There:
    """What hosts have under one machine id."""

    machines: Found
    own: Found
    """Those of its policy."""
    doubts: list[str]
    """Why it can't be said that there are no others."""
    silent: list[str]
    """Why it can't be said where else it may be by now, if its own host does not have it."""

    def is_unknown_to(self, recorded: RecordedCloudPC) -> bool:
        """Whether its user was given one of them that state does not know: it may be an older copy."""
        given = [machine for _, machine in self.own if machine.tag.phase is Phase.HANDED_OVER]
        return any(not recorded.has_machine or machine.tag.generation > recorded.generation for machine in given)

    @property
    def is_its_own(self) -> bool:
        """Whether no other policy has one."""
        return len(self.own) == len(self.machines)


class Removal:
    """Removes from these hosts, and from the organisation's directories."""

    def __init__(
        self, hosts: Sequence[Host], organisation: Organisation, consent: Consent, looks: Looks | None = None
    ) -> None:
        self._hosts = hosts
        self._looks = looks or Looks(Ledger(hosts))
        self._releasing = Releasing(organisation, consent)
        self._consent = consent

    def remove(self, machine_id: UUID, recorded: RecordedCloudPC, below: int | None = None) -> list[str]:
        """Remove a Cloud PC completely; returns what could not be removed now, in words. Idempotent.

        Args:
            machine_id: the machine's.
            recorded: what state knows of it: other policies' machines are left alone.
            below: only a machine of an older generation than this, and that only if all the rest can go. Whoever makes
                it again sees for itself whether it is still going.
        """
        try:
            there = self._look(machine_id, recorded)
        except TagUnreadable as error:
            return [error.message]  # somebody may work on it: what directories know of it stays as well
        if there.is_unknown_to(recorded):
            return self._left_untouched(there.own, recorded)
        if below is not None and (doubts := there.doubts or there.silent):
            return doubts
        releases = may_be_registered(recorded) and (there.is_its_own or bool(recorded.device or recorded.computer))
        left = [*there.doubts, *(self._releasing.recorded(recorded) if releases else ())]
        if left and below is not None:
            return left
        left += self._delete_own(there.own, recorded, below, released=releases)
        return left + self._discard(machine_id, recorded, there, below, told=bool(left))

    def delete_unknown(self, host: Host, machine: Machine, *, forget: bool = False) -> list[str]:
        """Delete a machine that state does not know, and before that what directories know of it.

        Returns:
            What could not be taken back there; the machine stays then, because it alone remembers. Or that its host
            is still at it. Nothing if there is another by now, or none: the list that had it was an old one.

        Raises:
            ProvisioningError: the machine can't be deleted.
        """
        if not is_still_there(host, machine):
            return []
        left = self._releasing.tagged(host, machine)
        if left and not forget:
            return left
        return self._delete(host, machine)

    def _look(self, machine_id: UUID, recorded: RecordedCloudPC) -> _There:
        """Raises TagUnreadable."""
        found: Found = []
        unreadable: list[TagUnreadable] = []
        doubts: list[str] = []
        silent: list[str] = []
        for host, seen in self._looks.begin(machine_id).seen(_WITHIN):
            match seen:
                case Machine():
                    found.append((host, seen))
                case TagUnreadable():
                    unreadable.append(seen)
                case ProvisioningError() if recorded.host == host.name:
                    doubts.append(f"its machine on {host.name}: {seen.message}")
                case ProvisioningError() if host.name not in self._consent.forget_hosts:
                    silent.append(
                        f"its machine is not on {recorded.host}, and may be on {host.name}: {seen.message}; "
                        "if that host is gone for good, take it out of cloudpc:hosts"
                    )
        if unreadable:
            raise unreadable[0]
        own = [(host, machine) for host, machine in found if machine.tag.policy_id == recorded.policy_id]
        doubts += self._host_is_gone(recorded, own)
        may_be_there = recorded.host and (recorded.has_machine or remains(recorded))
        forgotten = recorded.host in self._consent.forget_hosts
        is_missed = recorded.has_machine and not recorded.is_lost and not own
        return _There(
            found,
            own,
            doubts if may_be_there and not forgotten else [],
            silent if is_missed and not forgotten else [],
        )

    def _host_is_gone(self, recorded: RecordedCloudPC, own: Found) -> list[str]:
        """If it is no longer configured, and does not have its machine under another name."""
        has_it = any(machine.tag.generation == recorded.generation for _, machine in own)
        if has_it or recorded.host in [host.name for host in self._hosts]:
            return []
        return [
            f"its machine is on the host {recorded.host}, which is not in cloudpc:hosts; put the host back "
            f"there, or, if it is gone for good, run `cloudpc up {recorded.policy_id} --forget-host {recorded.host}`"
        ]

    def _left_untouched(self, own: Found, recorded: RecordedCloudPC) -> list[str]:
        """Whoever may delete a policy may delete what its state knows: a machine unknown to state keeps no entry."""
        told = (
            f"{named(own)} was handed over to its user before, and state does not know it; "
            "`cloudpc adopt` takes it back, `cloudpc adopt --remove` deletes it"
        )
        if self._consent.delete != recorded.policy_id:
            return [told]
        log.warning("left untouched: %s", told)
        return []

    def _delete_own(self, own: Found, recorded: RecordedCloudPC, below: int | None, *, released: bool) -> list[str]:
        """The policy's machines; with what only their tags remember, as of one that a reprovision had begun.

        Args:
            own: the machines.
            recorded: what state knows of them.
            below: as in `remove`.
            released: whether what state remembers is taken back already.
        """
        older = own if below is None else [each for each in own if each[1].tag.generation < below]
        left: list[str] = []
        for host, machine in older:
            is_released = released and machine.tag.identity == recorded.identity
            if not is_released and (refused := self._releasing.tagged_of(recorded.policy_id, host, machine)):
                left += refused
                continue
            going: list[str] = []
            left += trying(
                f"its machine on {host.name}", machine.name, partial(self._delete_into, going, host, machine)
            )
            left += going if below is None else []
        return left

    def _delete(self, host: Host, machine: Machine) -> list[str]:
        """Returns that its host is still removing it, if so. Raises ProvisioningError."""
        if host.delete(machine.id, Watch().within(REMOVED_WITHIN)) is Removed.GONE:
            self._looks.ledger.gone(host, machine.id, machine.size)
            return []
        return [f"its machine {machine.name} on {host.name} is still being removed"]

    def _delete_into(self, going: list[str], host: Host, machine: Machine) -> None:
        going += self._delete(host, machine)

    def _discard(
        self, machine_id: UUID, recorded: RecordedCloudPC, there: _There, below: int | None, *, told: bool
    ) -> list[str]:
        """What is left of it beside its machine; returns what of that its host can't remove yet.

        A host that does not say what there is counts only where its disk may be, and if nothing else is reported. What
        is kept for diagnosis goes when its time is over.
        """
        undefined = recorded.has_machine and not there.machines  # by somebody's hand, which leaves its disk
        whole = undefined or (recorded.status in _MAY_HAVE_KEPT and not recorded.is_not_in_state)
        if not whole and below is not None:  # whoever makes it again sees to it
            return []
        left: list[str] = []
        for host in self._not_forgotten() if whole else _with_more_than_data(there.own):
            stays: list[str] = []
            discard = partial(self._discard_into, stays, host, recorded, machine_id, whole=whole)
            why = trying(f"what is kept of it on {host.name}", str(machine_id), discard)
            if recorded.has_machine and recorded.host == host.name and not told:
                left += why
            left += stays if below is None else []
        return left

    def _discard_into(
        self, stays: list[str], host: Host, recorded: RecordedCloudPC, machine_id: UUID, *, whole: bool
    ) -> None:
        """What a machine has left; unless `whole`, only what holds no data: copies of its disk may lie beside it.

        All that end at this moment share a list of what there is: it is as long as all machines of the host.
        """
        of_it = of_machine(self._looks.remnants(host, recorded.installation, within=_WITHIN), machine_id)
        its = [each for each in of_it if each.policy_id in ("", recorded.policy_id)]
        its = [each for each in its if not each.by_hand and (whole or not each.kind.may_hold_data)]
        if not its:
            return
        gone = self._looks.discard(host, its)
        stays += [
            f"its {each.kind} {each.name} on {host.name} can't be removed yet"
            for each in its
            if each.name not in gone and _counts(each, its)
        ]

    def _not_forgotten(self) -> Iterable[Host]:
        return (host for host in self._hosts if host.name not in self._consent.forget_hosts)


def _with_more_than_data(found: Found) -> list[Host]:
    """Hosts where something that holds no data may outlive these machines."""
    return [host for host, _ in found if not leaves_only_data(host)]


def _counts(remnant: Remnant, its: list[Remnant]) -> bool:
    """A volume that stays is one that somebody's own machine or overlay lies on: theirs by now."""
    return remnant.kind is not Kind.VOLUME and remnant not in kept(its)
