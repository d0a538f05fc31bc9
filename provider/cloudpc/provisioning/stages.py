"""The order of work on one Cloud PC: a place, its machine, its guest, its directories, its credentials."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from cloudpc.model.abilities import JoinsEntra
from cloudpc.model.access import Access, Ssh
from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.credentials import Credentials, generate_password
from cloudpc.model.devices import ComputerAccount, NewDevice, TemporaryAccessPass
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Facts, Guest, GuestOS
from cloudpc.model.machines import Host, Machine
from cloudpc.model.outcome import Outcome
from cloudpc.model.report import Reporter
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.provisioning import set_up
from cloudpc.provisioning.attempt import Attempt
from cloudpc.provisioning.claim import Claim
from cloudpc.provisioning.enrolment import Enrolment
from cloudpc.provisioning.registration import mark_of
from cloudpc.provisioning.resources import Resources
from cloudpc.rules.actions import ACTIONS


class Stages:
    """Of one attempt.

    Args:
        attempt: receives its progress.
        claim: finds it, or a place for it.
        resources: for its settings.
        enrolment: makes it known to its organisation.
        report: is given lines that stay.
    """

    def __init__(
        self, attempt: Attempt, claim: Claim, resources: Resources, enrolment: Enrolment, report: Reporter
    ) -> None:
        self._attempt = attempt
        self._claim = claim
        self._resources = resources
        self._enrolment = enrolment
        self._report = report
        self._watch = attempt.watch

    def run(self) -> Outcome:
        """One after the other; whatever is raised belongs to the stage that the attempt's watch is in."""
        self._watch.stage(Stage.PLACING)
        if ready := self._claim.found():
            return self._adopt(*ready)
        host = self._claim.place()
        host.make(self._attempt.order, self._watch)
        self._join(host)
        self._set_up(host)
        self._register(host)
        return self._sign_in(host)

    @property
    def _guest_os(self) -> GuestOS:
        return self._resources.guest_os(self._attempt.desired.settings.guest_os)

    def _guest(self, host: Host) -> Guest:
        return host.guest(self._attempt.id)

    def _facts(self, host: Host) -> Facts:
        """What its guest says of itself; asked once."""
        if self._attempt.facts is None or not self._attempt.facts.proof:  # a guest may make its keys late
            self._attempt.facts = set_up.facts(self._guest(host), self._guest_os, self._watch)
        return self._attempt.facts

    def _join(self, host: Host) -> None:
        """Windows 365 "Automated provisioning steps": joining the domain is a core step."""
        if connection := self._attempt.tag.joined_through:
            self._watch.stage(Stage.DOMAIN_JOIN, f"through {connection}")
            self._attempt.computer = self._enrolment.join(
                self._attempt.desired.identity, connection, self._guest(host), self._guest_os, self._watch
            )

    def _set_up(self, host: Host) -> None:
        self._watch.stage(Stage.SET_UP)
        wanted = self._guest_os.extras(self._attempt.desired.settings, self._resources.script())
        found = set_up.run(self._guest(host), self._guest_os, wanted, self._watch)
        self._attempt.warnings, self._attempt.facts = found

    def _register(self, host: Host, *, is_new: bool = True) -> None:
        """Before credentials: what can't be registered is handed to nobody."""
        if not self._enrolment.registers:
            return
        self._watch.stage(Stage.REGISTRATION)
        desired = self._attempt.desired
        policy_name, version = desired.settings.provisioning_policy_name, self._facts(host).version
        device = NewDevice.of(desired.identity, policy_name, self._guest_os.family, version)
        others, cancel = self._attempt.others, self._watch.cancel
        said = self._join_entra(host) if is_new else None
        device = replace(device, joined_as=lambda: said or self._joined_as(host), mark=self._attempt.mark)
        self._attempt.device = self._enrolment.register(device, others, cancel, is_new=is_new)

    def _join_entra(self, host: Host) -> UUID | None:
        """The deviceId that the guest reports, if its host is the one that has it join."""
        attempt = self._attempt
        if not (attempt.mark and isinstance(host, JoinsEntra)):
            return None
        self._watch.note("joining Entra")
        return self._enrolment.join_entra(host, attempt.id, attempt.desired.identity, attempt.others, self._watch)

    def _joined_as(self, host: Host) -> UUID | None:
        """The deviceId under which the guest has joined Entra by now, if it reports one."""
        return set_up.facts(self._guest(host), self._guest_os, self._watch).device_id

    def _access_pass(self) -> TemporaryAccessPass | None:
        given, has_another = self._enrolment.access_pass(self._attempt.desired.user_id)
        if has_another:
            self._report.milestone(
                "the user has a Temporary Access Pass already, which a new one would replace: none was made"
            )
        return given

    def _adopt(self, host: Host, machine: Machine) -> Outcome:
        """Take over a complete machine: nothing is made, and only its credentials change."""
        attempt, was_given = self._attempt, machine.tag.phase is Phase.HANDED_OVER
        if was_given:
            self._report.milestone(f"{machine.name} was handed over before state was lost: taken back, not rebuilt")
            if machine.tag.made_with:
                made = DesiredCloudPC.model_validate_json(machine.tag.made_with)
                attempt.desired = _taken_back(made, attempt.desired)
        elif (machine.tag.settings_hash, machine.tag.device_name) == (
            attempt.tag.settings_hash,
            attempt.tag.device_name,
        ):
            self._report.milestone(f"{machine.name} was complete when an earlier run stopped: taken over")
        else:
            self._report.milestone(
                f"{machine.name} was complete when an earlier run stopped: taken over as it was made, "
                "before the policy was edited"
            )
            attempt.desired = DesiredCloudPC.model_validate_json(machine.tag.made_with)
        attempt.host = host
        if connection := machine.tag.joined_through:
            # its password is known to the guest alone by now: joining again would lock it out
            name = attempt.desired.identity.device_name
            account = ComputerAccount(connection=connection, name=name, object_guid="", distinguished_name="")
            attempt.connection, attempt.computer = connection, account
            if not was_given:
                self._enrolment.joined_before(connection)
        elif self._resources.registration.joins:
            attempt.mark = mark_of(host, attempt.id)
        self._register(host, is_new=not was_given)
        return self._sign_in(host)

    def _sign_in(self, host: Host) -> Outcome:
        self._watch.stage(Stage.CREDENTIALS)
        attempt, watch = self._attempt, self._watch
        credentials = Credentials(attempt.desired.account.name, generate_password())
        set_up.set_password(self._guest(host), self._guest_os, credentials.user, credentials.password, watch)
        if not (proof := self._facts(host).proof):
            raise ProvisioningError(ErrorCode.CREDENTIALS_FAILED, self._guest_os.without_proof)
        access = host.access(attempt.id, watch.within(attempt.desired.settings.first_boot_in_seconds)).proven(proof)
        access = self._with_desktop(host, access)
        credentials = replace(credentials, access_pass=self._access_pass())
        warnings, desired = tuple(attempt.warnings), attempt.desired
        # Adopting one with warnings would lose them: should state not come to know it, it is made again.
        host.finish(attempt.id, Phase.PROVISIONING if warnings else Phase.READY)
        status = Status.PROVISIONED_WITH_WARNINGS if warnings else Status.PROVISIONED
        return Outcome(
            status,
            attempt.number,
            host=host.name,
            access=access,
            credentials=credentials,
            warnings=warnings,
            desired=desired.model_copy(update={"settings": self._resources.made_on(host, desired.settings)}),
            device=attempt.device,
            computer=attempt.computer,
            facts=self._facts_at(host),
            connection=attempt.connection,
        )

    def _with_desktop(self, host: Host, access: Access) -> Access:
        """With what its desktop is known by, if its image has one. Raises ProvisioningError CREDENTIALS_FAILED."""
        if not (self._attempt.desired.settings.has_desktop and isinstance(access, Ssh)):
            return access
        if not (desktop := self._facts(host).desktop):
            message = "the guest has no certificate of its desktop, though its image is said to have one"
            raise ProvisioningError(ErrorCode.CREDENTIALS_FAILED, message)
        return access.with_desktop(desktop)

    def _facts_at(self, host: Host) -> Mapping[str, str]:
        """What its host says of its machine; where it says nothing now, a later look does."""
        with suppress(ProvisioningError):
            machine = host.describe(self._attempt.id)
            return machine.facts if machine else {}
        return {}


def _taken_back(made: DesiredCloudPC, asked: DesiredCloudPC) -> DesiredCloudPC:
    """As it was made; what was asked for before state was lost is over."""
    for action in ACTIONS:
        made = action.taken_back(made, asked)
    return made
