"""What makes a Cloud PC known to its organisation, and its end: Entra and Intune, Active Directory.

Windows 365: at the end Intune's and Entra's objects are removed, accounts of Active Directory disabled only. All
identities derive from the Cloud PC's own, so that what a dead run has begun is found again (rule 12).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from cloudpc.model.abilities import JoinsEntra
from cloudpc.model.devices import ComputerAccount, DeviceRegistry, Domain, RegisteredDevice
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.identity import Identity
from cloudpc.model.machines import Host

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AccessPass:
    """A Temporary Access Pass as it is asked for."""

    lifetime_in_minutes: int = 60
    usable_once: bool = False


def _no_domain(connection: str) -> Domain:
    message = f"it is unknown how to reach the domain of the connection {connection}"
    raise ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, message, retriable=False)


@dataclass(frozen=True)
class Registration:
    """What registers Cloud PCs; any part may be missing.

    Args:
        devices: Entra and Intune; None: nobody asks.
        registers: whether Cloud PCs become devices there; users may get a pass all the same.
        joins: whether it is the guests that join, by themselves or because their host has them; else records are made.
        timeout: seconds until a device that the guest joins must have appeared.
        domain: the domain that a connection joins, by the connection's name.
        access_pass: if users get one.
    """

    devices: DeviceRegistry | None = None
    registers: bool = True
    joins: bool = False
    timeout: float = 900
    domain: Callable[[str], Domain] = _no_domain
    access_pass: AccessPass | None = None

    @property
    def registry(self) -> DeviceRegistry | None:
        """Where Cloud PCs become devices, if they do."""
        return self.devices if self.registers else None


def release(
    registration: Registration,
    identity: Identity,
    *,
    device: RegisteredDevice | None = None,
    computer: ComputerAccount | None = None,
    connections: Iterable[str] = (),
    mark: str = "",
) -> list[str]:
    """Remove the device and disable the computer account; returns what could not be done now, in words.

    Args:
        registration: what registered them.
        identity: whose.
        device: as recorded, if it is.
        computer: as recorded, if it is.
        connections: names of connections through which it may have been joined.
        mark: of a device that its host may have made join, see `JoinsEntra`.
    """
    left = []
    if (registry := registration.registry) is not None:
        remove = partial(registry.remove, identity.device_name, identity.device_id, device, mark)
        left += trying("its device", identity.owner, remove)
    elif device is not None:
        left.append(f"its device {device.display_name}: cloudpc:devices no longer says how it was registered")
    for name in dict.fromkeys([*([computer.connection] if computer else []), *connections]):
        recorded = computer if computer is not None and computer.connection == name else None
        disable = partial(_disable, registration, name, identity, recorded)
        left += trying(f"its computer account in the domain of {name}", identity.owner, disable)
    return left


def _disable(registration: Registration, connection: str, identity: Identity, recorded: ComputerAccount | None) -> None:
    registration.domain(connection).disable(identity.device_name, recorded, identity.owner)


def mark_of(host: Host, machine_id: UUID) -> str:
    """Of the device that this host may have made join; nothing if it can't."""
    return host.entra_mark(machine_id) if isinstance(host, JoinsEntra) else ""


def trying(what: str, whose: str, action: Callable[[], object]) -> list[str]:
    """Take something back; returns why it could not be, in words that name it, or nothing. The log says whose it is."""
    try:
        action()
    except ProvisioningError as error:
        return [f"{what}: {error.message}"]
    except Exception as error:
        # whatever goes wrong in a device service must be reported, and must not stop everybody else's update
        log.exception("could not take back %s of %s", what, whose)
        return [f"{what}: unexpected {type(error).__name__}: {error}"]
    return []
