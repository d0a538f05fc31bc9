"""A place for a Cloud PC's machine: what is there of it already, and which host takes it; one alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pydantic import ValidationError

from cloudpc.model.abilities import JoinsEntra
from cloudpc.model.cloud_pc import Account, DesiredCloudPC, NetworkChoice, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.machines import Claimed, Host, Machine, Network, State
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase, Tag
from cloudpc.provisioning.attempt import Attempt, Earlier, Placed
from cloudpc.provisioning.clean_up import CleanUp, going
from cloudpc.provisioning.enrolment import Enrolment
from cloudpc.provisioning.order import fitting
from cloudpc.provisioning.placement import Search, waiting_for
from cloudpc.provisioning.registration import mark_of, release
from cloudpc.provisioning.resources import Resources

_ITS_IMAGE = (ErrorCode.IMAGE_NOT_FOUND, ErrorCode.IMAGE_INVALID)
"""A cloud's host finds out when it is asked: another region, or another kind of host, may have the image."""


class Claim:
    """One attempt's.

    Args:
        attempt: whose; receives where its machine goes.
        resources: hosts, and what else is asked.
        earlier: what attempts before have come to.
        clean_up: removes what is in the way.
        enrolment: knows the tenant that it is to join.
    """

    def __init__(
        self, attempt: Attempt, resources: Resources, earlier: Earlier, clean_up: CleanUp, enrolment: Enrolment
    ) -> None:
        self._attempt = attempt
        self._resources = resources
        self._earlier = earlier
        self._clean_up = clean_up
        self._enrolment = enrolment

    def found(self) -> tuple[Host, Machine] | None:
        """A complete machine that a run made and died before state knew; unfinished ones are removed here."""
        for host in self._resources.ledger.may_have(self._attempt.id):
            machine = self._there(host)
            if machine is None:
                continue
            self._check_ours(machine)
            if self._is_complete(machine):
                self._clean_up.forget(host)
                return host, machine
            self._remove(host, machine)
        return None

    def place(self) -> Host:
        """Claim a place on a host: the policy's networks in order, on each the roomiest host that costs nothing first.

        Raises:
            Placed: it has to wait, or is not for this policy.
            ProvisioningError: others than what is waited for.
        """
        order, last = self._attempt.order, self._earlier.failed_on
        ledger, places, paid = self._resources.ledger, self._resources.places, self._resources.paid
        errors: list[ProvisioningError] = []
        with Search(ledger, places, order.id, order.size, last, paid) as search:
            for choice in self._attempt.desired.settings.networks:
                if taken := self._through(choice, search, errors):
                    return taken
            errors = [*search.errors(), *errors]
        error = waiting_for(errors)
        if not error.code.meaning.waits:
            if error.code in _ITS_IMAGE:
                self._attempt.watch.stage(Stage.IMAGE)
            raise error
        raise Placed(Status.PENDING_PROVISION, error)

    def _there(self, host: Host) -> Machine | None:
        """What a host has of it; a host that is down takes no new machine either, which placing reports.

        Raises:
            TagUnreadable: a second one beside it would be one too many.
        """
        ledger = self._resources.ledger
        try:
            with ledger.calling(host):
                machine = host.describe(self._attempt.id)
        except TagUnreadable:
            raise
        except ProvisioningError:
            return None
        if machine is None:
            ledger.gone(host, self._attempt.id)
        return machine

    def _check_ours(self, machine: Machine) -> None:
        if machine.tag.policy_id != self._attempt.tag.policy_id:
            raise Placed(
                Status.NOT_PROVISIONED,
                ProvisioningError(
                    ErrorCode.OTHER_POLICY_FIRST,
                    f"the user's Cloud PC of this service plan belongs to the policy {machine.tag.policy_id!r}",
                ),
            )
        if machine.tag.phase is Phase.HANDED_OVER and self._attempt.desired.key not in self._resources.adoptable:
            raise ProvisioningError(
                ErrorCode.MACHINE_NOT_IN_STATE,
                f"the machine {machine.name} was handed over to this user before, but this stack's state does not "
                "know it; it is left untouched",
                retriable=False,
                hint="`cloudpc adopt` takes it back as it is, with new credentials, or removes it",
            )

    def _is_complete(self, machine: Machine) -> bool:
        """Whether to take it over as it is."""
        if machine.tag.phase is Phase.HANDED_OVER:  # and may be adopted, or this would have been refused
            return True
        if machine.tag.phase is Phase.READY and self._is_meant(machine.tag):
            self._attempt.tag = replace(self._attempt.tag, attempt=machine.tag.attempt)
            return True
        return False

    def _is_meant(self, tag: Tag) -> bool:
        return _is_same(tag, self._attempt.tag, self._attempt.desired.account)

    def _remove(self, host: Host, machine: Machine) -> None:
        if machine.state is not State.GOING:
            self._attempt.watch.note("removing what an interrupted run left")
            self._release_another(machine.tag, mark_of(host, machine.id))
        try:
            self._clean_up.delete(self._attempt, host, of_any_attempt=True)
        except ProvisioningError as stays:
            if self._earlier.failure is not None:
                # what failed first is the news; that its remains can't be removed is reported beside it
                error, stage = self._earlier.failure
                self._attempt.watch.stage(stage)
                raise error from None
            if stays.code is ErrorCode.MACHINE_GOING:
                raise Placed(Status.PENDING_PROVISION, stays) from None
            raise

    def _release_another(self, tag: Tag, mark: str) -> None:
        """Take back what directories know of an unfinished one that is not this one: its tag alone remembers that.

        Raises:
            ProvisioningError: not for now, so that its machine, and with it the tag, has to stay.
        """
        if tag.identity == self._attempt.desired.identity:
            return  # registered again, which finds it
        if left := release(self._resources.registration, tag.identity, connections=tag.joined, mark=mark):
            message = f"what an interrupted run left can't be removed yet: {'; '.join(left)}"
            raise ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message)

    def _through(self, choice: NetworkChoice, search: Search, errors: list[ProvisioningError]) -> Host | None:
        """Claim a place on one of these hosts in this network; collects the reasons of those that refuse."""
        joined_through = choice.connection if choice.joins_domain else ""
        self._attempt.tag = replace(self._attempt.tag, joined_through=joined_through)
        self._attempt.connection = choice.connection
        if unhealthy := self._unhealthy(choice):
            errors.append(unhealthy)
            return None
        network, size, ledger = Network(choice.kind, choice.source), self._attempt.order.size, self._resources.ledger
        self._attempt.order = replace(self._attempt.order, network=network)
        for host in search.candidates():
            if refusal := ledger.refusal(host, size, network):
                errors.append(refusal)
            elif error := self._claim(host):
                ledger.refused(host, size, network, error)
                errors.append(error)
            else:
                ledger.claimed(host, self._attempt.id, size)
                self._check_alone(host)
                return host
        return None

    def _unhealthy(self, choice: NetworkChoice) -> ProvisioningError | None:
        if self._resources.healthy is None or not choice.connection:
            return None
        self._attempt.watch.note(f"checking the connection {choice.connection}")
        afresh = choice.connection in self._earlier.doubted
        self._earlier.doubted.discard(choice.connection)
        return self._resources.healthy(choice, afresh)

    def _claim(self, host: Host) -> ProvisioningError | None:
        """Claim a place on this host, or say what has to be waited for, or that it can't have the image."""
        image = fitting(self._attempt.desired.service_plan, self._resources.image_on(host))
        try:
            joins = self._joins_by(host)
            self._attempt.order = order = replace(self._attempt.order, image=image, joins_entra=joins)
            with self._resources.ledger.calling(host):
                host.claim(order, self._attempt.watch)
        except Claimed as claimed:  # another stack was faster
            if claimed.machine.state is State.GOING:
                return going(claimed.machine.name, host)
            self._check_ours(claimed.machine)
            message = f"{claimed.machine.name} was claimed by another run of this policy"
            raise ProvisioningError(ErrorCode.HYPERVISOR_ERROR, message) from None
        except ProvisioningError as error:
            if error.code not in _ITS_IMAGE and not error.code.meaning.waits:
                raise
            if self._attempt.watch.now is not Stage.PLACING:  # it has looked for the image to give a place
                self._attempt.watch.stage(Stage.PLACING)
            return error
        self._attempt.host = host
        return None

    def _joins_by(self, host: Host) -> bool:
        """Whether this host is to have it join Entra; who joins a domain can't.

        Raises:
            ProvisioningError: HOST_REFUSES; others, where nobody says which tenant that would be.
        """
        attempt = self._attempt
        joins = self._resources.registration.joins and not attempt.tag.joined_through
        if not (joins and isinstance(host, JoinsEntra) and host.joins_entra(attempt.desired.settings.guest_os)):
            attempt.mark = ""
            return False
        self._enrolment.check_tenant(host, host.name)
        attempt.mark = host.entra_mark(attempt.id)
        return True

    def _check_alone(self, host: Host) -> None:
        """A host refuses a second claim itself; between hosts, whoever sees another's claim gives up their own."""
        for _, seen in self._resources.looks.begin(self._attempt.id, besides=(host.name,)).seen():
            if isinstance(seen, TagUnreadable):
                raise seen
            if isinstance(seen, Machine) and seen.state is not State.GOING:
                self._check_ours(seen)


def _is_same(made: Tag, wanted: Tag, account: Account) -> bool:
    """Whether this is the machine that is asked for, however far, by whichever attempt, its user called whatever.

    An edit of the policy since makes no difference, as to no Cloud PC: its user may have signed in with a key of their
    own, and have data on it, though a run was killed before it could hand it over. Other keys than it was made with do:
    those that were taken from its user must not open it.
    """
    if made.generation != wanted.generation:
        return False
    if (made.settings_hash, made.device_name) == (wanted.settings_hash, wanted.device_name):
        return True
    with suppress(ValidationError):  # of a version that said less, or more
        return DesiredCloudPC.model_validate_json(made.made_with).account == account
    return False
