"""A user of several policies: the first assigned wins, and the others wait."""

from __future__ import annotations

import json

import pytest

from tests.support.project import UP, Project, user

from .life import assign, listed, nothing_more_to_do

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_first_assigned_wins_and_the_other_waits_for_the_end(project: Project, order: tuple[str, str]) -> None:
    """Two policies overlap in one user; a third that has never run, and a fourth without a stack, don't count."""
    first, second = order
    members = {"left": ["in-left", "in-both"], "right": ["in-right", "in-both"]}
    people = [user(name) for name in ("in-left", "in-both", "in-right")]
    project.directory(people, members)
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    for name in (*order, "a-never-run", "a-without-stack"):
        assign(project, *(members if name.startswith("a-") else [name]), policy=name, gracePeriodInHours=0)
    for name in (*order, "a-never-run"):
        project.init(name)
    project.up(first)
    project.up(second)
    assert project.statuses(first) == {f"in-{first}": "provisioned", "in-both": "provisioned"}
    assert project.statuses(second) == {f"in-{second}": "provisioned"}
    for name in order:
        nothing_more_to_do(project, name)
    said = "ignored for this user, whom {} serves: the first assigned wins"
    assert listed(project, "in-both") == {
        first: ("provisioned", None),
        **{name: ("notProvisioned", said.format(first)) for name in (second, "a-never-run", "a-without-stack")},
    }
    assert listed(project, f"in-{second}")[second] == ("provisioned", None)
    assert project.cloudpc("list").output.count("in-both@") == 1 + 1  # the user, and the command to connect
    assert {who: m["tag"]["policy_id"] for who, m in project.machines().items()} == {
        f"in-{first}": first, f"in-{second}": second, "in-both": first,
    }  # fmt: skip

    # out of the first one's group: its grace first, and only after its end the other's turn
    project.directory(people, {**members, first: [f"in-{first}"]})
    project.up(first)
    project.up(second)
    assert project.statuses(first)["in-both"] == "inGracePeriod"
    assert "in-both" not in project.statuses(second)
    nothing_more_to_do(project, second)
    waits = f"waits for the end of the Cloud PC that {first} still has"
    assert listed(project, "in-both")[second] == ("notProvisioned", waits)
    project.up(first)
    assert project.statuses(first)["in-both"] == "deprovisioning"
    project.up(second)
    assert project.statuses(second)["in-both"] == "provisioned"
    assert project.cloudpc("credentials", "in-both").code == 0, "the one that has ended is no choice"
    assert project.machines()["in-both"]["tag"]["policy_id"] == second
    # back in the first one's group, it stays where it is
    project.directory(people, members)
    project.up(first)
    assert project.statuses(first) == {f"in-{first}": "provisioned"}
    for name in order:
        nothing_more_to_do(project, name)


def test_list_says_whose_a_user_will_be_who_has_none_yet(project: Project) -> None:
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    project.directory([user("u000")], {"a": [], "z": [], "never": []})
    for name in ("z", "a", "never"):
        assign(project, name, policy=name)
        if name != "never":
            project.init(name)
            project.up(name)
    project.directory([user("u000")], {"a": ["u000"], "z": ["u000"], "never": ["u000"]})
    ignored = "ignored for this user, whom z serves: the first assigned wins"
    assert listed(project, "u000") == {
        "z": ("notProvisioned", "entitled; the next run of z makes one"),
        "a": ("notProvisioned", ignored),
        "never": ("notProvisioned", ignored),
    }
    project.up("a")
    assert project.statuses("a") == {}
    project.up("z")
    assert project.statuses("z") == {"u000": "provisioned"}
    counted = project.cloudpc("policy", "validate").output
    assert "z: valid; provides 1 Cloud PC\n" in counted
    assert "a: valid; provides 0 Cloud PCs; another policy provides 1 more\n" in counted


def test_policies_that_run_at_once_for_the_first_time_never_give_two(project: Project) -> None:
    project.directory(6)
    project.policy("other")
    project.init("other")
    project.host(seconds={"claim": 0.3})
    runs = [project.start(*UP, name) for name in ("demo", "other")]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert len(project.machines()) == 6
    both = {name: project.state(name) for name in ("demo", "other")}
    for who, machine in project.machines().items():
        owner = machine["tag"]["policy_id"]
        loser = {"demo": "other", "other": "demo"}[owner]
        assert both[owner][who]["status"] == "provisioned"
        if who in both[loser]:
            assert both[loser][who]["status"] == "notProvisioned"
            assert both[loser][who]["statusDetail"]["code"] == "otherPolicyFirst"
    machines = project.machines()
    for _ in range(2):
        for name in ("demo", "other"):
            project.up(name)
    left = {name: project.statuses(name) for name in ("demo", "other")}
    assert not left["demo"].keys() & left["other"].keys()
    assert set({**left["demo"], **left["other"]}.values()) == {"provisioned"}
    assert project.machines() == machines
    for name in ("demo", "other"):
        nothing_more_to_do(project, name)


def test_a_policy_whose_file_is_not_here_keeps_the_cloud_pcs_it_has(project: Project) -> None:
    """As on another branch: others leave its users alone, and serve only those whom it does not serve yet."""
    project.up()
    machines, state = project.machines(), project.state()
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    file.rename(project.root / "elsewhere.yaml")
    project.directory(3)
    project.policy("other")
    project.init("other")
    project.up("other")
    assert project.statuses("other") == {"u002": "provisioned"}
    listed = json.loads(project.cloudpc("list", "--all", "--policy", "other", "--json").output)
    assert {(row["userId"], (row["statusDetail"] or {}).get("code")) for row in listed} == {
        ("u000", "otherPolicyFirst"), ("u001", "otherPolicyFirst"), ("u002", None),
    }  # fmt: skip
    found = json.loads(project.cloudpc("doctor", "--json").output)
    assert {
        "what": "policy demo", "state": "warning", "detail": "its stack has no file in stacks/",
        "hint": "restore the file, or remove everything with `cloudpc down demo`",
    } in found  # fmt: skip

    (project.root / "elsewhere.yaml").rename(file)
    for name in ("demo", "other"):
        project.up(name)
        nothing_more_to_do(project, name)
    assert project.state() == state
    assert {who: project.machines()[who] for who in machines} == machines
