"""What stands in for a recipe's image on hosts that take no files: `counterparts.yaml`, beside the recipes.

The package has one for the recipes that it brings; a project's own goes first. It is no part of a recipe: what an image
is built from does not change with what others call the same system.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import RootModel, ValidationError

from cloudpc.files import packaged, yaml_file
from cloudpc.images import recipe
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation

FILE = "counterparts.yaml"


class _Counterparts(RootModel[dict[str, dict[str, str]]]):
    """By the recipe's name, then by the kind of images that a host takes."""


def of(recipes: Path, image_id: str, kind: str) -> str | None:
    """The name of a recipe's counterpart of this kind; none also where the file is wrong, which `problems` reports."""
    try:
        own = _read(recipes)
    except (ValidationError, InvalidConfigurationError):
        return None
    brought = _read(packaged.root() / recipe.FOLDER)
    return {**brought.get(image_id, {}), **own.get(image_id, {})}.get(kind)


def problems(recipes: Path) -> list[Problem]:
    """What is wrong with the file, if there is one."""
    file = f"{recipes.name}/{FILE}"
    try:
        _read(recipes)
    except ValidationError as error:
        return from_validation(file, "", _Counterparts, error)
    except InvalidConfigurationError as error:
        return list(error.problems)
    return []


def _read(recipes: Path) -> dict[str, dict[str, str]]:
    path = recipes / FILE
    if not path.exists():
        return {}
    content: Any = yaml_file.read(path, f"{recipes.name}/{FILE}")
    return _Counterparts.model_validate(content).root
