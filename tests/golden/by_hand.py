"""What somebody does past our commands: to a policy's file, or to a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.project import PLAN, Project

SMALL, BIG = str(PLAN["id"]), "LAB_2C_1GB_8GB"


def assign(project: Project, *groups: str, policy: str = "demo", **changes: Any) -> None:
    """Write the policy's file again, assigned to these groups."""
    project.policy(policy, assignments=[{"target": {"groupId": group}} for group in groups], **changes)


def config(project: Project, policy: str = "demo", **changes: Any) -> None:
    """Change `cloudpc:` values of the policy's file; None takes one away."""
    path = project.root / "stacks" / f"Pulumi.{policy}.yaml"
    content = yaml.safe_load(path.read_text())
    values = {**content["config"], **{f"cloudpc:{name}": value for name, value in changes.items()}}
    content["config"] = {name: value for name, value in values.items() if value is not None}
    path.write_text(yaml.safe_dump(content))


def machine_file(project: Project, user_id: str) -> Path:
    """The fake host's own file of a user's machine."""
    return project.root / "host" / "machines" / f"{project.machines()[user_id]['id']}.json"


def change(project: Project, user_id: str, **changes: Any) -> None:
    """Change a user's machine."""
    file = machine_file(project, user_id)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def failing(user_id: str, call: str = "start", **more: Any) -> dict[str, Any]:
    """A fault of the fake host that is not worth a second attempt."""
    return {"call": call, "user": user_id, "fault": "error", "retriable": False, **more}
