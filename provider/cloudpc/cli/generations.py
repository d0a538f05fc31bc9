"""`cloudpc:actions` in the policies' files: written by a command, as a pull request would write it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cloudpc.cli import deletion
from cloudpc.cli.context import Project
from cloudpc.operations.records import CloudPCRecord
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action
from cloudpc.rules.asked import Asked


def following(
    project: Project, action: Action[Any], cloud_pc: CloudPCRecord, asked: Asked | None = None
) -> int | str | Asked:
    """What asks for it (once more), with what a command was given."""
    written = (_written(project, cloud_pc.policy).get(action.name) or {}).get(cloud_pc.key)
    following: int | str | Asked = action.asks(cloud_pc.recorded, written, asked)
    return following


def write(project: Project, policy: str, action: Action[Any], asked: Mapping[str, int | str | Asked]) -> None:
    """Write what is asked for, by key, into a policy's file; Pulumi keeps its comments.

    What would only be warned of at each run, since state has gone past it, is taken out.

    Raises:
        EngineError: it can't be written.
    """
    # the directory allows no character in ids that means something in a path
    values = [each for key, value in asked.items() for each in _assignments(_path(action, key), value)]
    former = _former(_written(project, policy).get(action.name) or {}, action, asked)
    arguments = [argument for value in values for argument in ("--plaintext", value)]
    project.engine.read(["config", "set-all", "--stack", policy, "--path", *arguments])
    if over := [*former, *_over(project, policy)]:
        project.engine.read(["config", "rm-all", "--stack", policy, "--path", *over])
    deletion.keep_plain(project, policy)


def is_written_otherwise(text: str) -> bool:
    """Whether the engine takes a text for a number that is written another way, such as +49."""
    return re.fullmatch(r"[+-]\d+", text, re.ASCII) is not None and str(int(text)) != text


def _path(action: Action[Any], key: str) -> str:
    return f'cloudpc:actions.{action.name}["{key}"]'


def _assignments(path: str, value: int | str | Asked) -> Iterator[str]:
    if not isinstance(value, Asked):
        yield f"{path}={value}"
        return
    for name, given in {"generation": value.generation, **value.arguments}.items():
        yield f"{path}.{name}={str(given).lower() if isinstance(given, bool) else given}"


def _former(written: Mapping[str, object], action: Action[Any], asked: Mapping[str, int | str | Asked]) -> list[str]:
    """Paths of arguments that were given the last time, and are not now."""
    return [
        f"{_path(action, key)}.{name}"
        for key, value in asked.items()
        if isinstance(value, Asked) and isinstance(was := written.get(key), Mapping)
        for name in was
        if name not in {"generation", *value.arguments}
    ]


def _written(project: Project, policy: str) -> Mapping[str, Mapping[str, object]]:
    return project.values(policy).get("cloudpc:actions") or {}


def _over(project: Project, policy: str) -> list[str]:
    written = _written(project, policy)
    if not any(written.get(action.name) for action in ACTIONS if action.can_be_over):
        return []
    recorded = {c.key: c.recorded for stack in project.records(policy) for c in stack.cloud_pcs}
    return [
        _path(action, key)
        for action in ACTIONS
        for key, value in sorted((written.get(action.name) or {}).items())
        if key in recorded and action.is_over(recorded[key], value)
    ]
