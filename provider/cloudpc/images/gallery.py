"""Gallery images: built from the recipes in vm-images/, once, and found again by what they were built from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cloudpc.images import builder, mirror, recipe
from cloudpc.images.commands import Note
from cloudpc.images.recipe import Recipe
from cloudpc.images.sizes import disk_gib
from cloudpc.images.sources import Places, Tell
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import QCOW2, DiskImage, ImageFile, UsedImage
from cloudpc.model.problems import closest
from cloudpc.model.text import command_line

recipes = recipe.recipes


def find(folder: Path, image_id: str, *, verify: bool = False) -> DiskImage | None:
    """The built image of a recipe, or None if it is not built, out of date or damaged.

    Cheap: files are hashed again only with `verify`, or when they look changed.

    Raises:
        ProvisioningError: IMAGE_NOT_FOUND, there is no such recipe; IMAGE_INVALID, its recipe.yaml is wrong.
    """
    wanted = get_recipe(folder, image_id)
    files = builder.images_folder().get(_entry(wanted), verify=verify)
    return _image(wanted, files) if files else None


def build(folder: Path, image_id: str, note: Note, *, force: bool = False) -> DiskImage:
    """The built image of a recipe; built first if need be, which takes a minute or two.

    Args:
        folder: vm-images of the project.
        image_id: the recipe's name.
        note: gets what is being done.
        force: build again, for example because the mirror has newer packages.

    Raises:
        ProvisioningError: IMAGE_NOT_FOUND or IMAGE_INVALID, not retriable.
    """
    wanted = get_recipe(folder, image_id)
    entry, images = _entry(wanted), builder.images_folder()
    if not force and (files := images.get(entry)):
        return _image(wanted, files)
    with images.locked(image_id, note):
        if not force and (files := images.get(entry)):
            return _image(wanted, files)
        with images.working_folder(image_id) as work:
            made = work / "made"
            made.mkdir()
            builder.build(
                wanted, mirror.configured(wanted.settings.suite), made, images.folder / f"{image_id}.log", note
            )
            return _image(wanted, images.put(entry, made))


def get_recipe(folder: Path, image_id: str) -> Recipe:
    """The recipe of that name. Raises ProvisioningError IMAGE_NOT_FOUND, IMAGE_INVALID."""
    found = recipe.folders(folder)
    path = found.get(image_id)
    if path is None:
        names = ", ".join(found) or "none"
        message = f"There is no gallery image {image_id!r} in {folder}. There are: {names}."
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False)
    return recipe.load(path)


def _entry(wanted: Recipe) -> str:
    return f"{wanted.image_id}-{builder.key(wanted)[:32]}"


def _image(wanted: Recipe, files: dict[str, ImageFile]) -> DiskImage:
    parts = [wanted.settings.command_line, *(f"{name} {file.sha256}" for name, file in sorted(files.items()))]
    return DiskImage(
        image_id=wanted.image_id,
        digest=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        disk=files[builder.DISK],
        disk_gib=disk_gib(wanted.image_id, files[builder.DISK].path),
        kernel=files[builder.KERNEL],
        initrd=files[builder.INITRD],
        command_line=wanted.settings.command_line,
        minimum_memory_mib=wanted.settings.minimum_memory_in_mb,
        guest_os=wanted.settings.guest_os,
        has_desktop=wanted.settings.has_desktop,
        waits_for_identity=wanted.settings.waits_for_identity,
    )


class Recipes:
    """Implements cloudpc.images.sources.Source: what is built of the recipes in vm-images/."""

    image_type = "gallery"
    kind = QCOW2
    entry = None

    def __init__(self, places: Places) -> None:
        self._folder = places.recipes

    def has(self, image_id: str) -> bool:
        """See Source."""
        return image_id in self._names()

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        """See Source."""
        field = "cloudpc:policy.imageId"
        if not self.has(image_id):
            names = self._names()
            message = f"is not a recipe{closest(image_id, names)}; there are: {', '.join(names) or 'none'}"
            tell(field, message, image_id)
            return None
        try:
            built = find(self._folder, image_id)
        except ProvisioningError as error:
            tell(field, error.message, image_id)
            return None
        if built is None:
            build = command_line("cloudpc", "image", "build", image_id)
            tell(field, f"is not built on this machine yet; run `{build}`", image_id)
            return None
        return UsedImage(built.digest, built.guest_os, built.minimum_memory_mib, has_desktop=built.has_desktop)

    def image(self, image_id: str, digest: str, _note: Note) -> DiskImage:
        """See Source."""
        built = find(self._folder, image_id)
        if built is None or built.digest != digest:
            raise ProvisioningError(
                ErrorCode.IMAGE_NOT_FOUND,
                f"the image {image_id} is not what it was when this run began (built again meanwhile?)",
                retriable=False,
                hint="leave vm-images/ and its cache alone while a run is on",
            )
        return built

    def _names(self) -> list[str]:
        return list(recipe.folders(self._folder))
