"""A recipe: the folder in vm-images/ that says what an image is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from cloudpc.files import packaged, yaml_file
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.problems import InvalidConfigurationError, closest
from cloudpc.model.written import Written

FOLDER = "vm-images"
RECIPE_FILE = "recipe.yaml"
SHARED_FOLDER = "shared"
"""Beside the recipes: what goes into every image, such as the script that packs the initrd."""

_ADDED_TO = ("packages", "excludedPaths")
"""Lists of a recipe.yaml that go on top of those of the recipe it extends."""


class Settings(BaseModel):
    """The contents of recipe.yaml."""

    model_config = ConfigDict(
        hide_input_in_errors=True, extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )

    extends: str = Field(
        default="", description="Another recipe, which this one builds on: all of it, then what is here."
    )
    display_name: str
    description: str = ""
    suite: Annotated[str, Written("[a-z]+", "a release's code name, such as bookworm")] = Field(
        description="Debian release by its code name."
    )
    variant: Literal["extract", "minbase"] = Field(
        description="`minbase` installs the packages into a small Debian, `extract` only unpacks them."
    )
    packages: tuple[str, ...] = Field(min_length=1)
    excluded_paths: tuple[str, ...] = Field(
        default=(), alias="excludedPaths", description="dpkg's path-exclude; a leading `!` makes it path-include."
    )
    initrd_modules: tuple[str, ...] = Field(min_length=1, description="Kernel modules the root file system needs.")
    command_line: str
    disk_size_in_mb: int = Field(alias="diskSizeInMB", ge=16, description="Size of the disk as built, in MiB.")
    journal_size_in_mb: int = Field(alias="journalSizeInMB", ge=4, description="Of the root file system, in MiB.")
    minimum_memory_in_mb: int = Field(alias="minimumMemoryInMB", ge=64, description="What a guest needs, in MiB.")
    guest_os: str = Field(default="linux", alias="guestOS", description="The system of its guests.")
    waits_for_identity: bool = Field(
        default=False,
        description="Whether its guests wait for their identity when the kernel is told `cloudpc.template`: hosts may "
        "then clone them.",
    )
    has_desktop: bool = Field(
        default=False, description="Whether its guests serve a desktop by RDP on their loopback (docs/desktop.md)."
    )


@dataclass(frozen=True)
class Recipe:
    """One recipe folder, read and checked."""

    image_id: str
    folder: Path
    settings: Settings
    base: Recipe | None = None
    """The one it extends, whose part of the work comes first."""

    @property
    def parts(self) -> list[Recipe]:
        """It and all that it builds on, the deepest first."""
        return [*(self.base.parts if self.base else []), self]

    @property
    def shared(self) -> Path:
        """The folder of what all recipes share; a project of one's own need not have it."""
        own = self.folder.parent / SHARED_FOLDER
        return own if own.is_dir() else packaged.root() / FOLDER / SHARED_FOLDER

    @property
    def place(self) -> str:
        """Where its files are while an image is built, in /build."""
        return f"recipes/{self.image_id}"

    def sources(self) -> Iterator[tuple[str, Path]]:
        """Every file that decides the image, by a name that is the same in each checkout."""
        roots = {part.place: part.folder for part in reversed(self.parts)} | {SHARED_FOLDER: self.shared}
        for place, root in roots.items():
            for path in sorted(root.rglob("*")):
                if path.is_file() or path.is_symlink():
                    yield f"{place}/{path.relative_to(root)}", path


def folders(folder: Path) -> dict[str, Path]:
    """Where each recipe is, by name: of a project's vm-images folder, which goes first, or of the package."""
    found = [path.parent for place in (packaged.root() / FOLDER, folder) for path in place.glob(f"*/{RECIPE_FILE}")]
    by_name = {path.name: path for path in found}
    return dict(sorted(by_name.items()))


def recipes(folder: Path) -> list[Recipe]:
    """All recipes that a project with this vm-images folder has, by name.

    Raises:
        ProvisioningError: IMAGE_INVALID, naming every problem of a recipe.yaml.
    """
    return [load(path) for path in folders(folder).values()]


def load(folder: Path) -> Recipe:
    """Read the recipe in `folder`, and those it extends. Raises ProvisioningError IMAGE_INVALID."""
    return _load(folder, ())


def _load(folder: Path, extended_by: tuple[str, ...]) -> Recipe:
    path = folder / RECIPE_FILE
    try:
        values = yaml_file.read(path, str(path))
        base = _base(values, folder, (*extended_by, folder.name))
        settings = Settings.model_validate(_on_top(base.settings, values) if base else values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, f"{path}: {problems}", retriable=False) from None
    except InvalidConfigurationError as error:
        problems = "; ".join(map(str, error.problems))
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, problems, retriable=False) from None
    return Recipe(folder.name, folder.resolve(), settings, base)


def _base(values: Any, folder: Path, extended_by: tuple[str, ...]) -> Recipe | None:
    """The recipe that these values of a recipe.yaml extend; None where they are of one that extends none."""
    if not isinstance(values, Mapping) or not isinstance(name := values.get("extends", ""), str) or not name:
        return None
    found = folders(folder.parent)
    if name in extended_by or name not in found:
        why = "extends itself" if name in extended_by else f"is not a recipe{closest(name, found)}"
        message = f"{folder / RECIPE_FILE}: extends: {name} {why}"
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False)
    return _load(found[name], extended_by)


def _on_top(base: Settings, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe.yaml with those of what it extends: lists are added to, the rest is replaced."""
    joined = {**base.model_dump(by_alias=True), **values}
    for name in _ADDED_TO:
        more = values.get(name, [])
        joined[name] = [*base.model_dump(by_alias=True)[name], *more] if isinstance(more, list) else more
    return joined


def is_executable(path: Path) -> bool:
    """Whether the owner may run it; the only bit of a mode that Git keeps and the umask does not change."""
    return bool(path.stat().st_mode & 0o100)


def key(recipe: Recipe, code: Iterable[Path]) -> str:
    """Identifies what goes into an image: the recipe's files and the builder's code. Hex."""
    digest = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)

    for name, path in recipe.sources():
        if path.is_symlink():
            add(name.encode(), b"link", str(path.readlink()).encode())
        else:
            add(name.encode(), b"program" if is_executable(path) else b"file", path.read_bytes())
    for path in code:
        add(path.name.encode(), path.read_bytes())
    return digest.hexdigest()
