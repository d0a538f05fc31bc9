"""What somebody writes who adds a kind of hosts: fields of their own, networks, images, and the host itself.

Its hosts are shelves, which are found by their kind and have no URI; machines are made of boxes, which are no files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cloudpc.images.sources import Places, Tell
from cloudpc.model.connection import NetworkKind, NetworkPart
from cloudpc.model.digest import digest
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import Image, UsedImage

if TYPE_CHECKING:
    from fake_hypervisor import FakeHost


class ShelfConfig(HostConfig):
    """A shelf in a folder."""

    PLACED_BY = "folder"

    kind: Literal["shelf"]
    folder: str = Field(pattern="^/", description="Where the shelf stands.")
    boards: int = Field(default=1, ge=1, description="How many it has.")


class ShelfNetworks(NetworkPart):
    """A shelf's networks are numbered."""

    KINDS = (NetworkKind("vlan", "vlan", "VLAN"),)

    vlan: int | None = Field(default=None, ge=1, le=4094, description="Number of a VLAN.")


class ShelfDriver:
    config = ShelfConfig
    network = ShelfNetworks
    images = frozenset({"box"})

    def open(self, config: ShelfConfig) -> FakeHost:
        from fake_hypervisor import FakeHost

        return FakeHost(config)

    def this_machine(self) -> None:
        return None


class Boxes:
    image_type = "gallery"
    kind = "box"
    entry = None

    def __init__(self, _places: Places) -> None: ...

    def has(self, image_id: str) -> bool:
        return image_id.startswith("box-")

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        if not self.has(image_id):
            tell("cloudpc:policy.imageId", "is no box", image_id)
            return None
        return UsedImage(digest(image_id).hex(), "linux")

    def image(self, image_id: str, wanted: str, note: Callable[[str], None]) -> Image:
        note("unpacking")
        return Image(image_id=image_id, digest=wanted, kind=self.kind, disk_gib=1)


DRIVER = ShelfDriver()
