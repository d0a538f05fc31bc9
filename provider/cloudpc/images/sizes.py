"""How large the disk of an image is, to a guest."""

from __future__ import annotations

from pathlib import Path

from cloudpc.images import qcow2
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import unreadable


def disk_gib(image_id: str, disk: Path) -> float:
    """Size of the disk in a qcow2, by its header.

    Raises:
        ProvisioningError: IMAGE_INVALID, it is none; IMAGE_NOT_FOUND, it can't be read.
    """
    try:
        with disk.open("rb") as file:
            return qcow2.read_header(file).size / 1024**3
    except qcow2.UnusableError as error:
        message = f"{disk} of the image {image_id} {error}."
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False) from error
    except OSError as error:
        raise unreadable(image_id, disk, error) from error
