"""A remote action that is added in one place is carried out by the real engine."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support.project import FAKES, Project

pytestmark = pytest.mark.engine

KEY = "u000/LAB_1C_0.5GB_8GB"


@pytest.fixture
def with_actions(project: Project) -> Project:
    project.env["PYTHONPATH"] = f"{FAKES / 'added_action'}:{FAKES}"
    return project


def test_it_is_asked_for_by_its_command_told_and_done_once(with_actions: Project) -> None:
    project = with_actions
    project.up()
    ran = project.cloudpc("sign-out", "u000")
    assert ran.code == 4, "nobody was there to say yes"
    assert "Whoever works on 1 Cloud PC is signed out:" in ran.output
    assert project.cloudpc("sign-out", "u000", "--yes", "--write-only").code == 0
    file = yaml.safe_load((project.root / "stacks" / "Pulumi.demo.yaml").read_text())
    assert file["config"]["cloudpc:actions"] == {"signOut": {KEY: 1}}
    preview = project.pulumi("preview", "--stack", "demo")
    assert "u000@contoso.example (LAB_1C_0.5GB_8GB): whoever works on it is signed out" in preview.output
    before = _scripts(project)
    told = project.up()
    assert "signed out" in told.output
    assert _scripts(project) == before + 1
    project.up()
    assert _scripts(project) == before + 1
    assert project.state()["u000"]["actions"] == {"signOut": 1}
    rows = json.loads(project.cloudpc("list", "--json").output)
    assert {row["status"] for row in rows} == {"provisioned"}
    again = project.cloudpc("sign-out", "u000", "--yes")
    assert again.code == 0, again
    assert project.state()["u000"]["actions"] == {"signOut": 2}
    assert project.cloudpc("sign-out", "u009", "--yes").code == 2


def test_it_is_asked_for_again_where_it_could_not_be_done(with_actions: Project) -> None:
    project = with_actions
    project.up()
    project.host(faults=[{"call": "run", "user": "u000", "fault": "error", "retriable": True}])
    ran = project.cloudpc("sign-out", "u000", "--yes")
    assert ran.code == 1, ran
    assert "not signed out, tried again by the next run" in ran.output
    project.host()
    project.up()
    assert project.state()["u000"]["actions"] == {"signOut": 1}


def test_its_arguments_reach_the_guest_once(with_actions: Project) -> None:
    project = with_actions
    project.up()
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    before = file.read_text()
    wrong = project.cloudpc("hostname", "u000", "--to", "A d a", "--yes")
    assert wrong.code == 2
    assert "--to: must match the pattern" in wrong.output
    unanswered = project.cloudpc("hostname", "u000", "--to", "ada")
    assert unanswered.code == 4
    assert "These are called ada from now on:" in unanswered.output
    assert file.read_text() == before
    assert project.cloudpc("hostname", "u000", "--to", "ada", "--shown-as", "7", "--yes", "--write-only").code == 0
    config = yaml.safe_load(file.read_text())["config"]
    assert config["cloudpc:actions"]["hostname"][KEY] == {"generation": 1, "to": "ada", "shownAs": 7}
    preview = project.pulumi("preview", "--stack", "demo")
    assert "u000@contoso.example (LAB_1C_0.5GB_8GB): its guest is to be called ada" in preview.output
    ran = _scripts(project)
    assert "its guest is called ada" in project.up().output
    project.up()
    assert _scripts(project) == ran + 1
    recorded = project.state()["u000"]
    assert recorded["actions"] == {"hostname": 1}
    assert recorded["actionArguments"] == {"hostname": {"to": "ada", "shownAs": "7"}}
    again = project.cloudpc("hostname", "u000", "--to", "bob", "--yes")
    assert again.code == 0, again
    assert project.state()["u000"]["actionArguments"] == {"hostname": {"to": "bob"}}
    file.write_text(file.read_text().replace("to: bob", "to: B o b"))
    refused = project.pulumi("preview", "--stack", "demo")
    assert refused.code != 0
    assert f"cloudpc:actions.hostname.{KEY}.to: must match the pattern" in refused.output


def _scripts(project: Project) -> int:
    return project.calls().count("run u000")
