"""Provisioning one Cloud PC: stages in order, three attempts, and what is left when they are over.

Source of the three attempts: Windows 365 "Provisioning": first try and two automatic ones, then `failed`.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import tenacity

from cloudpc.model import patience
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, NetworkChoice, Status
from cloudpc.model.credentials import Credentials, generate_password
from cloudpc.model.devices import ComputerAccount, NewDevice, RegisteredDevice, TemporaryAccessPass
from cloudpc.model.digest import digest
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError, TagUnreadable, unexpected_told
from cloudpc.model.guests import Facts, Guest, GuestOS, Seed, Warned
from cloudpc.model.image import Image
from cloudpc.model.machines import (
    Amount,
    Claimed,
    Host,
    KeepsForDiagnosis,
    Machine,
    Network,
    Order,
    Removed,
    State,
)
from cloudpc.model.outcome import Outcome
from cloudpc.model.report import Reporter
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.provisioning import extras, placement
from cloudpc.provisioning.enrolment import Enrolment
from cloudpc.provisioning.registration import Registration, release

__all__ = ["ATTEMPTS", "Resources", "provision"]

log = logging.getLogger(__name__)

ATTEMPTS = 3
KEPT_FOR = timedelta(hours=3)
"""How long the last attempt's disk and console are kept: as long as Windows 365 takes to clean up (design rule 9)."""


@dataclass(frozen=True)
class Resources:
    """What provisioning works with: the rim, as the core sees it.

    Args:
        hosts: where machines may go.
        image: finds the image the settings name, verified; may take long.
        script: reads the post-provisioning script the settings name.
        guest_os: the system of the image's guests.
        pause: seconds before the second attempt; doubled before the third.
    """

    hosts: Sequence[Host]
    image: Callable[[Watch], Image]
    script: Callable[[], bytes | None]
    guest_os: GuestOS
    pause: float = 2.0
    adoptable: Container[str] = ()
    """Keys of Cloud PCs whose machine may be taken back though it was handed over and state does not know it."""
    healthy: Callable[[NetworkChoice, bool], ProvisioningError | None] | None = None
    """Why a network must not be used now, if so; may take long, the first time, or if it is to be looked at afresh.
    None: nobody looks."""
    registration: Registration = field(default_factory=Registration)


_WITHOUT_DISK = (Stage.PLACING, Stage.IMAGE, Stage.DISK)


@dataclass
class _Attempt:
    """Where one attempt stands, so that its end can say so and clean up."""

    watch: Watch
    host: Host | None = None
    connection: str = ""
    warnings: list[Warned] = field(default_factory=list)
    facts: Facts | None = None
    """What its guest has said of itself."""
    others: frozenset[str] = frozenset()
    """Devices of its name that were there before its guest was."""
    device: RegisteredDevice | None = None
    computer: ComputerAccount | None = None


class _Placed(Exception):  # noqa: N818 - an answer
    """Placing ended without a machine, and not by failure."""

    def __init__(self, status: Status, error: ProvisioningError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


def provision(desired: DesiredCloudPC, resources: Resources, report: Reporter, cancel: Cancellation) -> Outcome:
    """Make the Cloud PC, or say why not.

    Raises:
        Cancelled: the run was asked to stop; what was begun has been removed.
    """
    return _Provisioning(desired, resources, report, cancel).run()


def tag_of(desired: DesiredCloudPC) -> Tag:
    """What its machine carries from the beginning."""
    return Tag(
        installation=desired.installation,
        policy_id=desired.policy_id,
        user_id=desired.user_id,
        service_plan_id=desired.service_plan.id,
        generation=desired.generation,
        device_name=desired.device_name,
        settings_hash=digest(
            desired.settings.model_dump_json(exclude={"guest_os"}), desired.account.model_dump_json()
        ).hex()[:16],
        made_with=desired.model_dump_json(by_alias=True, exclude_defaults=True),
    )


def _made_like(desired: DesiredCloudPC) -> tuple[str, str]:
    """Settings and account; the guests' system is its image's, which has its digest in them."""
    return desired.settings.model_dump_json(exclude={"guest_os"}), desired.account.model_dump_json()


def check_before(desired: DesiredCloudPC, resources: Resources, report: Reporter) -> None:
    """See what would fail whatever host it is on, while the machine that is to be replaced is still there.

    Raises:
        ProvisioningError: as provisioning would.
    """
    plan = desired.service_plan
    with unexpected_told("looking at image and script"):
        image = resources.image(Watch(tell=report.step, stage=Stage.IMAGE))
        image.check_fits(plan.memory_mib, plan.storage_in_gb)
        resources.script()


class _Provisioning:
    def __init__(self, desired: DesiredCloudPC, resources: Resources, report: Reporter, cancel: Cancellation) -> None:
        self._desired = desired
        self._resources = resources
        self._report = report
        self._cancel = cancel
        self._id = desired.machine_id
        plan = desired.service_plan
        self._order = Order(
            id=self._id,
            name=desired.identity.machine_name,
            title=f"{desired.device_name} ({desired.user_principal_name})",
            size=Amount(plan.v_cpu_count, plan.memory_mib, plan.storage_in_gb),
            network=Network(),
            tag=tag_of(desired),
            first_boot_in_seconds=desired.settings.first_boot_in_seconds,
            image=self._image,
            seed=self._seed,
        )
        self._number = 0
        self._attempt = _Attempt(self._watch())
        self._failure: tuple[ProvisioningError, Stage] | None = None
        self._failed_on: set[str] = set()
        self._remains: dict[str, str] = {}
        self._kept = ""
        self._enrolment = Enrolment(resources.registration)
        self._doubted: set[str] = set()
        """Connections whose domain an attempt could not join: looked at anew before the next one."""

    def run(self) -> Outcome:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=self._resources.pause),
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, ProvisioningError) and e.retriable),
            sleep=self._cancel.wait,
            before_sleep=self._announce_retry,
            reraise=True,
        )
        try:
            with patience.telling(lambda text: self._attempt.watch.say(text)):
                outcome = retrying(self._one_attempt)
            self._enrolment.take_back_others(self._desired.identity, self._attempt.connection)
            return replace(outcome, remains=self._what_remains())
        except _Placed as placed:
            error, stage = placed.error, Stage.PLACING
            return Outcome(placed.status, self._number, error=error, stage=stage, remains=self._what_remains())
        except ProvisioningError as error:
            stage, host = self._attempt.watch.now, self._attempt.host
            return Outcome(
                Status.FAILED,
                self._number,
                host=host.name if host else "",
                error=error,
                stage=stage,
                remains=self._what_remains(),
                kept=self._kept,
            )
        except BaseException:
            self._enrolment.take_back(self._desired.identity)  # also where the pause between two attempts was cancelled
            raise

    def _announce_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        self._report.milestone(
            f"attempt {self._number} of {ATTEMPTS} failed in {self._attempt.watch.now}: {error}; next in {pause:.0f} s",
            warning=True,
        )

    def _one_attempt(self) -> Outcome:
        self._number += 1
        self._attempt = _Attempt(self._watch())
        self._tag = replace(self._tag, attempt=secrets.token_hex(4))
        try:
            return self._stages()
        except BaseException as error:
            # Ctrl-C and unexpected errors clean up as well: nothing may be left over
            if isinstance(error, ProvisioningError) and error.code is ErrorCode.DOMAIN_JOIN_FAILED:
                self._doubted.add(self._attempt.connection)
            is_last = self._is_last(error)
            if is_last:
                self._enrolment.take_back(self._desired.identity)
            # without a failure to record, the machine's tag alone remembers what could not be taken back yet
            if not self._enrolment.left or (isinstance(error, Exception) and not isinstance(error, Cancelled)):
                self._clean_up(keep=is_last and self._is_worth_a_look(error))
            if isinstance(error, ProvisioningError):
                self._failure = (error, self._attempt.watch.now)
            elif isinstance(error, Exception) and not isinstance(error, Cancelled | _Placed):
                log.exception("unexpected error while provisioning %s", self._order.name)
                unexpected = ProvisioningError(ErrorCode.INTERNAL_ERROR, f"unexpected {type(error).__name__}: {error}")
                self._failure = (unexpected, self._attempt.watch.now)
                raise unexpected from error
            raise

    def _is_last(self, error: BaseException) -> bool:
        """Whether no attempt comes after this one."""
        if not isinstance(error, Exception) or isinstance(error, Cancelled | _Placed):
            return True
        retriable = error.retriable if isinstance(error, ProvisioningError) else True
        return self._number == ATTEMPTS or not retriable

    def _is_worth_a_look(self, error: BaseException) -> bool:
        """Whether it has failed with a disk that may say why."""
        is_failure = isinstance(error, Exception) and not isinstance(error, Cancelled | _Placed)
        return is_failure and self._attempt.watch.now not in _WITHOUT_DISK

    def _clean_up(self, *, keep: bool) -> None:
        host = self._attempt.host
        if host is None:
            return
        self._failed_on.add(host.name)
        if keep and self._keep(host):
            return
        with contextlib.suppress(ProvisioningError):
            self._delete(host, of_any_attempt=False)

    def _keep(self, host: Host) -> bool:
        if not isinstance(host, KeepsForDiagnosis):
            return False
        until = datetime.now(UTC).replace(microsecond=0) + KEPT_FOR
        try:
            machine = host.describe(self._id)
            if machine is None or machine.tag.attempt != self._tag.attempt:
                return False
            kept = host.keep_for_diagnosis(self._id, until)
        except Exception:  # a driver may raise anything; then it is deleted, as what failed before
            log.exception("could not keep %s for diagnosis", self._order.name)
            return False
        self._kept = f"{kept} on {host.name}, until {until:%Y-%m-%d %H:%M} UTC" if kept else ""
        return bool(kept)

    def _delete(self, host: Host, *, of_any_attempt: bool) -> None:
        """Raises ProvisioningError: it can't be removed now, or its host is still at it (MACHINE_GOING)."""
        within = Watch().within(0 if self._cancel.is_set else REMOVED_WITHIN)
        try:
            with unexpected_told(f"removing {self._order.name}"):
                machine = host.describe(self._id)
                is_ours = machine is None or of_any_attempt or machine.tag.attempt == self._tag.attempt
                if is_ours and host.delete(self._id, within) is Removed.GOING:
                    raise _going(self._order.name, host)
        except ProvisioningError as error:
            self._remains[host.name] = error.message
            log.warning("could not remove %s: %s", self._order.name, error.message)
            raise
        self._remains.pop(host.name, None)

    def _what_remains(self) -> str:
        return "; ".join([*(f"on {host}: {why}" for host, why in self._remains.items()), *self._enrolment.left])

    def _watch(self) -> Watch:
        mark = f" (attempt {self._number} of {ATTEMPTS})" if self._number > 1 else ""
        return Watch(self._cancel, self._report.step, mark=mark)

    def _enter(self, stage: Stage, detail: str = "") -> None:
        self._attempt.watch.stage(stage, detail)

    def _note(self, text: str) -> None:
        self._attempt.watch.note(text)

    @property
    def _tag(self) -> Tag:
        return self._order.tag

    @_tag.setter
    def _tag(self, tag: Tag) -> None:
        self._order = replace(self._order, tag=tag)

    # ---- the stages, in order

    def _stages(self) -> Outcome:
        self._enter(Stage.PLACING)
        if ready := self._found():
            return self._adopt(ready)
        host = self._place()
        host.make(self._order, self._attempt.watch)
        self._join(host)
        self._set_up(host)
        self._register(host)
        return self._sign_in(host)

    def _image(self, watch: Watch) -> Image:
        image = self._resources.image(watch)
        image.check_memory(self._order.size.memory_mib)
        return image

    def _seed(self, _image: Image) -> Seed:
        desired = self._desired
        seed = self._guest_os.seed(
            instance_id=f"{self._id}-{desired.generation}",
            device_name=desired.device_name,
            account=desired.account,
            local_admin=desired.settings.local_admin_enabled,
        )
        self._attempt.others = self._enrolment.others(desired.device_name)  # the last moment without its guest
        return seed

    def _found(self) -> tuple[Host, Machine] | None:
        """A complete machine that a run made and died before state knew; unfinished ones are removed here."""
        for host in self._resources.hosts:
            try:
                machine = host.describe(self._id)
            except TagUnreadable:
                raise  # a second one beside it would be one too many
            except ProvisioningError:
                continue  # a host that is down takes no new machine either: placing says so
            if machine is None:
                continue
            self._check_ours(machine)
            same = _comparable(machine.tag) == _comparable(self._tag)
            if machine.tag.phase is Phase.HANDED_OVER:  # and may be adopted, or this would have been refused
                return host, machine
            if machine.tag.phase is Phase.READY and same:
                self._tag = replace(self._tag, attempt=machine.tag.attempt)
                return host, machine
            if machine.state is not State.GOING:
                self._note("removing what an interrupted run left")
                self._release_another(machine.tag)
            try:
                self._delete(host, of_any_attempt=True)
            except ProvisioningError as stays:
                if self._failure is None:
                    if stays.code is ErrorCode.MACHINE_GOING:
                        raise _Placed(Status.PENDING_PROVISION, stays) from None
                    raise
                # what failed first is the news; that its remains can't be removed is told beside it
                error, stage = self._failure
                self._attempt.watch.stage(stage)
                raise error from None
        return None

    def _release_another(self, tag: Tag) -> None:
        """Take back what directories know of an unfinished one that is not this one: its tag alone remembers that.

        Raises:
            ProvisioningError: not for now, so that its machine, and with it the tag, has to stay.
        """
        found = tag.identity
        if found == self._desired.identity:
            return  # registered again, which finds it
        if left := release(self._resources.registration, found, connections=tag.joined):
            message = f"what an interrupted run left can't be taken back yet: {'; '.join(left)}"
            raise ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message)

    def _check_ours(self, machine: Machine) -> None:
        if machine.tag.policy_id != self._tag.policy_id:
            raise _Placed(
                Status.NOT_PROVISIONED,
                ProvisioningError(
                    ErrorCode.OTHER_POLICY_FIRST,
                    f"the user's Cloud PC of this service plan belongs to the policy {machine.tag.policy_id!r}",
                ),
            )
        if machine.tag.phase is Phase.HANDED_OVER and self._desired.key not in self._resources.adoptable:
            raise ProvisioningError(
                ErrorCode.MACHINE_NOT_IN_STATE,
                f"the machine {machine.name} was handed over to this user before, but this stack's state does not "
                "know it; it is left untouched",
                retriable=False,
                hint="`cloudpc adopt` takes it back as it is, with new credentials, or removes it",
            )

    def _place(self) -> Host:
        """Claim a place on a host, trying the policy's networks in order and the roomiest host first."""
        # a host that an attempt failed on comes last: a broken one must not get every attempt
        with placement.by_headroom(self._resources.hosts, self._id, self._order.size, self._failed_on) as (
            hosts,
            errors,
        ):
            for choice in self._desired.settings.networks:
                self._tag = replace(self._tag, joined_through=choice.connection if choice.joins_domain else "")
                self._attempt.connection = choice.connection
                if unhealthy := self._unhealthy(choice):
                    errors.append(unhealthy)
                    continue
                self._order = replace(self._order, network=Network(choice.kind, choice.source))
                for host in hosts:
                    if error := self._claim(host):
                        errors.append(error)
                        continue
                    self._check_alone()
                    return host
        error = placement.waiting_for(errors)
        if not error.code.meaning.waits:
            raise error
        raise _Placed(Status.PENDING_PROVISION, error)

    def _unhealthy(self, choice: NetworkChoice) -> ProvisioningError | None:
        if self._resources.healthy is None or not choice.connection:
            return None
        self._note(f"checking the connection {choice.connection}")
        afresh = choice.connection in self._doubted
        self._doubted.discard(choice.connection)
        return self._resources.healthy(choice, afresh)

    def _claim(self, host: Host) -> ProvisioningError | None:
        """Claim a place on this host, or say what has to be waited for."""
        try:
            host.claim(self._order, self._attempt.watch)
        except Claimed as claimed:  # another stack was faster
            if claimed.machine.state is State.GOING:
                return _going(claimed.machine.name, host)
            self._check_ours(claimed.machine)
            message = f"{self._order.name} was claimed by another run of this policy"
            raise ProvisioningError(ErrorCode.HYPERVISOR_ERROR, message) from None
        except ProvisioningError as error:
            if not error.code.meaning.waits:
                raise
            return error
        self._attempt.host = host
        return None

    def _check_alone(self) -> None:
        """A host refuses a second claim itself; between hosts, who sees another's claim takes the own one back."""
        for other in self._resources.hosts:
            if other is self._attempt.host:
                continue
            try:
                machine = other.describe(self._id)
            except TagUnreadable:
                raise
            except ProvisioningError:
                continue
            if machine is not None and machine.state is not State.GOING:
                self._check_ours(machine)

    def _join(self, host: Host) -> None:
        """Windows 365 "Automated provisioning steps": joining the domain is a core step."""
        if connection := self._tag.joined_through:
            self._enter(Stage.DOMAIN_JOIN, f"through {connection}")
            self._attempt.computer = self._enrolment.join(
                self._desired.identity, connection, self._guest(host), self._guest_os, self._attempt.watch
            )

    @property
    def _guest_os(self) -> GuestOS:
        return self._resources.guest_os

    def _guest(self, host: Host) -> Guest:
        return host.guest(self._id)

    def _facts(self, host: Host) -> Facts:
        """What its guest says of itself; asked once."""
        if self._attempt.facts is None:
            self._attempt.facts = extras.facts(self._guest(host), self._guest_os, self._attempt.watch)
        return self._attempt.facts

    def _register(self, host: Host, *, is_new: bool = True) -> None:
        """Before credentials: what can't be registered is handed to nobody."""
        if not self._enrolment.registers:
            return
        self._enter(Stage.REGISTRATION)
        policy_name = self._desired.settings.provisioning_policy_name
        device = NewDevice.of(self._desired.identity, policy_name, self._guest_os.family, self._facts(host).version)
        device = replace(device, joined_as=lambda: self._joined_as(host))
        self._attempt.device = self._enrolment.register(device, self._attempt.others, self._cancel, is_new=is_new)

    def _joined_as(self, host: Host) -> UUID | None:
        """The deviceId that the guest says by now it has joined Entra as, if it says one."""
        return extras.facts(self._guest(host), self._guest_os, self._attempt.watch).device_id

    def _access_pass(self) -> TemporaryAccessPass | None:
        given, has_another = self._enrolment.access_pass(self._desired.user_id)
        if has_another:
            self._report.milestone(
                "the user has a Temporary Access Pass already, which a new one would replace: none was made"
            )
        return given

    def _set_up(self, host: Host) -> None:
        self._enter(Stage.SET_UP)
        wanted = self._guest_os.extras(self._desired.settings, self._resources.script())
        guest, watch = self._guest(host), self._attempt.watch
        self._attempt.warnings, self._attempt.facts = extras.set_up(guest, self._guest_os, wanted, watch)

    def _adopt(self, found: tuple[Host, Machine]) -> Outcome:
        host, machine = found
        self._remains.pop(host.name, None)
        if machine.tag.phase is Phase.HANDED_OVER:
            self._report.milestone(f"{machine.name} was handed over before state was lost: taken back, not rebuilt")
            if machine.tag.made_with:
                self._desired = _taken_back(DesiredCloudPC.model_validate_json(machine.tag.made_with), self._desired)
        else:
            self._report.milestone(f"{machine.name} was complete when an earlier run stopped: taken over")
        self._attempt.host = host
        if connection := machine.tag.joined_through:
            # its password is known to the guest alone by now: joining again would lock it out
            name = self._desired.identity.device_name
            account = ComputerAccount(connection=connection, name=name, object_guid="", distinguished_name="")
            self._attempt.connection, self._attempt.computer = connection, account
            if machine.tag.phase is not Phase.HANDED_OVER:
                self._enrolment.joined_before(connection)
        self._register(host, is_new=machine.tag.phase is not Phase.HANDED_OVER)
        return self._sign_in(host)

    def _sign_in(self, host: Host) -> Outcome:
        self._enter(Stage.CREDENTIALS)
        credentials = Credentials(self._desired.account.name, generate_password())
        watch = self._attempt.watch
        self._guest(host).set_password(credentials.user, credentials.password, watch)
        if not (proof := self._facts(host).proof):
            raise ProvisioningError(ErrorCode.CREDENTIALS_FAILED, self._guest_os.without_proof)
        access = host.access(self._id, watch.within(self._desired.settings.first_boot_in_seconds)).proven(proof)
        credentials = replace(credentials, access_pass=self._access_pass())
        warnings = tuple(self._attempt.warnings)
        # Adopting one with warnings would lose them: should state not come to know it, it is made again.
        host.finish(self._id, Phase.PROVISIONING if warnings else Phase.READY)
        status = Status.PROVISIONED_WITH_WARNINGS if warnings else Status.PROVISIONED
        return Outcome(
            status,
            self._number,
            host=host.name,
            access=access,
            credentials=credentials,
            warnings=warnings,
            desired=self._desired,
            device=self._attempt.device,
            computer=self._attempt.computer,
            connection=self._attempt.connection,
        )


def _going(machine: str, host: Host) -> ProvisioningError:
    return ProvisioningError(ErrorCode.MACHINE_GOING, f"{machine} on {host.name} is still being removed")


def _taken_back(made: DesiredCloudPC, asked: DesiredCloudPC) -> DesiredCloudPC:
    """As it was made; what was asked for before state was lost is over, or the next run would make it anew."""
    over = max(asked.generation, asked.waived_generation)
    waived = over if over > made.generation else made.waived_generation
    spent = {"retry": asked.retry, "kernel_generation": asked.kernel_generation}
    return made.model_copy(update={**spent, "waived_generation": waived})


def _comparable(tag: Tag) -> Tag:
    """What makes two machines the same: not how far they are, which attempt made them, nor how their user is called."""
    return replace(tag, phase=Phase.PROVISIONING, attempt="", made_with="", joined_through="")
