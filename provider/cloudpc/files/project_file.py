"""What Pulumi.yaml says for all stacks: where their state is, and values of their configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudpc.files import yaml_file
from cloudpc.model.problems import InvalidConfigurationError, Problem

FILE = "Pulumi.yaml"
NAMESPACE = "cloudpc"
"""Of our keys, whatever the project is called; a project of that name may leave it out."""
_DECLARATION = {"type", "description", "items", "default", "value", "secret"}


@dataclass(frozen=True)
class ProjectFile:
    """What concerns us of it."""

    name: str = NAMESPACE
    """The project's, which is the namespace of keys that have none."""
    backend_url: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By full key. A stack's own value goes before the whole of one here: nothing is merged."""


def read(root: Path) -> ProjectFile:
    """As Pulumi reads it.

    Raises:
        InvalidConfigurationError: with all problems.
    """
    content = yaml_file.read(root / FILE, FILE)
    if not isinstance(content, dict):
        raise InvalidConfigurationError([Problem(FILE, "file", "must be a mapping of fields to values")])
    problems: list[Problem] = []
    name = _name(content.get("name"), problems)
    found = ProjectFile(
        name, _backend(content.get("backend"), problems), _values(name, content.get("config"), problems)
    )
    if problems:
        raise InvalidConfigurationError(problems)
    return found


def full_key(key: object, project: str = NAMESPACE) -> str:
    """`policy`, `cloudpc:policy` and `cloudpc:config:policy` are one key to Pulumi, in a project called cloudpc."""
    namespace, _, name = str(key).rpartition(":")
    return f"{namespace.removesuffix(':config') or project}:{name}"


def by_full_key(config: Mapping[Any, Any], project: str, file: str, problems: list[Problem]) -> dict[str, Any]:
    """A configuration as Pulumi reads it.

    Args:
        config: as its file has it.
        project: the project's name.
        file: for messages.
        problems: gets the keys that Pulumi would refuse, or drop without a word.
    """
    found: dict[str, Any] = {}
    written: dict[str, object] = {}
    for key, value in config.items():
        full = full_key(key, project)
        if not isinstance(key, str) or key.startswith(":") or ":" in full.rpartition(":")[0]:
            message = "is no key to Pulumi; write NAMESPACE:NAME, as in cloudpc:policy"
            problems.append(Problem(file, f"config.{key}", message))
        elif full in found:
            message = f"means the same as {written[full]}, and Pulumi would drop one; remove it"
            problems.append(Problem(file, f"config.{key}", message))
        else:
            found[full], written[full] = value, key
    return found


def is_sealed(value: object) -> bool:
    """Whether a value of the configuration, or a part of it, is encrypted."""
    if isinstance(value, dict):
        return (list(value) == ["secure"]) or any(is_sealed(part) for part in value.values())
    return isinstance(value, list) and any(is_sealed(part) for part in value)


def sealed_fields(value: object, field: str) -> list[str]:
    """Fields of a value that are encrypted, each as deep as it can be named; a list that has one counts whole."""
    if not is_sealed(value):
        return []
    if not isinstance(value, dict) or list(value) == ["secure"]:
        return [field]
    return [each for name, part in value.items() for each in sealed_fields(part, f"{field}.{name}")]


def without(fields: Collection[str], value: Any, field: str) -> Any:
    """A value without those of its fields, as `sealed_fields` names them."""
    if not isinstance(value, dict):
        return value
    parts = {name: (part, f"{field}.{name}") for name, part in value.items()}
    return {name: without(fields, part, path) for name, (part, path) in parts.items() if path not in fields}


def _backend(value: object, problems: list[Problem]) -> str:
    url = value.get("url") if isinstance(value, dict) else value
    if url is None or isinstance(url, str):
        return url or ""
    problems.append(Problem(FILE, "backend.url", "must be text"))
    return ""


def _name(value: object, problems: list[Problem]) -> str:
    if isinstance(value, str) and value:
        return value
    problems.append(Problem(FILE, "name", "is required: the project's name, such as cloudpc"))
    return NAMESPACE


def _values(project: str, config: object, problems: list[Problem]) -> dict[str, Any]:
    if config is None or isinstance(config, str):  # text: where the stacks' files are, in old projects
        return {}
    if not isinstance(config, dict):
        problems.append(Problem(FILE, "config", "must be a mapping of keys to values"))
        return {}
    entries = by_full_key(config, project, FILE, problems)
    problems += [Problem(FILE, f"config.{key}", why) for key, entry in config.items() if (why := _wrong(entry))]
    return {
        key: entry.get("value", entry.get("default")) if isinstance(entry, dict) else entry
        for key, entry in entries.items()
        if not isinstance(entry, dict) or "value" in entry or "default" in entry
    }


def _wrong(entry: object) -> str:
    """What Pulumi would refuse, or read as something else than was meant."""
    if is_sealed(entry):
        return "is encrypted, but each stack has a key of its own; put it into the stack's file"
    if entry is None:
        return "must have a value"
    if not isinstance(entry, dict):
        return ""
    if not entry.keys() <= _DECLARATION:
        return "a mapping must be written as {value: …} here; Pulumi takes it for a declaration otherwise"
    return "has both a default and a value; remove one of them" if {"value", "default"} <= entry.keys() else ""
