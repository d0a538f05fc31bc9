"""What directories come to know of a Cloud PC while it is provisioned, and taking it back if that fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from cloudpc.model.abilities import JoinsEntra
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.devices import ComputerAccount, NameTakenError, NewDevice, RegisteredDevice, TemporaryAccessPass
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Guest, GuestOS
from cloudpc.model.identity import Identity
from cloudpc.model.text import last_lines
from cloudpc.model.watch import Watch
from cloudpc.provisioning.registration import Registration, release


class Enrolment:
    """Remembers over all attempts of one Cloud PC what there is to be taken back."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._registering = False
        """Whether Entra may know it by now."""
        self._mark = ""
        """Of the device that its host may have made join."""
        self._joined: set[str] = set()
        """Connections whose domain may know it by now."""
        self._pass: TemporaryAccessPass | None = None
        self.left: list[str] = []
        """What could not be taken back, in words."""

    @property
    def registers(self) -> bool:
        """Whether it becomes a device."""
        return self._registration.registry is not None

    def others(self, device_name: str, mark: str) -> frozenset[str]:
        """Devices of this name, or with this mark, that are there before its guest is.

        Raises:
            ProvisioningError: Entra does not answer.
        """
        registry = self._registration.registry
        return registry.known(device_name, mark) if registry else frozenset()

    def check_tenant(self, host: JoinsEntra, name: str) -> None:
        """A device of another tenant is found by nobody here.

        Raises:
            ProvisioningError: HOST_REFUSES, its machines join another tenant than the one that users are of.
        """
        registry = self._registration.registry
        signed_in, joined = registry.tenant() if registry else "", host.entra_tenant()
        if signed_in and joined and signed_in.lower() != joined.lower():
            message = f"machines on {name} join the tenant {joined}, and cloudpc:graph is signed in to {signed_in}"
            hint = "sign in to both with accounts of one tenant, or leave the host out of policies whose Cloud PCs join"
            raise ProvisioningError(ErrorCode.HOST_REFUSES, message, hint=hint)

    def join_entra(
        self, host: JoinsEntra, machine_id: UUID, identity: Identity, others: frozenset[str], watch: Watch
    ) -> UUID | None:
        """Have its host make the guest join; returns the deviceId that the guest says.

        What attempts and runs before have left is removed first: Entra lets no second one of a name join.

        Raises:
            ProvisioningError: DEVICE_REGISTRATION_FAILED.
        """
        self._mark = host.entra_mark(machine_id)
        registry = self._registration.registry
        if others and registry is not None:
            registry.remove(identity.device_name, identity.device_id, None, self._mark)
        self._registering = True
        return host.join_entra(machine_id, watch.within(self._registration.timeout))

    def join(
        self, identity: Identity, connection: str, guest: Guest, guest_os: GuestOS, watch: Watch
    ) -> ComputerAccount:
        """Have the guest join the connection's domain.

        Raises:
            ProvisioningError: DOMAIN_JOIN_FAILED.
        """
        self._joined.add(connection)
        try:
            join = self._registration.domain(connection).prepare_join(identity.device_name, identity.owner)
        except NameTakenError:
            self._joined.discard(connection)  # nothing there is ours to take back
            raise
        [done] = guest.run([guest_os.join(join)], watch)
        if done.timed_out:
            raise ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, f"joining the domain: {done.output}")
        if done.exit_code != 0:
            message = f"the guest could not join the domain: {last_lines(done.output)}"
            raise ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, message)
        return join.account

    def joined_before(self, connection: str) -> None:
        """It did in a run that is dead; should this one fail, that is taken back as well."""
        self._joined.add(connection)

    def register(
        self, device: NewDevice, others: frozenset[str], cancel: Cancellation, *, is_new: bool
    ) -> RegisteredDevice | None:
        """Make or find its device; None if nobody asks for one.

        Args:
            device: what it is.
            others: devices of its name that were there before its guest was.
            cancel: ends the wait for a device that the guest joins.
            is_new: nobody works on it yet, so what fails is taken back.

        Raises:
            ProvisioningError: it can't be registered.
        """
        registry = self._registration.registry
        if registry is None:
            return None
        self._registering = is_new
        return registry.register(device, self._registration.timeout, cancel, others)

    def access_pass(self, user_id: str) -> tuple[TemporaryAccessPass | None, bool]:
        """The user's Temporary Access Pass, if they get one; and whether they have one already that stays.

        Raises:
            ProvisioningError: CREDENTIALS_FAILED.
        """
        wanted, devices = self._registration.access_pass, self._registration.devices
        if wanted is None or devices is None or self._pass is not None:
            return self._pass, False  # of an attempt before: it can't be read again, and a second one would replace it
        self._pass = devices.issue_pass(user_id, wanted.lifetime_in_minutes, usable_once=wanted.usable_once)
        return self._pass, self._pass is None

    def take_back(self, identity: Identity) -> None:
        """What directories may know of it by now goes again: nothing of it is handed over. `left` says what stays."""
        if not self._registering and not self._joined:
            return
        self.left = self._release(identity, self._joined, device=self._registering)
        if not self.left:
            self._registering, self._joined = False, set()

    def take_back_others(self, identity: Identity, connection: str) -> None:
        """Attempts before may have gone through other connections, whose domains must not keep enabled accounts."""
        if others := self._joined - {connection}:
            self.left = self._release(identity, others, device=False)

    def _release(self, identity: Identity, connections: Iterable[str], *, device: bool) -> list[str]:
        registration = self._registration if device else replace(self._registration, devices=None)
        return release(registration, identity, connections=sorted(connections), mark=self._mark)
