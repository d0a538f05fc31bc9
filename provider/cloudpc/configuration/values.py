"""A stack's values as the engine reads them: its own, and those of Pulumi.yaml for all stacks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudpc.files import project_file, yaml_file
from cloudpc.model.problems import Problem

NAMESPACE = "cloudpc:"
KEYS = tuple(
    f"{NAMESPACE}{name}"
    for name in (
        "policy", "directory", "graph", "devices", "credentials", "hosts", "images", "installation", "actions",
        "safety", "audit", "deleted",
    )
)  # fmt: skip
"""All that a stack's configuration may hold of ours."""


class Values(dict[str, Any]):
    """By full key, for example `cloudpc:policy`.

    Args:
        own: of the stack's file.
        inherited: of Pulumi.yaml.
        opened: those of the stack's file that are encrypted there.
    """

    def __init__(self, own: Mapping[Any, Any], inherited: Mapping[str, Any], opened: Mapping[str, Any]) -> None:
        own = {project_file.full_key(key): value for key, value in own.items()}
        super().__init__({key: engine_value(value) for key, value in {**inherited, **own, **opened}.items()})
        self._inherited = inherited.keys() - own.keys()
        self._sealed = opened.keys()

    def told(self, problem: Problem) -> Problem:
        """The problem at the place where it is to be corrected, without a value that is a secret."""
        key = next((key for key in self if _is_of(problem.field, key)), None)
        if key in self._inherited:
            return replace(problem, file=project_file.FILE)
        return replace(problem, found=None) if key in self._sealed else problem

    def is_plain(self, key: str) -> bool:
        """Whether there is such a value, and anybody can read it: in its file, and in the state that Pulumi keeps."""
        return key in self and key not in self._sealed

    def is_sealed(self, key: str) -> bool:
        """Whether the value or a part of it is a secret: Pulumi seals text alone, so its numbers come as text."""
        return key in self._sealed


def engine_value(value: Any) -> Any:
    """A value as the engine hands it over: one with a structure as JSON, which people may write in the file, too."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):  # then it is text
            return _parsed(value)
    return value


def _parsed(text: str) -> Any:
    """JSON that could stand in the file as YAML, too.

    Raises:
        ValueError, RecursionError: it is none.
    """
    found = json.loads(text, object_pairs_hook=_without_twins, parse_int=_whole_number)
    if yaml_file.is_too_deep(found):
        raise ValueError("has too many levels")
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # raises for half a letter, too
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("has a key twice")
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > yaml_file.DIGITS:
        raise ValueError("has too long a number")
    return int(digits)


def told(values: Mapping[str, Any], problems: Iterable[Problem]) -> list[Problem]:
    """Problems with values, of which the engine hands over plain ones."""
    return [values.told(problem) if isinstance(values, Values) else problem for problem in problems]


def _is_of(field: str, key: str) -> bool:
    return field.startswith(key) and field[len(key) :][:1] in ("", ".", "[")
