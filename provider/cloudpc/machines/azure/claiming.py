"""Claims a machine by making it, where there is none: Azure reserves a place in no other way.

Three guards keep two from making the same one. Azure makes it only where its name is free (`If-None-Match`). Should it
not mind that, it refuses to change what the first boot of the other's reads, which holds the attempt's token. And the
tag is read back: it has the token, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cloudpc.machines.azure.arm_error import ArmError, Meaning
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.description import Found, Statuses, id_of, is_going, tags_of
from cloudpc.machines.azure.errors import AzureFailed, classify
from cloudpc.machines.azure.names import Parts, name_of
from cloudpc.machines.azure.order import Request, card_body, machine_body
from cloudpc.machines.azure.pace import placed
from cloudpc.machines.azure.parts import Part, PartsOfGroup
from cloudpc.machines.azure.removal import PATIENCE, Removal
from cloudpc.machines.azure.sizes import Candidate, Sizes, beyond_maximum
from cloudpc.machines.azure.tags import PHASE, attempt_of
from cloudpc.machines.azure.virtual_machines import VirtualMachines, view_of
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.machines import Claimed, Machine, Order
from cloudpc.model.remnants import Kind
from cloudpc.model.tags import Phase
from cloudpc.model.text import some_of
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

log = logging.getLogger(__name__)
_BELIEVED = 6
"""One in so many looks at a machine that is being made also looks at its operation."""


class Claiming:
    """On one host.

    Args:
        arm: asks Azure.
        config: the host's.
        machines: its machines.
        parts: what they are made of.
        removal: takes back what came to nothing.
        sizes: learns where there was no room.
        describe: says what a machine is; raises TagUnreadable.
    """

    def __init__(
        self,
        arm: Arm,
        config: AzureHostConfig,
        machines: VirtualMachines,
        parts: PartsOfGroup,
        removal: Removal,
        sizes: Sizes,
        describe: Callable[[UUID], Machine | None],
    ) -> None:
        self._arm = arm
        self._config = config
        self._machines = machines
        self._parts = parts
        self._removal = removal
        self._sizes = sizes
        self._describe = describe
        self._stays: dict[UUID, list[Part]] = {}
        """What tries have left that Azure has not let go of yet, by machine."""

    def refuse_existing(self, order: Order) -> None:
        """Raises Claimed, unless there is none, or it is this attempt's; TagUnreadable."""
        machine = self._describe(order.id)
        if machine is not None and machine.tag.attempt != order.tag.attempt:
            raise Claimed(machine)

    def refuse_beyond_maximum(self, order: Order) -> None:
        """Give way to those that were there before, now that it is there: other processes may have let some in, too.

        Of all that are being made at once each sees those that Azure has accepted before it, so that only the last
        ones give way. Where a list lags they are seen later: whoever makes it looks once more when it is ready.

        Raises:
            ProvisioningError: NO_CAPACITY: it is one more than `maxCloudPCs`.
        """
        most = self._config.max_cloud_pcs
        own = None if most is None else self._machines.get(name_of(order.id))
        if most is None or own is None:
            return
        others = [vm for vm in self._machines.list() if vm["name"] != own["name"] and id_of(vm) and not is_going(vm)]
        before = [vm for vm in others if _age(vm) < _age(own)]
        if len(before) >= most:
            raise beyond_maximum(self._config.name, len(before), most)

    def claim(self, requests: list[Request], watch: Watch) -> None:
        """Make the machine as one of these asks for it, trying them in their order.

        Raises:
            Claimed: somebody was faster.
            ProvisioningError: NO_CAPACITY, none of these has room; others. Nothing of it is left, but for what Azure
                refuses to remove: that is said.
        """
        try:
            self._first_of(requests, watch)
        except ProvisioningError as error:
            left = {part.name: self._parts.refused(part) for part in self._stays.get(requests[0].order.id, ())}
            if refused := {name: why for name, why in left.items() if why}:
                why, names = "; ".join(dict.fromkeys(refused.values())), list(refused)
                error.adding(f"{some_of(names)} can't be removed, which each run tries again: {why}")
            raise

    def _first_of(self, requests: list[Request], watch: Watch) -> None:
        refusals: list[tuple[Candidate, AzureFailed]] = []
        for request in requests:
            if any(_is_no_better(request.candidate, *refusal) for refusal in refusals):
                continue
            watch.note(f"asking {self._config.name} for {_words(request.candidate)}")
            try:
                self._try(request, watch)
            except AzureFailed as failed:
                if failed.arm.meaning is not Meaning.NO_ROOM:
                    raise
                self._sizes.refused(request.candidate)
                refusals.append((request.candidate, failed))
            else:
                self._remove_others(request, watch)
                return
        raise self._no_room(requests[0].order, refusals)

    def _try(self, request: Request, watch: Watch) -> None:
        operation = None
        try:
            card_id = self._make_card(request, watch)
            operation = self._put(request, card_id, watch)
            self._wait_until_allocated(request, operation, watch)
            self.refuse_beyond_maximum(request.order)
        except BaseException as error:  # also Ctrl-C: what was accepted is given back
            accepted = operation is not None and not isinstance(error, Claimed)
            self._give_back(request, watch, accepted=accepted, waits=not isinstance(error, Cancelled))
            raise

    def _make_card(self, request: Request, watch: Watch) -> str:
        try:
            return self._parts.make_card(request.parts.card, card_body(request, self._config), watch)
        except AzureFailed as failed:
            if failed.arm.meaning in (Meaning.MISSING, Meaning.NETWORK):
                message = (
                    f"{self._config.name} finds no subnet {request.subnet_id} in {self._config.location}: it is not "
                    f"there, or in another region ({failed.arm.telling.code})"
                )
                hint = (
                    f"correct hostedNetwork of {self._config.name} or the connection's subnetId: the network must be "
                    "there, and in the region of its host; `cloudpc doctor` and `cloudpc connection check` look"
                )
                raise ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, message, hint=hint) from failed
            raise

    def _put(self, request: Request, card_id: str, watch: Watch) -> Any:
        """The operation that makes it; None if it was made although Azure did not say so."""
        body = machine_body(request, self._config, card_id)
        try:
            return self._machines.begin_making(request.name, body, watch)
        except AzureFailed:
            self.refuse_existing(request.order)
            if self._machines.get(request.name, watch=watch) is None:
                raise
            return None  # a request whose answer was lost is repeated, and finds what it made itself

    def _wait_until_allocated(self, request: Request, operation: Any, watch: Watch) -> None:
        name = request.name
        for looks, pause in enumerate(placed(self._arm), 1):
            watch.wait(pause)
            found = self._machines.get(name, "instanceView", watch)
            is_at_it = found is not None and _is_at_it(found)
            made = None if is_at_it and looks % _BELIEVED else self._made(name, operation, watch)
            found = found or made
            if found is None and operation is not None and not operation.is_done:
                continue  # not all of Azure knows yet what was accepted
            if found is None:
                raise ProvisioningError(ErrorCode.HYPERVISOR_ERROR, f"{name} vanished from {self._config.name}")
            if not _is_of(found, request.order):
                self.refuse_existing(request.order)
            statuses = Statuses(view_of(found))
            if made is not None or statuses.is_allocated:
                return
            if operation is None and statuses.failure:
                code, words = statuses.failure
                raise classify(ArmError(code, words), f"make {name}", self._config.name)
            watch.note(f"waiting for {self._config.name} to find a place for it")

    def _made(self, name: str, operation: Any, watch: Watch) -> Found | None:
        """The machine, if the operation that makes it is done. Raises the operation's failure."""
        if operation is None:
            return None
        with self._arm.asking(f"make {name}", watch):
            made: Found | None = operation.result() if operation.look() else None
        return made

    def _give_back(self, request: Request, watch: Watch, *, accepted: bool, waits: bool) -> None:
        """Remove what a try has left, and nothing of anybody else's.

        Args:
            request: what was tried.
            watch: ends the waiting.
            accepted: the machine was: it is removed even where Azure does not show it yet.
            waits: for the machine's end, so that its card and its disk can go by name. Without, Azure takes them with
                it; what it leaves is a remnant.
        """
        ours = Watch().within(PATIENCE)  # whoever has cancelled does not want it either
        try:
            found = self._machines.get(request.name, watch=ours)
            if accepted if found is None else _is_of(found, request.order):
                self._machines.begin_deleting(request.name, ours)
                if not waits or not self._removal.is_gone(request.name, watch.within(PATIENCE)):
                    return
            for part in (Part(Kind.NETWORK_CARD, request.parts.card), Part(Kind.DISK, request.parts.disk)):
                if not self._parts.remove(part, ours):
                    self._stays.setdefault(request.order.id, []).append(part)
        except (ProvisioningError, Cancelled) as error:
            log.info("could not give back %s: %s", request.name, error)

    def tidy(self, machine_id: UUID) -> None:
        """Remove what tries had to leave that came before the one that made this machine, now that it is complete.

        Azure holds a card for 180 s for a machine that failed; as long as there is a machine, nobody else looks for it.
        """
        try:
            for part in self._stays.pop(machine_id, ()):
                self._parts.remove(part, Watch().within(PATIENCE))
        except ProvisioningError as error:  # it goes with its machine
            log.info("could not tidy up after earlier tries at %s: %s", machine_id, error)

    def _remove_others(self, request: Request, watch: Watch) -> None:
        """What attempts have left that died before they had a machine: those parts are nobody's, now that there is one.

        Somebody who claims it at this moment does without them, too.
        """
        own = {request.parts.card, request.parts.disk}
        try:
            for part in self._parts.left_before(request.order.id):
                if part.name.lower() not in own:
                    self._parts.remove(part, watch)
        except ProvisioningError as error:  # a later run does
            log.info("could not tidy up after earlier attempts at %s: %s", request.name, error)

    def _no_room(self, order: Order, refusals: list[tuple[Candidate, AzureFailed]]) -> ProvisioningError:
        size, sizes = order.size, dict[str, list[str]]()
        for candidate, failed in refusals:
            sizes.setdefault(failed.why, []).append(_words(candidate))
        why = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in sizes.items())
        return ProvisioningError(
            ErrorCode.NO_CAPACITY,
            f"{self._config.name} has no place for {size.vcpus} vCPU and {size.memory_mib // 1024} GB: {why}",
            hint="Wait, name further sizeFamilies, sizes or zones in cloudpc:hosts, ask Microsoft for more quota, or "
            "add a host in another region.",
        )


def requests_of(
    order: Order, candidates: list[Candidate], make: Callable[[Candidate, Parts], Request]
) -> list[Request]:
    """One for each candidate, with names of its own for what it makes."""
    name, attempt = name_of(order.id), order.tag.attempt or "0"
    return [make(candidate, Parts.of(name, attempt, number)) for number, candidate in enumerate(candidates)]


def _age(found: Found) -> tuple[bool, str, str]:
    """Sort key that is the same for whoever looks: machines that somebody owns come first."""
    is_new = tags_of(found).get(PHASE) == Phase.PROVISIONING.value
    return is_new, str((found.get("properties") or {}).get("timeCreated") or ""), str(found["name"])


def _is_at_it(found: Found) -> bool:
    """Whether the machine itself says that it is being made: then its operation need not be asked as well."""
    return (found.get("properties") or {}).get("provisioningState") in ("Creating", "Updating")


def _is_of(found: Found, order: Order) -> bool:
    return attempt_of(tags_of(found)) == order.tag.attempt


def _is_no_better(candidate: Candidate, refused: Candidate, failed: AzureFailed) -> bool:
    """Whether it fails like the one that was refused: quota is a family's in all zones of a region."""
    is_quota = any("quota" in error.message.lower() for error in failed.arm.all())
    return is_quota and candidate.family == refused.family


def _words(candidate: Candidate) -> str:
    return f"{candidate.size} in zone {candidate.zone}" if candidate.zone else candidate.size
