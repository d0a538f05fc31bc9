"""How images of Azure are named: of the marketplace, of a Compute Gallery, or a managed image."""

from __future__ import annotations

import re
from dataclasses import dataclass

AZURE_IMAGE = "azure"
"""The kind of images that hosts in Azure take."""
LATEST = "latest"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_URN = re.compile(rf"({_PART}):({_PART}):({_PART})(?::({_PART}))?")
_GALLERY = re.compile(
    r"(/subscriptions/([^/]+)/resourceGroups/[^/]+/providers/Microsoft\.Compute/galleries/[^/]+/images/[^/]+)"
    r"(?:/versions/([^/]+))?/?",
    re.IGNORECASE,
)
_MANAGED = re.compile(
    r"(/subscriptions/([^/]+)/resourceGroups/[^/]+/providers/Microsoft\.Compute/images/[^/]+)/?", re.IGNORECASE
)


@dataclass(frozen=True)
class MarketplaceImage:
    """An image that its publisher offers to everybody.

    Args:
        publisher: such as `MicrosoftWindowsDesktop`.
        offer: such as `windows-ent-cpc`.
        sku: such as `win11-24H2-ent-cpc`.
        version: exact, or `latest`.
    """

    publisher: str
    offer: str
    sku: str
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.publisher}:{self.offer}:{self.sku}:{self.version}"

    @property
    def guest_os(self) -> str:
        """The system of its guests as far as its publisher says, before Azure is asked."""
        return "windows" if self.publisher.lower().startswith("microsoftwindows") else "linux"


@dataclass(frozen=True)
class GalleryImage:
    """An image of a Compute Gallery.

    Args:
        path: id of its definition.
        subscription: where the gallery is.
        version: exact, or `latest`.
    """

    path: str
    subscription: str
    version: str = LATEST

    def __str__(self) -> str:
        return self.path if self.version == LATEST else f"{self.path}/versions/{self.version}"


@dataclass(frozen=True)
class ManagedImage:
    """An image that is a resource of its own, without versions.

    Args:
        path: its id.
        subscription: where it is.
    """

    path: str
    subscription: str

    def __str__(self) -> str:
        return self.path


ImageName = MarketplaceImage | GalleryImage | ManagedImage


def of_marketplace(text: str) -> MarketplaceImage | None:
    """An image as Windows 365 names its gallery's, `publisher_offer_sku`, or as az does; None if it is neither.

    Neither publishers nor offers of Windows 365 have a `_`: what follows the second one is the sku.

    Args:
        text: the name, or `publisher:offer:sku`, with `:version` where it is not the latest.
    """
    if found := _URN.fullmatch(text):
        publisher, offer, sku, version = found.groups()
        return MarketplaceImage(publisher, offer, sku, version or LATEST)
    parts = text.split("_", 2)
    if len(parts) == 3 and all(re.fullmatch(_PART, part) for part in parts):
        return MarketplaceImage(*parts)
    return None


def of_resource(text: str) -> GalleryImage | ManagedImage | None:
    """An image by its resource id, None if it is none: of a gallery's image (its latest), its version, or managed."""
    if found := _GALLERY.fullmatch(text):
        return GalleryImage(found[1], found[2], found[3] or LATEST)
    if found := _MANAGED.fullmatch(text):
        return ManagedImage(found[1], found[2])
    return None


def numbers(version: str) -> tuple[int, ...]:
    """A version to be compared by its numbers: 1.10.0 is later than 1.9.0."""
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))
