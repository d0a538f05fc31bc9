"""Where a policy's images come from on hosts in Azure: its marketplace, and images of one's own there.

Azure is not asked here: a policy is read without a sign-in, and each host looks at its own location (images.py). Every
run imports this module, whatever its hosts are: what only hosts in Azure need is imported when there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from cloudpc.images.entries import ImageEntry
from cloudpc.images.sources import Places, Tell, tell_missing
from cloudpc.machines.azure.image_names import AZURE_IMAGE, ImageName, MarketplaceImage, of_marketplace, of_resource
from cloudpc.model.digest import digest
from cloudpc.model.image import UsedImage

if TYPE_CHECKING:
    from cloudpc.machines.azure.images import AzureImage

_ID = "publisher_offer_sku or publisher:offer:sku:version"


class AzureImageEntry(ImageEntry):
    """An image of one's own in Azure."""

    NAMED_BY = ("azureResourceId",)

    azure_resource_id: str = Field(
        alias="azureResourceId",
        description="Id of an image of a Compute Gallery (its latest version), of one of its versions, or of a managed "
        f"image; or an image of the marketplace: {_ID}.",
    )

    @field_validator("azure_resource_id")
    @classmethod
    def _an_image(cls, value: str) -> str:
        if _named(value) is None:
            raise ValueError(
                "must be the id of an image: /subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/galleries/…/"
                f"images/…, with /versions/… for an exact one, …/Microsoft.Compute/images/…, or {_ID}"
            )
        return value


class OwnImages:
    """Implements cloudpc.images.sources.Source: the entries of `cloudpc:images` with a form in Azure."""

    image_type = "custom"
    kind = AZURE_IMAGE
    entry = AzureImageEntry

    def __init__(self, places: Places) -> None:
        self._images = places.custom

    def has(self, image_id: str) -> bool:
        """See Source."""
        return isinstance(self._images.get(image_id), AzureImageEntry)

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        """See Source."""
        image = self._images.get(image_id)
        if isinstance(image, AzureImageEntry):
            digest = _digest(_need(image.azure_resource_id))
            return UsedImage(digest, image.guest_os, image.minimum_memory_in_mb, has_desktop=image.has_desktop)
        tell_missing(self._images, image_id, AzureImageEntry, tell)
        return None

    def image(self, image_id: str, wanted: str, _note: Callable[[str], None]) -> AzureImage:
        """See Source."""
        entry = self._images[image_id]
        assert isinstance(entry, AzureImageEntry)  # noqa: S101 - `has` said so
        named = _need(entry.azure_resource_id)
        return _image(image_id, wanted, named, entry.guest_os, entry.minimum_memory_in_mb)


class Marketplace:
    """Implements cloudpc.images.sources.Source: what Windows 365 calls gallery images, and counterparts of recipes."""

    image_type = "gallery"
    kind = AZURE_IMAGE
    entry = None

    def __init__(self, places: Places) -> None:
        self._places = places

    def has(self, image_id: str) -> bool:
        """See Source."""
        return self._named(image_id) is not None

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        """See Source."""
        if (named := self._named(image_id)) is not None:
            return UsedImage(_digest(named), named.guest_os)
        recipe = "vm-images/counterparts.yaml names none for this recipe"
        tell("cloudpc:policy.imageId", f"is not an image of Azure's marketplace, {_ID}, and {recipe}", image_id)
        return None

    def image(self, image_id: str, wanted: str, _note: Callable[[str], None]) -> AzureImage:
        """See Source."""
        named = self._named(image_id)
        assert named is not None  # noqa: S101 - `has` said so
        return _image(image_id, wanted, named, named.guest_os)

    def _named(self, image_id: str) -> MarketplaceImage | None:
        return of_marketplace(self._places.counterpart(image_id, self.kind) or image_id)


def _named(text: str) -> ImageName | None:
    return of_resource(text) or of_marketplace(text)


def _need(text: str) -> ImageName:
    named = _named(text)
    assert named is not None  # noqa: S101 - the entry's model refuses others
    return named


def _digest(named: ImageName) -> str:
    """Of the name: what its latest version is, Azure decides for each machine, and its outputs say."""
    return digest(str(named).lower()).hex()


def _image(image_id: str, wanted: str, named: ImageName, guest_os: str, minimum_memory_mib: int = 64) -> AzureImage:
    from cloudpc.machines.azure.images import AzureImage

    return AzureImage(
        image_id=image_id, digest=wanted, named=named, guest_os=guest_os, minimum_memory_mib=minimum_memory_mib
    )
