"""Images of Azure: what a policy names, and what a host's location has of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.found_image import FoundImage, Generation, System
from cloudpc.machines.azure.image_look import ImageLook
from cloudpc.machines.azure.image_names import AZURE_IMAGE, GalleryImage, ImageName, ManagedImage, MarketplaceImage
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

__all__ = ["AzureImage", "FoundImage", "Generation", "Images", "System"]
_KEPT = 600.0
"""Seconds for which an answer is kept: many ask for the same image."""


@dataclass(frozen=True, kw_only=True)
class AzureImage(Image):
    """An image as a policy names it. What there is of it, each host's location says: see `Images.find`."""

    kind: str = AZURE_IMAGE
    named: ImageName


class Images:
    """What a host's location has of images.

    Args:
        arm: asks Azure.
        config: the host's.
    """

    def __init__(self, arm: Arm, config: AzureHostConfig) -> None:
        self._arm = arm
        self._config = config
        self._found: dict[ImageName, tuple[float, FoundImage]] = {}
        self._looking = threading.Lock()

    def find(self, image: Image, size: Amount, watch: Watch) -> FoundImage:
        """What is there of it; nothing is made.

        Args:
            image: as `Order.image` gives it.
            size: of the machine to be.
            watch: ends it.

        Raises:
            ProvisioningError: IMAGE_NOT_FOUND, IMAGE_INVALID: no machine of this size can be made of it here; others
                as `Arm.asking` has them.
        """
        if not isinstance(image, AzureImage):
            message = f"the image {image.image_id} is of the kind {image.kind}, and {self._config.name} takes none"
            raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False)
        found = self._kept(image, watch)
        replace(image, disk_gib=float(found.disk_gib)).check_disk(size.disk_gib)
        if found.system.lower() != image.guest_os:
            message = f"the image {image.image_id} has {found.system}, and was taken for one with {image.guest_os}"
            hint = f"let an entry of cloudpc:images say `guestOS: {found.system.lower()}`"
            raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False, hint=hint)
        return found

    def _kept(self, image: AzureImage, watch: Watch) -> FoundImage:
        with self._looking:  # whoever comes second uses the first one's answer
            asked, found = self._found.get(image.named, (0.0, None))
            if found is None or time.monotonic() - asked > _KEPT:
                found = self._look(image, watch)
                self._found[image.named] = (time.monotonic(), found)
            return found

    def _look(self, image: AzureImage, watch: Watch) -> FoundImage:
        look = ImageLook(image.image_id, self._arm, self._config)
        with self._arm.asking(f"look at the image {image.image_id}", watch):
            match image.named:
                case MarketplaceImage():
                    return look.at_marketplace(image.named)
                case GalleryImage():
                    return look.at_gallery(image.named)
                case ManagedImage():
                    return look.at_managed(image.named)
