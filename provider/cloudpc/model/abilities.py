"""What some hosts can do beside what all do (model/machines.py: Host). Callers ask by type, and do without."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

from cloudpc.model.check import Check
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount, Host
from cloudpc.model.watch import Watch


@runtime_checkable
class KeepsForDiagnosis(Protocol):
    """A host that can keep what a failed machine leaves; on others it is deleted."""

    def keep_for_diagnosis(self, machine_id: UUID, until: datetime) -> str:
        """Remove the machine but for its disk and its console's log; its memory, ports and card are free at once.

        Returns:
            What is kept and where, in words; nothing if there is no such machine.
        """


@runtime_checkable
class LeavesOnlyData(Protocol):
    """A host that knows what can outlive a machine: on others it may be a card that is reserved for a while."""

    def leaves_only_data(self) -> bool:
        """Whether that may hold data, all of it, so that nobody looks for the rest once `delete` has said GONE.

        Such a look is as long as all machines of the host, and would be made for each that ends.
        """


def leaves_only_data(host: Host) -> bool:
    """Whether it is such a host, and all that can outlive a machine there may hold data."""
    return isinstance(host, LeavesOnlyData) and host.leaves_only_data()


@runtime_checkable
class ShutsDown(Protocol):
    """A host that can turn a machine off in good order; on others nothing but its guest does."""

    def shut_down(self, machine_id: UUID, watch: Watch, *, stays_off: bool) -> str:
        """Have the guest shut down; one that does not within a few minutes is turned off all the same.

        Idempotent. Returns when the machine is off, and nothing but `power_on` has it work again.

        Args:
            machine_id: whose.
            watch: ends it.
            stays_off: whether a host that bills a machine's place gives that up.

        Returns:
            How it went off, in words that complete "its machine was ".

        Raises:
            ProvisioningError: it can't be turned off, or is gone.
        """


class NoConsole(Exception):  # noqa: N818 - an answer, not an error
    """There is no screen to be shown now. The message is a sentence for an admin."""


@runtime_checkable
class HasConsole(Protocol):
    """A host that shows the screen of a machine from its firmware on, also of one that does not boot."""

    def open_console(self, machine_id: UUID) -> socket.socket:
        """A connection on which VNC is spoken, without a password: whoever has it sees and types. The caller closes it.

        Raises:
            NoConsole: it is off, was made without a screen, or is not shown from here.
            ProvisioningError: the host can't be asked, or has no such machine.
        """


@runtime_checkable
class GivesUpPlaces(Protocol):
    """A host that bills a machine as long as it keeps its place, also while it is off."""

    def give_up_places(self, installation: str, policy_id: str) -> list[str]:
        """Take the place from machines of this policy that were shut down inside, if the host's entry says so.

        Waits for none of it.

        Returns:
            The names of their devices.
        """


@dataclass(frozen=True)
class OrderChecks:
    """What a host finds of machines that it may be asked for: what has failed will fail each time.

    Args:
        image: of the image, whatever the service plan, or with each that is too small for it.
        sizes: of its place, by service plan; another host may have one.
    """

    image: tuple[Check, ...] = ()
    sizes: Mapping[str, Check] = field(default_factory=dict)


@runtime_checkable
class ChecksOrders(Protocol):
    """A host that can tell beforehand what it will never make; others find out when they are asked."""

    def check_order(self, image: Image, plans: Mapping[str, Amount], watch: Watch) -> OrderChecks:
        """Look at an image and at sizes; nothing is made.

        Args:
            image: in the form that this host takes.
            plans: what service plans promise, by id.
            watch: ends it.

        Raises:
            ProvisioningError: it is not known now.
        """


@runtime_checkable
class JoinsEntra(Protocol):
    """A host that can have guests join Microsoft Entra, and Intune with it; on others they do so themselves, or not."""

    def joins_entra(self, guest_os: str) -> bool:
        """Whether it can have guests of this system join, which is a name in cloudpc.guests."""

    def entra_tenant(self) -> str:
        """Id of the tenant that they join; empty: not known. Raises ProvisioningError: HOST_UNREACHABLE."""

    def entra_mark(self, machine_id: UUID) -> str:
        """What Entra writes among the physicalIds of a device that it has made of this machine, and of no other."""

    def join_entra(self, machine_id: UUID, watch: Watch) -> UUID | None:
        """Have a guest that runs join; idempotent.

        Returns:
            The deviceId that the guest says it has; None if it says none.

        Raises:
            ProvisioningError: DEVICE_REGISTRATION_FAILED: it did not join, or not by the watch's deadline.
        """


@runtime_checkable
class KeepsImages(Protocol):
    """A host that needs a copy of an image before it makes a machine of it."""

    def bring_image(self, image: Image, watch: Watch) -> None:
        """Bring the image to the host unless it is there. Raises ProvisioningError: IMAGE_UPLOAD_FAILED."""


@runtime_checkable
class ForgetsImages(KeepsImages, Protocol):
    """A host that says which copies of images nobody will ever remove unasked."""

    def old_images(self) -> list[str]:
        """Names of those that an older version brought for this user from here, and that nothing on the host needs.

        Raises:
            ProvisioningError: it is not known what needs them.
        """

    def discard_images(self, names: Collection[str]) -> list[str]:
        """Remove these, as far as they are still such ones; a machine that is made of one brings it again.

        Returns:
            Names of those that are gone.

        Raises:
            ProvisioningError: as `old_images`.
        """


@runtime_checkable
class MovesKernels(KeepsImages, Protocol):
    """A host that boots its guests with a kernel from outside their disks, and can give them another."""

    def update_kernel(self, machine_id: UUID, image: Image, watch: Watch) -> str:
        """Give a machine that runs the kernel of this image, with its modules, from its next start on.

        Idempotent. Nothing of the guest's data changes, and until its next start nothing of what it runs.

        Args:
            machine_id: whose.
            image: another build of the machine's own image; `bring_image` was called for it.
            watch: ends it.

        Returns:
            What came of it, in words.

        Raises:
            ProvisioningError: SET_UP_FAILED, the guest could not take it; others as `run`.
        """
