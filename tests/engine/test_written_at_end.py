"""Large runs write state once, at their end; whatever is killed, the next run takes back what no state knows."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import yaml

from tests.support.project import Project
from tests.support.waiting import wait_until

from .kill_trial import KINDS, Trial

pytestmark = pytest.mark.engine


def test_killed_at_random_moments(new_project: Callable[[str], Project]) -> None:
    trial = Trial(new_project("killed"), 40, random.Random(15))
    trial.begin()
    for kind in trial.chance.sample(KINDS, 4):
        trial.round(kind)
    trial.end()


def test_machines_are_nobodys_until_state_is_written(project: Project) -> None:
    project.env["PULUMI_SKIP_CHECKPOINTS"] = "true"
    project.host(faults=[{"call": "finish handedOver", "fault": "kill", "times": 1, "user": "u001"}])
    ran = project.cloudpc("up", "demo")
    assert ran.code != 0, "the command itself marks them, once state is written"
    assert set(project.statuses().values()) == {"provisioned"}
    assert project.machines()["u001"]["tag"]["phase"] == "ready"
    before = project.state()
    project.up()  # plain Pulumi
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}
    assert project.state() == before


def test_a_large_policy_is_recorded_before_its_cloud_pcs(new_project: Callable[[str], Project]) -> None:
    """Else the next run would not know whose machines it finds, where the installation's id is written by hand."""
    project = new_project("large")
    project.directory(100)
    file = project.policy()
    content = yaml.safe_load(file.read_text())
    content["config"]["cloudpc:installation"] = "writtenbyhand"
    file.write_text(yaml.safe_dump(content))
    project.host(faults=[{"call": "finished ready", "user": "u050", "fault": "kill-engine", "times": 1}])
    killed = project.cloudpc("up", "demo")
    assert "demo: 100 Cloud PCs, so state is written once, at the end of the run" in killed.output
    wait_until(lambda: not project.processes(b"cloudpc.iac.plugin_process"), 60, "the provider outlived the engine")
    assert project.state() == {}, "what it has made is told by tags alone"
    assert {m["tag"]["phase"] for m in project.machines().values()} <= {"ready", "provisioning"}
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
    assert "was complete when an earlier run stopped: taken over" in ran.output
    assert list(project.statuses().values()) == ["provisioned"] * 100
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}
    assert project.leaks() == []


@pytest.mark.parametrize("chosen", ["false", "0"])
def test_the_admin_may_choose_a_checkpoint_at_each_step(project: Project, chosen: str) -> None:
    project.host(faults=[{"call": "claim", "user": "u001", "fault": "hang"}])
    run = project.start_cloudpc("up", "demo", PULUMI_SKIP_CHECKPOINTS=chosen)
    wait_until(lambda: "u000" in project.state(), 60, "state has nothing in the middle of the run")
    run.kill()
