"""A project that an earlier version made goes on working: its files, state, machines (state/record_project.py)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.state.record_project import PASSPHRASE, PLACE
from tests.support.project import REPO, Project, sha256

pytestmark = pytest.mark.engine

RECORDED = sorted((REPO / "tests" / "state" / "projects").iterdir())


@pytest.fixture(params=RECORDED, ids=lambda path: path.name)
def project(request: pytest.FixtureRequest, new_project: Callable[[str], Project]) -> Project:
    """With nothing of today but what is installed."""
    made = new_project("project")
    for name in ("provider", ".venv", "vm-images", "tools", "Pulumi.yaml", "stacks/__main__.py"):
        (made.root / name).unlink()
    for source in request.param.rglob("*"):
        target = made.root / source.relative_to(request.param)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text().replace(PLACE, str(made.root)))
            shutil.copymode(source, target)
    (made.root / ".cloudpc").mkdir()
    (made.root / "installation").rename(made.root / ".cloudpc" / "installation")
    file = made.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["cloudpc:images"]["tiny"] |= {"path": str(made.image), "sha256": sha256(made.image)}
    file.write_text(yaml.safe_dump(content))
    made.env |= {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE, "PULUMI_PYTHON_CMD": sys.executable}
    ran = made.pulumi("stack", "init", "demo")  # of another project's name, and under another passphrase
    assert ran.code == 0, ran
    ran = made.pulumi("stack", "import", "--stack", "demo", "--file", str(_state(made.root)))
    assert ran.code == 0, ran
    return made


def _state(root: Path) -> Path:
    return root / "state.json"


def _listed(project: Project) -> dict[str, str]:
    return {row["userId"]: row["status"] for row in json.loads(project.cloudpc("list", "--json").output)}


def test_it_is_planned_listed_ended_and_made_anew_by_today_s_version(project: Project) -> None:
    before = project.state()
    calls = project.calls()
    told = project.cloudpc("preview")
    assert told.code == 0, told
    assert "unchanged" in told.output
    assert not [
        line for line in told.output.splitlines() if "to create" in line or "to update" in line or "to delete" in line
    ]
    assert project.calls() == calls
    assert _listed(project) == {"u-alice": "provisioned", "u-bob": "inGracePeriod", "u-carol": "provisioned"}

    ended = project.cloudpc("end-grace", "bob", "--yes")
    assert ended.code == 0, ended
    assert set(project.machines()) == {"u-alice", "u-carol"}
    again = project.cloudpc("reprovision", "carol", "--yes")
    assert again.code == 0, again
    after = project.state()
    assert after["u-alice"] == before["u-alice"]
    assert after["u-carol"]["status"] == "provisioned"
    assert after["u-carol"]["deviceName"] != before["u-carol"]["deviceName"]
    assert project.leaks() == []
