"""Where images come from: one source each for a kind of images and the `imageType` of a policy that means it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Protocol

from cloudpc.images import counterparts
from cloudpc.images.entries import ImageEntry
from cloudpc.model import added
from cloudpc.model.image import QCOW2, Image, UsedImage
from cloudpc.model.problems import closest

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
    custom: Mapping[str, ImageEntry]

    @property
    def recipes(self) -> Path:
        """The folder of the project's recipes."""
        return self.stacks.parent / "vm-images"

    def counterpart(self, image_id: str, kind: str) -> str | None:
        """What hosts that take images of another kind have instead of a recipe's, if somebody has written it down."""
        return counterparts.of(self.recipes, image_id, kind)


class Source(Protocol):
    """One place that images come from."""

    entry: ClassVar[type[ImageEntry] | None]
    """Reads its part of an entry of `cloudpc:images`; None: it has none there."""

    @property
    def image_type(self) -> str:
        """The `imageType` of policies that mean it."""

    @property
    def kind(self) -> str:
        """Of its images: hosts take some kinds only."""

    def has(self, image_id: str) -> bool:
        """Whether this is the name of an image of its own, usable or not."""

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        """What it is now; None where it can't be used, and the reason is reported. Downloads nothing."""

    def image(self, image_id: str, digest: str, note: Callable[[str], None]) -> Image:
        """The image, verified; may take long.

        Args:
            image_id: its name.
            digest: which contents a run was begun with.
            note: gets what takes its time.

        Raises:
            ProvisioningError: IMAGE_NOT_FOUND, IMAGE_INVALID.
        """


class _Makes(Protocol):
    """A source's class."""

    entry: ClassVar[type[ImageEntry] | None]
    kind: ClassVar[str]

    def __call__(self, places: Places, /) -> Source: ...


@cache
def _installed() -> tuple[_Makes, ...]:
    makes = [entry.load() for entry in added.of_group(ENTRY_POINTS)]
    return tuple(sorted(makes, key=lambda make: make.kind != QCOW2))  # files first: their words fit most policies


def of(image_type: str, places: Places) -> list[Source]:
    """The sources that a policy with this `imageType` may mean."""
    return [source for make in _installed() if (source := make(places)).image_type == image_type]


def chosen(meant: Iterable[Source], kind: str, image_id: str) -> Source | None:
    """The first of this kind that has it, or else the first of this kind, which says why."""
    same = [source for source in meant if source.kind == kind]
    return next((source for source in same if source.has(image_id)), next(iter(same), None))


def entries(kinds: Container[str] | None = None) -> list[type[ImageEntry]]:
    """What reads entries of `cloudpc:images`, for forms of these kinds; None: of all."""
    makes = (make for make in _installed() if kinds is None or make.kind in kinds)
    return [make.entry for make in makes if make.entry is not None]


def tell_missing(images: Mapping[str, ImageEntry], image_id: str, entry: type[ImageEntry], tell: Tell) -> None:
    """Say why `cloudpc:images` has no form of an image that this reads: there is no entry, or it names none."""
    if image_id in images:
        tell(f"cloudpc:images.{image_id}", f"needs {' or '.join(entry.NAMED_BY)} for the hosts of the policy", None)
        return
    known = f"{closest(image_id, images)}; there are: {', '.join(sorted(images)) or 'none'}"
    tell("cloudpc:policy.imageId", f"is not a custom image of cloudpc:images{known}", image_id)
