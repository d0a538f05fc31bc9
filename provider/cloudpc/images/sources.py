"""Where images come from: one source each for a kind of images and the `imageType` of a policy that means it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cloudpc.model.image import Image, UsedImage

if TYPE_CHECKING:
    from cloudpc.images.custom import CustomImage

ENTRY_POINTS = "cloudpc.images"
"""Group of entry points: each makes a source for the places where it looks."""
Tell = Callable[[str, str, object], None]
"""Is given what is wrong: the field of the policy's file, the message and the value."""


@dataclass(frozen=True)
class Places:
    """Where sources look.

    Args:
        stacks: the folder of the stacks' files, which paths in them are relative to.
        custom: `cloudpc:images`.
    """

    stacks: Path
    custom: Mapping[str, CustomImage]

    @property
    def recipes(self) -> Path:
        """The folder of the project's recipes."""
        return self.stacks.parent / "vm-images"


class Source(Protocol):
    """One place that images come from."""

    @property
    def image_type(self) -> str:
        """The `imageType` of policies that mean it."""

    @property
    def kind(self) -> str:
        """Of its images: hosts take some kinds only."""

    def has(self, image_id: str) -> bool:
        """Whether this is the name of an image of its own, usable or not."""

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        """What it is now; None, and what is wrong is told, where it can't be used. Downloads nothing."""

    def image(self, image_id: str, digest: str, note: Callable[[str], None]) -> Image:
        """The image, verified; may take long.

        Args:
            image_id: its name.
            digest: which contents a run was begun with.
            note: told what takes its time.

        Raises:
            ProvisioningError: IMAGE_NOT_FOUND, IMAGE_INVALID.
        """


@cache
def _installed() -> tuple[Callable[[Places], Source], ...]:
    return tuple(entry.load() for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name))


def of(image_type: str, places: Places) -> list[Source]:
    """The sources that a policy with this `imageType` may mean."""
    return [source for make in _installed() if (source := make(places)).image_type == image_type]


def chosen(sources: Collection[Source], image_id: str) -> Source | None:
    """The first that has it; the first of all, which tells why, if none has; None of none."""
    return next((source for source in sources if source.has(image_id)), next(iter(sources), None))
