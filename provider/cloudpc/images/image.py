"""What a base image is, to those who boot it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    """

    image_id: str
    digest: str
    disk: ImageFile
    kernel: ImageFile | None = None
    initrd: ImageFile | None = None
    command_line: str = ""
    firmware: Firmware = "bios"
    minimum_memory_mib: int = 64
