"""`cloudpc:actions` in the policies' files: written by a command, as a pull request would write it."""

from __future__ import annotations

from collections.abc import Mapping

from cloudpc.cli import deletion
from cloudpc.cli.context import Project
from cloudpc.operations.records import CloudPCRecord
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action


def following(project: Project, action: Action, cloud_pc: CloudPCRecord) -> int | str:
    """What asks for it (once more)."""
    written = (_written(project, cloud_pc.policy).get(action.name) or {}).get(cloud_pc.key)
    return action.asks(cloud_pc.recorded, written)


def write(project: Project, policy: str, action: Action, asked: Mapping[str, int | str]) -> None:
    """Write what is asked for, by key, into a policy's file; Pulumi keeps its comments.

    What would only be warned of at each run, since state has gone past it, is taken out.

    Raises:
        EngineError: it can't be written.
    """
    # the directory allows no character in ids that means something in a path
    values = [f"{_path(action, key)}={value}" for key, value in asked.items()]
    arguments = [argument for value in values for argument in ("--plaintext", value)]
    project.engine.read(["config", "set-all", "--stack", policy, "--path", *arguments])
    if over := _over(project, policy):
        project.engine.read(["config", "rm-all", "--stack", policy, "--path", *over])
    deletion.keep_plain(project, policy)


def _path(action: Action, key: str) -> str:
    return f'cloudpc:actions.{action.name}["{key}"]'


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
