"""What a base image is, to those who make machines of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudpc.model.errors import ErrorCode, ProvisioningError

Firmware = Literal["bios", "uefi"]


@dataclass(frozen=True)
class ImageFile:
    """One file of an image on this machine, with its SHA-256 in hex."""

    path: Path
    sha256: str
    size: int


QCOW2 = "qcow2"
"""The kind of images that are a file here, which hosts are given."""


@dataclass(frozen=True)
class UsedImage:
    """A policy's image: which contents it has, the system of its guests, and what they need and offer.

    Args:
        digest: of its contents.
        guest_os: the system of its guests, by its name in cloudpc.guests.
        minimum_memory_mib: refused on smaller service plans.
        has_desktop: whether its guests serve one (docs/desktop.md).
    """

    digest: str
    guest_os: str
    minimum_memory_mib: int = 64
    has_desktop: bool = False


@dataclass(frozen=True, kw_only=True)
class Image:
    """A verified base image, of whatever kind.

    Args:
        image_id: its name in the place that it comes from.
        digest: identifies its contents; hosts keep it under this name. Hex.
        kind: what it is, and so which hosts take it.
        disk_gib: what its disk needs at least.
        minimum_memory_mib: refused on smaller service plans.
        guest_os: the system of its guests, by its name in cloudpc.guests.
        has_desktop: whether its guests serve one (docs/desktop.md).
    """

    image_id: str
    digest: str
    kind: str
    disk_gib: float = 0.0
    minimum_memory_mib: int = 64
    guest_os: str = "linux"
    has_desktop: bool = False

    def check_fits(self, memory_mib: int, disk_gib: int) -> None:
        """Raises ProvisioningError IMAGE_INVALID if a service plan of this size is too small for it."""
        self.check_memory(memory_mib)
        self.check_disk(disk_gib)

    def check_memory(self, memory_mib: int) -> None:
        """Raises ProvisioningError IMAGE_INVALID if it needs more memory."""
        if self.minimum_memory_mib > memory_mib:
            raise ProvisioningError(
                ErrorCode.IMAGE_INVALID,
                f"the image {self.image_id} needs {self.minimum_memory_mib} MiB of memory; the service plan has "
                f"{memory_mib}",
                retriable=False,
                hint="Choose a service plan with more memory, or a smaller image.",
            )

    def check_disk(self, disk_gib: int) -> None:
        """Raises ProvisioningError IMAGE_INVALID if its disk is larger, which no overlay may be smaller than."""
        if self.disk_gib > disk_gib:
            raise ProvisioningError(
                ErrorCode.IMAGE_INVALID,
                f"The image {self.image_id} has a disk of {self.disk_gib:.1f} GB, "
                f"the service plan gives {disk_gib} GB.",
                retriable=False,
                hint="Choose a service plan with more storage, or a smaller image.",
            )


@dataclass(frozen=True, kw_only=True)
class DiskImage(Image):
    """A qcow2 on this machine, booted by firmware or, where a kernel is given, directly.

    Args:
        disk: the qcow2 that overlays are made on. Never written to.
        kernel: kernel for direct boot, with `initrd` and `command_line`.
        firmware: how the disk boots where there is no kernel.
        waits_for_identity: whether its guests, booted directly, can be templates of clones (docs/images.md).
    """

    kind: str = QCOW2
    disk: ImageFile
    kernel: ImageFile | None = None
    initrd: ImageFile | None = None
    command_line: str = ""
    firmware: Firmware = "bios"
    waits_for_identity: bool = False


def disk_image(image: Image) -> DiskImage:
    """The same, for hosts that take qcow2 only. Raises ProvisioningError IMAGE_INVALID if it is another kind."""
    if isinstance(image, DiskImage):
        return image
    message = f"The image {image.image_id} is of the kind {image.kind}, and its host takes {QCOW2}."
    raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False)


def unreadable(image_id: str, path: Path, error: OSError) -> ProvisioningError:
    """A file of it is not there, or may not be read."""
    return ProvisioningError(
        ErrorCode.IMAGE_NOT_FOUND,
        f"{path} of the image {image_id} cannot be read: {error.strerror}.",
        retriable=False,
    )
