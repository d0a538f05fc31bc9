"""Bad input, reported all at once: what is wrong, where, what was found and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from cloudpc.model.errors import CloudPCError
from cloudpc.model.masking import masked, masked_value
from cloudpc.model.text import harmless, in_json


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file of the configuration.

    Args:
        file: the file as the user knows it, for example `stacks/Pulumi.demo.yaml`.
        field: path of the field in it, for example `cloudpc:policy.assignments[0].target.groupId`.
        message: what is wrong and what is allowed instead.
        found: the value that was found, if there is one.

    All are kept without what may be secret in a URL: also a path may be one, and so may a key.
    """

    file: str
    field: str
    message: str
    found: Any = None

    def __post_init__(self) -> None:
        for name in ("file", "field", "message"):
            object.__setattr__(self, name, masked(getattr(self, name)))
        object.__setattr__(self, "found", masked_value(self.found))

    def __str__(self) -> str:
        found = "" if self.found is None else f" (found {_shown(self.found)})"
        return harmless(f"{self.file}: {self.field}: {self.message}{found}")  # one problem is one line


class NotRepeatedError(ValueError):
    """A validator's error about a value that may be a secret, or too long to be of use in a message."""


class InvalidConfigurationError(CloudPCError):
    """The configuration can't be used. Carries every problem, not only the first."""

    is_bad_input = True

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(report(problems))


def report(problems: Sequence[Problem]) -> str:
    """Problems as text for people, a line each."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"the configuration has {count}; nothing was touched:", *(f"  {p}" for p in problems)])


def closest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` where one of the choices is near, else nothing."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def from_validation(file: str, prefix: str, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """Pydantic's errors in our words.

    Args:
        file: where the values came from.
        prefix: path of the model's own value in the file, for example `cloudpc:policy`.
        model: names the allowed fields where an unknown one was found at the top.
        error: what pydantic raised.
    """
    return [_problem(file, prefix, model, details) for details in error.errors(include_url=False)]


def _problem(file: str, prefix: str, model: type[BaseModel], details: Any) -> Problem:
    path = details["loc"]
    field = join(prefix, path) or "file"
    kind, context, found = details["type"], details.get("ctx", {}), details["input"]
    match kind:
        case "missing":
            return Problem(file, field, "is required")
        case "extra_forbidden":
            allowed = _fields_at(model, path[:-1])
            hint = closest(str(path[-1]), allowed)
            return Problem(file, field, f"is not a known field{hint}; allowed here: {', '.join(sorted(allowed))}")
        case "invalid_key":
            where = join(prefix, path[:-1]) or "file"
            return Problem(file, where, f"has the key {path[-1]}, which is not text; fields have names")
        case "literal_error" | "enum":
            return Problem(file, field, f"must be {context['expected']}", found)
        case "value_error" | "assertion_error":
            hidden = isinstance(found, dict | list) or isinstance(context["error"], NotRepeatedError)
            return Problem(file, field, str(context["error"]), None if hidden else found)
        case "string_pattern_mismatch":
            return Problem(file, field, f"must match the pattern {context['pattern']}", found)
        case _ if kind in _WANTED:
            how = instead_of_text(found) if kind in _STRUCTURES else ""
            if kind == "string_type" and isinstance(found, int | float | date):
                how = "; put it in quotes"
            empty = "is empty, but " if found is None else ""
            return Problem(file, field, f"{empty}must be {_WANTED[kind]}{how}", found)
        case _:
            message = _SUBJECT.sub("must", details["msg"]).partition(" after validation")[0]
            return Problem(file, field, _lower(message), found)


def instead_of_text(found: object) -> str:
    """What to do about a text where there should be a structure; nothing for any other."""
    is_like_json = isinstance(found, str) and found[:1] in ("{", "[")
    return "; this text can't be read as JSON, so write it as YAML" if is_like_json else ""


_WANTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields to values",
}
"""What pydantic's type errors ask for, in the words of someone who writes YAML."""
_STRUCTURES = ("list_type", "tuple_type", "dict_type", "model_type")
_SUBJECT = re.compile(r"^(Input|String|List|Dictionary|Value) should")


def join(prefix: str, path: Sequence[str | int]) -> str:
    """`policy` and `["assignments", 0, "target"]` become `policy.assignments[0].target`."""
    text = prefix
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    here: Any = model
    is_key = False
    for part in path:
        if isinstance(part, int) or is_key:
            is_key = False
            continue
        field = next((f for n, f in here.model_fields.items() if part in (n, f.alias)), None)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return []
        here = inner[0]
        is_key = field is not None and get_origin(field.annotation) is dict
    return [f.alias or n for n, f in here.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in getattr(annotation, "__args__", ()) for model in _models_in(arg)]


def _shown(value: Any) -> str:
    text = in_json(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
