"""Words of tests that follow Cloud PCs through their life: what is done to them, and what is looked at."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.project import PLAN, Project, Ran
from tests.support.waiting import wait_until

SMALL, BIG = str(PLAN["id"]), "LAB_2C_1GB_8GB"
CHANGING = ("events", "lastModifiedDateTime")
"""What tells of a life; all else of a Cloud PC stays what it was made with."""
OF_GRACE = ("desiredStatus", "why", "gracePeriodEndDateTime", "statusBeforeGrace")


def configure(project: Project, change: Callable[[dict[str, Any]], object], stack: str = "demo") -> None:
    path = project.root / "stacks" / f"Pulumi.{stack}.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["config"])
    path.write_text(yaml.safe_dump(content))


def act(project: Project, **actions: dict[str, int]) -> None:
    """What a pull request does instead of our commands."""
    configure(project, lambda config: config.update({"cloudpc:actions": actions}))


def assign(project: Project, *groups: str, policy: str = "demo", **changes: Any) -> None:
    project.policy(policy, assignments=[{"target": {"groupId": group}} for group in groups], **changes)


def preview(project: Project, *options: str, stack: str = "demo") -> str:
    """What a preview says; it touches nothing."""
    calls = project.calls()
    ran = project.pulumi("preview", "--stack", stack, *options)
    assert ran.code == 0, ran
    assert project.calls() == calls
    return ran.output


def nothing_more_to_do(project: Project, stack: str = "demo") -> None:
    told = preview(project, stack=stack)
    assert "@contoso.example" not in told
    assert re.fullmatch(r"Resources:\s+\d+ unchanged", told[told.index("Resources:") :].strip()), told


def listed(project: Project, who: str) -> dict[str, tuple[str, str | None]]:
    """What `list --all` says of a user: status and why, by policy."""
    rows = [row for row in json.loads(project.cloudpc("list", "--all", "--json").output) if row["userId"] == who]
    found = {row["policy"]: (row["status"], (row["statusDetail"] or {}).get("message")) for row in rows}
    assert len(found) == len(rows), rows
    return found


def summary(ran: Ran) -> str:
    return ran.output[ran.output.index("Resources:") :]


def exported(project: Project, stack: str = "demo") -> dict[str, Any]:
    exported: dict[str, Any] = json.loads(project.pulumi("stack", "export", "--stack", stack).output)
    return exported


def policy_resource(project: Project, stack: str = "demo") -> dict[str, Any]:
    resources = exported(project, stack)["deployment"]["resources"]
    [found] = [r["outputs"] for r in resources if r["type"].endswith("cloudpc:ProvisioningPolicy")]
    return dict(found)


def lasting(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if name not in CHANGING}


def passwords(project: Project) -> dict[str, str]:
    """What was set in the guests."""
    folder = project.root / "host"
    return {name: (folder / f"{m['id']}.password").read_text() for name, m in project.machines().items()}


def machine_file(project: Project, name: str) -> Path:
    return project.root / "host" / "machines" / f"{project.machines()[name]['id']}.json"


def by_hand(project: Project, name: str, **changes: Any) -> None:
    """What somebody does to a machine past us."""
    file = machine_file(project, name)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@contextmanager
def taken_away(project: Project, name: str) -> Iterator[None]:
    """Somebody undefines a machine, and defines it again afterwards."""
    file = machine_file(project, name)
    kept = file.read_text()
    file.unlink()
    yield
    file.write_text(kept)


def warn(project: Project) -> None:
    """Have what follows be provisioned with warnings: its script fails."""
    (project.root / "stacks" / "fails.sh").write_text("#!/bin/sh\n")
    project.policy(postProvisioningScript="fails.sh")
    project.host(exit_code=1)


def no_provider(project: Project, *, kill: bool = False) -> None:
    for pid in project.processes(b"cloudpc.iac.plugin_process") if kill else []:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not project.processes(b"cloudpc.iac.plugin_process"), 60, "the provider outlived the engine")


def finish_killed(project: Project) -> None:
    """The run after one that was killed."""
    no_provider(project)
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
