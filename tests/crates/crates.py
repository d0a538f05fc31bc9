"""What somebody writes whose kind of hosts has images of one's own: a part of an entry of `cloudpc:images`."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from cloudpc.images.entries import ImageEntry
from cloudpc.images.sources import Places, Tell, tell_missing
from cloudpc.model.digest import digest
from cloudpc.model.image import Image, UsedImage


class CrateEntry(ImageEntry):
    """A box that somebody has packed."""

    NAMED_BY = ("crate",)

    crate: str = Field(min_length=1, description="What is written on it.")


class Crates:
    image_type = "custom"
    kind = "box"
    entry = CrateEntry

    def __init__(self, places: Places) -> None:
        self._images = places.custom

    def has(self, image_id: str) -> bool:
        return isinstance(self._images.get(image_id), CrateEntry)

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        image = self._images.get(image_id)
        if isinstance(image, CrateEntry):
            return UsedImage(digest(image.crate).hex(), image.guest_os)
        tell_missing(self._images, image_id, CrateEntry, tell)
        return None

    def image(self, image_id: str, wanted: str, note: Callable[[str], None]) -> Image:
        note("opening")
        return Image(image_id=image_id, digest=wanted, kind=self.kind, disk_gib=1)
