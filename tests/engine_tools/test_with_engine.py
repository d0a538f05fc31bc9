"""All of it together: the real engine, our language host, our provider host, in a folder with an awkward name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from engine_side import HERE, REPOSITORY

from tests.support.waiting import wait_until

pytestmark = pytest.mark.engine

PROGRAM = """
import json, os, pulumi
from pulumi.dynamic import Resource
from toy_provider import ToyProvider

class CloudPC(Resource, module="cloudpc", name="CloudPC"):
    def __init__(self, name, **properties):
        super().__init__(ToyProvider(), name, {**properties, "urn": None, "operation": None})

for name, properties in json.loads(os.environ["TOY_RESOURCES"]).items():
    CloudPC(name, **properties)
"""


class Project:
    """A checkout with this repository's engine parts and a program of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.touched = folder.parent
        shutil.copytree(REPOSITORY / "tools", folder / "tools")
        shutil.copytree(REPOSITORY / "provider/plugin", folder / "provider/plugin")
        shutil.copy(REPOSITORY / "Pulumi.yaml", folder)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        (folder / "stacks").mkdir()
        (folder / "stacks/__main__.py").write_text(PROGRAM)
        for what in ("folder", "env"):
            subprocess.run([folder / "tools/workspace", what], check=True)

    def start(self, *arguments: str, **resources: dict[str, Any]) -> subprocess.Popen[str]:
        environment = os.environ | {
            "PYTHONPATH": str(HERE),
            "TOY_FOLDER": str(self.touched),
            "TOY_RESOURCES": json.dumps(resources),
            "XDG_STATE_HOME": str(self.touched / "xdg"),
        }
        script = '. .cloudpc/env; exec pulumi "$@" --non-interactive --color never'
        return subprocess.Popen(
            ["sh", "-c", script, "sh", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def pulumi(self, *arguments: str, expect: int = 0, **resources: dict[str, Any]) -> str:
        with self.start(*arguments, **resources) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == expect, output
        return output

    def up(self, expect: int = 0, **resources: dict[str, Any]) -> str:
        return self.pulumi("up", "--yes", "--stack", "demo", expect=expect, **resources)

    def wait_for(self, name: str) -> None:
        wait_until((self.touched / name).exists, 60, f"{name} never came")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if subprocess.run([REPOSITORY / "tools/engine/find"], capture_output=True).returncode:
        pytest.fail("There is no pulumi to test with: make setup")
    project = Project(tmp_path / "it's 100% a project")
    project.pulumi("stack", "init", "demo")
    return project


def test_a_life_from_up_to_destroy(project: Project) -> None:
    thirty = {f"pc{n}": {"do": "meet", "wanted": 30} for n in range(30)}
    output = project.up(**thirty)
    assert "+ 31 created" in output
    assert "warning" not in output
    state = json.loads(project.pulumi("stack", "export", "--stack", "demo"))
    outputs = {resource["urn"]: resource.get("outputs", {}) for resource in state["deployment"]["resources"]}
    assert sum(outputs[urn].get("urn") == urn for urn in outputs) == 30
    assert "31 unchanged" in project.pulumi("preview", "--stack", "demo", **thirty)
    assert "31 unchanged" in project.up(**thirty)
    assert "- 31 deleted" in project.pulumi("destroy", "--yes", "--stack", "demo")
    assert (project.touched / "deleted pc7").exists()


def test_progress_and_errors_are_lines_of_the_resource(project: Project) -> None:
    told = project.up(carol={"do": "tell"})  # alone: after a failure the engine begins nothing
    assert "warning: ready" in told
    failed = project.up(expect=1, dave={"do": "fail"})
    assert "error: The pool is full." in failed
    assert "Traceback" not in told + failed


@pytest.mark.parametrize("interrupts", [1, 2])
def test_an_interrupt_lets_creates_clean_up(project: Project, interrupts: int) -> None:
    with project.start("up", "--yes", "--stack", "demo", eve={"do": "wait_for_cancel"}) as process:
        project.wait_for("begun eve")
        for _ in range(interrupts):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    project.wait_for("cleaned eve")
    assert "Traceback" not in output


def test_a_killed_engine_lets_creates_clean_up_and_leaves_a_lock(project: Project) -> None:
    with project.start("up", "--yes", "--stack", "demo", eve={"do": "wait_for_cancel"}) as process:
        project.wait_for("begun eve")
        process.kill()
    project.wait_for("cleaned eve")
    assert "currently locked" in project.up(expect=1)
    project.pulumi("cancel", "--yes", "--stack", "demo")
    project.up(eve={"do": "nothing"})
