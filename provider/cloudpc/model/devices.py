"""What a Cloud PC is to an organisation's directories: a device in Entra and Intune, a computer account in AD.

Calls block, have deadlines of their own, and raise only `ProvisioningError` or `Cancelled`. All are idempotent:
whatever is interrupted can be asked for again, because every identity is derived from the Cloud PC's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.identity import Identity
from cloudpc.model.recorded import Recorded


def nothing_said() -> UUID | None:
    """Of a guest that does not say which device it is."""
    return None


@dataclass(frozen=True)
class NewDevice:
    """A device as it is to be registered.

    Args:
        device_id: derived from (installation, user, service plan, generation), so that a retried request finds it.
        display_name: the device name, which the guest has as its host name.
        user_id: of the directory.
        owner: `<installation>/<user id>/<service plan id>/<generation>`: whose it is, for doctor and clean-up.
        group_tag: the provisioning policy's displayName now; what enrollmentProfileName is to Windows 365.
        joined_as: asks the guest which deviceId it has joined as; None while it does not say. It can only choose among
            devices of its name, or with the mark, that have appeared since its start.
        mark: what Entra has among the physicalIds of a device that its host has made join; empty: no host has.
    """

    device_id: UUID
    display_name: str
    user_id: str
    owner: str
    group_tag: str
    operating_system: str
    operating_system_version: str
    """Empty: not known."""
    joined_as: Callable[[], UUID | None] = field(default=nothing_said, compare=False, repr=False)
    mark: str = ""

    @classmethod
    def of(cls, whose: Identity, group_tag: str, operating_system: str, version: str) -> NewDevice:
        """A Cloud PC's."""
        return cls(whose.device_id, whose.device_name, whose.user_id, whose.owner, group_tag, operating_system, version)


class RegisteredDevice(Recorded):
    """A device as state remembers it (Graph: `cloudPC.aadDeviceId`, `managedDeviceId`)."""

    registration: Literal["record", "adopt"]
    display_name: str
    id: str
    """Object id in Entra."""
    device_id: str
    managed_device_id: str = ""
    tenant_id: str = ""
    """Of the sign-in that registered it; empty where its token didn't say."""


class ComputerAccount(Recorded):
    """A computer account of Active Directory as state remembers it."""

    connection: str
    """Name of the file in connections/ through which it was joined."""
    name: str
    """sAMAccountName without the $."""
    object_guid: str
    distinguished_name: str


@dataclass(frozen=True)
class OwnedDevice:
    """Something of ours that a directory holds, for doctor.

    Args:
        kind: in words, for example `Entra device` or `computer account`.
        name: the device name.
        id: object id or objectGUID.
        owner: as in NewDevice; of a computer account its description.
        enabled: whether it may still be used.
    """

    kind: str
    name: str
    id: str
    owner: str
    enabled: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class TemporaryAccessPass:
    """Graph's temporaryAccessPassAuthenticationMethod, as it is handed over once."""

    id: str
    value: str = field(repr=False)
    start_date_time: str = ""
    lifetime_in_minutes: int = 60
    is_usable_once: bool = False


class DeviceRegistry(Protocol):
    """Microsoft Entra and Intune."""

    def tenant(self) -> str:
        """Id of the tenant that is signed in to; empty where the sign-in doesn't say.

        Raises:
            ProvisioningError: DEVICE_REGISTRATION_FAILED.
        """

    def known(self, display_name: str, mark: str = "") -> frozenset[str]:
        """Object ids of the devices of this name or with this mark, asked for before a guest is started that joins.

        Empty where a record is made instead: that is found by its deviceId.

        Raises:
            ProvisioningError: DEVICE_REGISTRATION_FAILED.
        """

    def register(
        self, device: NewDevice, timeout: float, cancel: Cancellation, besides: Set[str] = frozenset()
    ) -> RegisteredDevice:
        """Make the device's record, or find the device that the guest joined by itself.

        Devices of the same owner that earlier attempts' guests joined are removed then.

        Args:
            device: which one.
            timeout: seconds.
            cancel: ends it early.
            besides: what `known` gave before the guest was started: none of these is the guest's.

        Raises:
            ProvisioningError: DEVICE_REGISTRATION_FAILED, DEVICE_NOT_FOUND.
        """

    def remove(self, display_name: str, device_id: UUID, recorded: RegisteredDevice | None, mark: str = "") -> None:
        """Intune's managedDevice first, then Entra's device; disabled where deletion is refused; 404 is done.

        Args:
            display_name: the device name.
            device_id: see NewDevice: finds it where a run died before state knew.
            recorded: what state remembers, if it does. If not, all with our exact owner tag are removed: each attempt
                may have left one.
            mark: as NewDevice has it. Then those that have it are removed as well, unless their tag is another's: a
                run may have died before it could write one.

        Raises:
            ProvisioningError: not for now; to be tried again. Also where it was registered in another tenant.
        """

    def issue_pass(self, user_id: str, lifetime_in_minutes: int, *, usable_once: bool) -> TemporaryAccessPass | None:
        """A Temporary Access Pass, or None where the user has one already, which a new one would replace.

        Raises:
            ProvisioningError: CREDENTIALS_FAILED.
        """

    def owned(self, installation: str) -> Sequence[OwnedDevice]:
        """All devices with this installation's owner tag. Raises ProvisioningError."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class Controller:
    """A domain controller as guests see it; without an address: as their DNS says."""

    name: str
    address: str = ""


@dataclass(frozen=True)
class Join:
    """What a guest needs to join a domain as an account that is there.

    Args:
        account: made for it.
        domain: its DNS name in small letters.
        password: the account's, which only works until the guest has joined.
        made_at: the controller that has made the account: the others need not know it yet.
        controllers: those that the guest is to know for good; none: those that DNS names.
    """

    account: ComputerAccount
    domain: str
    password: str = field(repr=False)
    made_at: Controller
    controllers: tuple[Controller, ...] = ()


class NameTakenError(ProvisioningError):
    """A computer account of that name is there, and not ours: none was made."""


class Domain(Protocol):
    """An Active Directory domain, reached over LDAPS."""

    def prepare_join(self, computer: str, owner: str) -> Join:
        """Make the computer account in the OU (or reset our own of that name), with a one-time password.

        Raises:
            NameTakenError: somebody else's has that name; nothing was made.
            ProvisioningError: DOMAIN_JOIN_FAILED.
        """

    def disable(self, computer: str, recorded: ComputerAccount | None, owner: str) -> None:
        """Disable our computer account of this name, never delete it. None there: done.

        Raises:
            ProvisioningError: not for now, to be tried again; or an enabled one of that name is not ours for certain.
        """

    def owned(self, installation: str, besides: Collection[str] = ()) -> Sequence[OwnedDevice]:
        """Computer accounts with this installation's mark, enabled or not; `kind` says which others have made.

        Args:
            installation: whose.
            besides: owners of accounts that are left out.

        Raises:
            ProvisioningError: they can't be listed.
        """
