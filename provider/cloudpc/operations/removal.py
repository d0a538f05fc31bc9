"""Taking a Cloud PC away: its machine, and what directories know of it.

What must not happen: that a machine is deleted which somebody works on and state does not know; that one policy takes
from another; that something registered stays of which nothing remembers that it is there. So hosts are looked at
first, and a machine whose tag alone remembers a registration goes only after that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from cloudpc.model.cloud_pc import WAITING, RecordedCloudPC, Status
from cloudpc.model.errors import TagUnreadable
from cloudpc.model.machines import Host, Machine, Removed
from cloudpc.model.remnants import of_machine
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.inventory import Found, named
from cloudpc.operations.organisation import Organisation
from cloudpc.provisioning.registration import release, trying

log = logging.getLogger(__name__)

_MAY_HAVE_KEPT = (Status.FAILED, Status.DEPROVISIONING)
_OF_A_DOMAIN = "its computer account"


class Removal:
    """Removes from these hosts, and from the organisation's directories."""

    def __init__(self, hosts: Sequence[Host], organisation: Organisation, consent: Consent) -> None:
        self._hosts = hosts
        self._organisation = organisation
        self._consent = consent

    def remove(self, identity: UUID, recorded: RecordedCloudPC, below: int | None = None) -> list[str]:
        """Remove a Cloud PC whole; returns what could not be removed now, in words. Idempotent.

        Args:
            identity: the machine's.
            recorded: what state knows of it: other policies' machines are left alone.
            below: only a machine of an older generation than this, and that only if all the rest can go. Who makes it
                anew sees for itself whether it is still going.
        """
        try:
            machines, left = self._look(identity, recorded)
        except TagUnreadable as error:
            return [error.message]  # somebody may work on it: what directories know of it stays as well
        own = [(host, machine) for host, machine in machines if machine.tag.policy_id == recorded.policy_id]
        handed_over = any(machine.tag.phase is Phase.HANDED_OVER for _, machine in own)
        if handed_over and not recorded.has_machine:
            return self._left_untouched(own, recorded)
        if left and below is not None:
            return left
        released = False
        if len(own) == len(machines) or recorded.device or recorded.computer:
            released, refused = self._release_recorded(recorded)
            left += refused
        if left and below is not None:
            return left
        for host, machine in own:
            if below is None or machine.tag.generation < below:
                left += self._delete(host, machine, None if released else recorded, may_be_going=below is not None)
        undefined = recorded.has_machine and not machines  # by somebody's hand, which leaves its disk
        if undefined or (recorded.status in _MAY_HAVE_KEPT and not recorded.is_not_in_state):
            for host in (host for host in self._hosts if host.name not in self._consent.forget_hosts):
                discard = partial(_discard, host, recorded.installation, identity)
                why = trying(f"what is kept of it on {host.name}", str(identity), discard)
                if recorded.has_machine and recorded.host == host.name and not left:
                    left += why  # its disk, perhaps; what is kept for diagnosis goes when its time is over
        return left

    def _left_untouched(self, own: Found, recorded: RecordedCloudPC) -> list[str]:
        """Whoever may delete a whole policy may delete what its state knows: a machine that it lacks keeps no entry."""
        told = (
            f"{named(own)} was handed over to its user before, and state does not know it: "
            "`cloudpc adopt` takes it back, `cloudpc adopt --remove` deletes it"
        )
        if self._consent.delete != recorded.policy_id:
            return [told]
        log.warning("left untouched: %s", told)
        return []

    def delete_unknown(self, host: Host, machine: Machine, *, forget: bool = False) -> list[str]:
        """Delete a machine that state does not know, and before that what directories know of it.

        Returns:
            What could not be taken back there; the machine stays then, because it alone remembers. Or that its host
            is still at it.

        Raises:
            ProvisioningError: the machine can't be deleted.
        """
        left = self._release_tagged(machine.tag)
        if left and not forget:
            return left
        return _delete(host, machine)

    def _look(self, identity: UUID, recorded: RecordedCloudPC) -> tuple[Found, list[str]]:
        """The machines of this identity, and why it can't be said that there are no others. Raises TagUnreadable."""
        found: Found = []
        unreadable: list[TagUnreadable] = []
        left: list[str] = []
        for host in self._hosts:
            look = partial(_add, found, unreadable, host, identity)
            why = trying(f"its machine on {host.name}", str(identity), look)
            if recorded.host == host.name:
                left += why
        if unreadable:
            raise unreadable[0]
        its_own = (recorded.policy_id, recorded.generation)
        moved = any((machine.tag.policy_id, machine.tag.generation) == its_own for _, machine in found)
        if recorded.host not in [host.name for host in self._hosts] and not moved:  # nor under the host's new name
            left.append(
                f"its machine is on the host {recorded.host}, which is not in cloudpc:hosts; bring it back there, or "
                f"if it is gone for good: `cloudpc up {recorded.policy_id} --forget-host {recorded.host}`"
            )
        may_be_there = recorded.host and (recorded.has_machine or _remains(recorded))
        return found, left if may_be_there and recorded.host not in self._consent.forget_hosts else []

    def _delete(
        self, host: Host, machine: Machine, unreleased: RecordedCloudPC | None, *, may_be_going: bool
    ) -> list[str]:
        if unreleased is not None and (left := self._release_tagged(machine.tag)):
            return self._unless_forgotten(unreleased.policy_id, left)
        going: list[str] = []
        left = trying(f"its machine on {host.name}", machine.name, lambda: going.extend(_delete(host, machine)))
        return left if may_be_going else left + going

    def _release_recorded(self, recorded: RecordedCloudPC) -> tuple[bool, list[str]]:
        """What state remembers, or says may be there; and whether it says so at all."""
        remains = _remains(recorded)
        if (recorded.status in WAITING or (recorded.status is Status.FAILED and not recorded.is_lost)) and not remains:
            return False, []  # what was begun has been taken back
        joined = [network.connection for network in recorded.settings.networks if network.joins_domain]
        still_joined = remains or any(leftover.startswith(_OF_A_DOMAIN) for leftover in recorded.leftovers)
        left = release(
            self._organisation.registration(recorded.device.registration if recorded.device else None),
            recorded.identity,
            device=recorded.device,
            computer=recorded.computer,
            connections=joined if still_joined and recorded.computer is None else (),
        )
        return True, self._unless_forgotten(recorded.policy_id, left)

    def _release_tagged(self, tag: Tag) -> list[str]:
        return release(self._organisation.registration(), tag.identity, connections=tag.joined)

    def _unless_forgotten(self, policy_id: str, left: list[str]) -> list[str]:
        """A tenant or domain that is gone for good must not keep a policy for ever: somebody may say so."""
        if left and self._consent.forget_registrations == policy_id:
            log.warning("forgotten on demand: %s", "; ".join(left))
            return []
        return left


def _delete(host: Host, machine: Machine) -> list[str]:
    """Returns that its host is still at it, if so. Raises ProvisioningError."""
    if host.delete(machine.id, Watch().within(REMOVED_WITHIN)) is Removed.GONE:
        return []
    return [f"its machine {machine.name} on {host.name} is still being removed"]


def _discard(host: Host, installation: str, identity: UUID) -> None:
    host.discard(of_machine(host.remnants(installation), identity))


def _remains(recorded: RecordedCloudPC) -> bool:
    """Whether something of it could not be taken back when it failed."""
    detail = recorded.status_detail
    return detail is not None and "remains" in detail.additional_information


def _add(found: Found, unreadable: list[TagUnreadable], host: Host, identity: UUID) -> None:
    try:
        if (machine := host.describe(identity)) is not None:
            found.append((host, machine))
    except TagUnreadable as error:
        unreadable.append(error)
