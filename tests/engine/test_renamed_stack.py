"""`pulumi stack rename`: refused before anything is registered, undone in a line, and healed where a run has met it."""

from __future__ import annotations

import json
import shlex
from copy import deepcopy
from typing import Any

import pytest

from tests.support.project import UP, Project, user

pytestmark = pytest.mark.engine


@pytest.fixture
def renamed(project: Project) -> Project:
    project.up()
    assert project.pulumi("stack", "rename", "engineering", "--stack", "demo").code == 0
    return project


def test_it_is_refused_and_can_be_undone(renamed: Project) -> None:
    before, machines = _export(renamed), renamed.machines()
    for ran in (renamed.pulumi(*UP, "engineering"), renamed.pulumi("preview", "--stack", "engineering")):
        assert ran.code != 0, ran
        assert "this stack was the policy demo before it was renamed to engineering" in ran.output
    ran = renamed.cloudpc("up", "engineering")
    assert ran.code == 1, ran
    assert _resources(_export(renamed)) == _resources(before)
    assert renamed.machines() == machines
    doctor = json.loads(renamed.cloudpc("doctor", "--json").output)
    assert [f["state"] for f in doctor if "`pulumi stack rename demo --stack engineering`" in f["detail"]] == ["failed"]
    assert not [f for f in doctor if "is unknown to state" in f["detail"]]
    _do(renamed, ran.output)
    assert "4 unchanged" in renamed.up().output


def test_what_an_older_run_has_made_of_it_is_healed(renamed: Project) -> None:
    """It has made a second policy before it failed to delete the first."""
    exported = _export(renamed, secrets=True)
    [policy] = [r for r in exported["deployment"]["resources"] if r["type"].endswith("cloudpc:ProvisioningPolicy")]
    second = deepcopy(policy)
    second["urn"] = second["urn"].rpartition("::")[0] + "::engineering"
    second["id"] = second["inputs"]["policyId"] = second["outputs"]["policyId"] = "engineering"
    exported["deployment"]["resources"].append(second)
    file = renamed.root / "broken.json"
    file.write_text(json.dumps(exported))
    assert renamed.pulumi("stack", "import", "--stack", "engineering", "--file", str(file)).code == 0

    _do(renamed, renamed.pulumi(*UP, "engineering").output)
    ran = renamed.pulumi(*UP, "demo")
    assert "holds another policy, engineering" in ran.output
    _do(renamed, ran.output)
    renamed.directory([user("u000"), user("u001"), user("u002")])
    renamed.up()
    assert set(renamed.statuses().values()) == {"provisioned"}
    assert "5 unchanged" in renamed.up().output


def test_its_machines_are_not_lost_to_a_stack_of_the_old_name(renamed: Project) -> None:
    renamed.policy("demo")
    renamed.init("demo")
    machines = renamed.machines()
    assert renamed.cloudpc("adopt", "demo", "--remove", "--yes").code == 0
    renamed.cloudpc("down", "demo", "--yes")
    assert renamed.machines() == machines


def test_down_removes_it_under_its_new_name(renamed: Project) -> None:
    ran = renamed.cloudpc("down", "engineering", "--yes")
    assert ran.code == 0, ran
    assert renamed.machines() == {}


def _do(project: Project, output: str) -> None:
    """The command that is said to help."""
    command = " ".join(output.split()).partition("`pulumi s")[2].partition("`")[0]
    ran = project.pulumi(*shlex.split("s" + command))
    assert ran.code == 0, ran


def _export(project: Project, *, secrets: bool = False) -> Any:
    more = ["--show-secrets"] if secrets else []
    return json.loads(project.pulumi("stack", "export", "--stack", "engineering", *more).output)


def _resources(exported: Any) -> list[str]:
    return sorted(r["urn"] for r in exported["deployment"]["resources"])  # what a program asks for first varies
