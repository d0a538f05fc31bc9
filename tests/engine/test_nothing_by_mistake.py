"""Nothing is taken away by mistake: mass losses, directories that say nothing, destroy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.project import UP, Project, user

from .life import assign, configure, exported, nothing_more_to_do, policy_resource, preview

pytestmark = pytest.mark.engine


def test_a_mass_loss_stops_until_somebody_names_the_number(project: Project) -> None:
    project.directory(5)
    project.up()
    before, calls = project.state(), project.calls()
    project.directory(2)
    for ran in (
        project.pulumi("preview", "--stack", "demo"),
        project.pulumi(*UP, "demo"),
        project.pulumi(*UP, "demo", CLOUDPC_ACCEPT_LOSS="2"),
    ):
        assert ran.code != 0, ran
        assert "3 of 5 Cloud PCs of this policy would enter their grace period because of the directory" in ran.output
        assert "CLOUDPC_ACCEPT_LOSS=3" in ran.output
        assert "Traceback" not in ran.output
    assert project.state() == before
    assert project.calls() == calls
    configure(project, lambda config: config.update({"cloudpc:safety": {"massLossInPercent": 60}}))
    assert "grace until" in preview(project)
    configure(project, lambda config: config.pop("cloudpc:safety"))
    project.up(CLOUDPC_ACCEPT_LOSS="3")
    assert sorted(project.statuses().values()) == ["inGracePeriod"] * 3 + ["provisioned"] * 2
    nothing_more_to_do(project)
    project.directory(0)
    project.up()  # two more are few enough
    assert set(project.statuses().values()) == {"inGracePeriod"}


def test_taking_an_assignment_away_is_no_mass_loss(project: Project) -> None:
    project.directory(4)
    project.up()
    project.policy(assignments=[])
    told = preview(project)
    assert told.count("(the policy is no longer assigned to Everybody)") >= 4
    project.up()
    assert set(project.statuses().values()) == {"inGracePeriod"}
    nothing_more_to_do(project)


def test_an_unassignment_whose_run_was_killed_is_still_no_mass_loss(project: Project, tmp_path: Path) -> None:
    """Killed after the policy's own entry was recorded, and before any Cloud PC's: the groups are unknown to state."""
    everyone = [f"u{i:03}" for i in range(4)]
    project.directory([user(u) for u in everyone], {"everybody": everyone, "others": ["u000"]})
    assign(project, "everybody", "others")
    project.up()
    before = exported(project)
    assign(project, "others")
    project.up()
    killed = exported(project)
    resources = {r["urn"]: r for r in before["deployment"]["resources"]}
    for resource in killed["deployment"]["resources"]:
        if resource["type"].endswith("cloudpc:CloudPC"):
            resource |= resources[resource["urn"]]
    file = tmp_path / "killed.json"
    file.write_text(json.dumps(killed))
    assert project.pulumi("stack", "import", "--stack", "demo", "--file", str(file)).code == 0
    assert set(project.statuses().values()) == {"provisioned"}
    project.up()
    assert sorted(project.statuses().values()) == ["inGracePeriod"] * 3 + ["provisioned"]
    nothing_more_to_do(project)
    assign(project, "everybody")
    project.up()
    nothing_more_to_do(project)
    project.directory([user(u) for u in everyone], {"everybody": ["u000"], "others": ["u000"]})
    assert "3 of 4 Cloud PCs" in project.pulumi(*UP, "demo").output, "this time it is the directory"


@pytest.mark.parametrize("broken", ["users: [", "users: none\n", None, "users: []\ngroups: []\nservicePlans: []\n"])
def test_a_directory_that_says_nothing_useful_stops_the_run(project: Project, broken: str | None) -> None:
    project.up()
    before = project.state()
    file = project.root / "stacks" / "directory.yaml"
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    ran = project.pulumi(*UP, "demo")
    assert ran.code != 0
    assert "directory.yaml" in ran.output
    assert "Traceback" not in ran.output
    assert project.state() == before


def test_destroy_is_refused_in_every_form_whatever_the_status(project: Project) -> None:
    """One provisioned, one in grace; assigned, and assigned to nobody, when the policy's memory must stay as well."""
    project.policy()
    project.up()
    project.directory(1)
    project.up()
    forms = [
        [],
        ["--skip-preview"],
        ["--skip-preview", "--continue-on-error"],
        ["--exclude-protected"],
        ["--skip-preview", "--target", "**u001**"],
        ["--run-program"],
        ["--remove"],
    ]
    for assigned in (True, False):
        if not assigned:
            project.policy(assignments=[])
            project.up()
        before, policy = project.state(), policy_resource(project)
        assert before["u001"]["status"] == "inGracePeriod"
        for options in forms:
            ran = project.pulumi("destroy", "--yes", "--stack", "demo", *options)
            assert ran.code != 0 or "--exclude-protected" in options, (options, ran)
            assert "protected" in ran.output, (options, ran)
            assert project.state() == before, (options, ran)
            assert policy_resource(project) == policy, (options, ran)
    assert project.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo").code == 0
    ran = project.pulumi("destroy", "--yes", "--skip-preview", "--stack", "demo")
    assert ran.code != 0
    assert "of u001@contoso.example is inGracePeriod" in ran.output
    assert set(project.machines()) == {"u000", "u001"}
    assert not [call for call in project.calls() if call.startswith("delete")]
