"""Entries of `cloudpc:images`: an image of one's own, in a form for each kind of hosts that is to have it.

Each source of custom images has a model of its own for what its form is named by. An entry may have several forms: the
same system as a file and in a cloud. Then its fields are those of all of them.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping
from functools import cache, reduce
from itertools import combinations
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloudpc.model.problems import Problem, from_validation


class ImageEntry(BaseModel):
    """What every entry has; a source's own model has more. No two sources have the same field."""

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid", frozen=True, populate_by_name=True)

    NAMED_BY: ClassVar[tuple[str, ...]] = ()
    """Fields of the file: an entry with one of them has a form of the source's kind."""

    minimum_memory_in_mb: int = Field(
        default=512, alias="minimumMemoryInMB", ge=64, description="Service plans with less memory are refused."
    )
    has_desktop: bool = Field(
        default=False,
        alias="hasDesktop",
        description="Whether its guests serve a desktop as those of debian-12-desktop do (docs/desktop.md).",
    )
    guest_os: str = Field(
        default="linux", alias="guestOS", description="The system of its guests: `linux`; in a cloud also `windows`."
    )


def read(
    entry: Any, file: str, field: str, models: Collection[type[ImageEntry]], problems: list[Problem]
) -> ImageEntry | None:
    """An entry with the forms that its fields name; None, and what is wrong among the problems, if it is not valid.

    Args:
        entry: what the file has.
        file: for messages.
        field: its place in the file.
        models: of all sources.
        problems: gets all that is wrong.
    """
    named = [each for each in models if isinstance(entry, Mapping) and not entry.keys().isdisjoint(each.NAMED_BY)]
    model = _joined(*(named or models))
    found: ImageEntry | None = None
    wrong: list[Problem] = []
    try:
        found = model.model_validate(entry)
    except ValidationError as error:
        wrong = from_validation(file, field, model, error)
    if named or len(models) == 1 or not isinstance(entry, Mapping):
        problems += wrong
        return found
    names = [name for each in models for name in each.NAMED_BY]
    problems += [each for each in wrong if each.found is not None or "known field" in each.message]
    problems.append(Problem(file, field, f"needs {', '.join(names[:-1])} or {names[-1]}"))
    return None


def schema(models: Iterable[type[ImageEntry]]) -> Any:
    """The type of an entry with forms by some of these."""
    all_ = list(models)
    choices = [_joined(*some) for size in range(1, len(all_) + 1) for some in combinations(all_, size)]
    return reduce(operator.or_, choices) if choices else ImageEntry


@cache
def _joined(*models: type[ImageEntry]) -> type[ImageEntry]:
    if len(models) == 1:
        return models[0]
    return type("And".join(model.__name__ for model in models), models, {"__doc__": "An image in several forms."})
