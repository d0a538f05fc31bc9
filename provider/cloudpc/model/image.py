"""What a base image is, to those who boot it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudpc.images import qcow2
from cloudpc.model.errors import ErrorCode, ProvisioningError

Firmware = Literal["bios", "uefi"]


@dataclass(frozen=True)
class ImageFile:
    """One file of an image on this machine, with its SHA-256 in hex."""

    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Image:
    """A verified base image: a qcow2 disk, booted by firmware or, where a kernel is given, directly.

    Args:
        image_id: the recipe's folder in vm-images/, or the name of a custom image.
        digest: identifies its contents; hosts keep it under this name. Hex.
        disk: the qcow2 that overlays are made on. Never written to.
        kernel: kernel for direct boot, with `initrd` and `command_line`.
        firmware: how the disk boots where there is no kernel.
        minimum_memory_mib: refused on smaller service plans.
        guest_os: the system of its guests, by its name in cloudpc.guests.
    """

    image_id: str
    digest: str
    disk: ImageFile
    kernel: ImageFile | None = None
    initrd: ImageFile | None = None
    command_line: str = ""
    firmware: Firmware = "bios"
    minimum_memory_mib: int = 64
    guest_os: str = "linux"

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
        needed = self._disk_size_gib()
        if needed > disk_gib:
            raise ProvisioningError(
                ErrorCode.IMAGE_INVALID,
                f"The image {self.image_id} has a disk of {needed:.1f} GB, the service plan gives {disk_gib} GB.",
                retriable=False,
                hint="Choose a service plan with more storage, or a smaller image.",
            )

    def _disk_size_gib(self) -> float:
        try:
            with self.disk.path.open("rb") as file:
                return qcow2.read_header(file).size / 1024**3
        except qcow2.UnusableError as error:
            message = f"{self.disk.path} of the image {self.image_id} {error}."
            raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False) from error
        except OSError as error:
            raise unreadable(self, self.disk.path, error) from error


def unreadable(image: Image, path: Path, error: OSError) -> ProvisioningError:
    """A file of it is not there, or may not be read."""
    return ProvisioningError(
        ErrorCode.IMAGE_NOT_FOUND,
        f"{path} of the image {image.image_id} cannot be read: {error.strerror}.",
        retriable=False,
    )
