"""One policy on hosts under the desk and in Azure: the same image for both, the desk first, one machine a user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.azure.arm import FakeArm
from tests.azure.linux_answers import LinuxAnswers
from tests.support.azure import PLAN, entry, policy
from tests.support.project import Project, user

pytestmark = pytest.mark.engine

NAMES = ("alice", "bob", "carol")


@pytest.fixture
def both(project: Project) -> Iterator[FakeArm]:
    """A policy that runs under the desk, where there is room for one; its image has a form for Azure, too."""
    with FakeArm() as arm:
        arm.operations.retry_after = 0
        arm.table.otherwise = LinuxAnswers()
        project.env["CLOUDPC_AZURE_TOKEN"] = arm.token()
        project.directory([user(name, PLAN) for name in NAMES], {"everybody": ["alice"]})
        project.host("host", cores=2)
        change(
            project,
            lambda content: content["cloudpc:images"]["tiny"].update(azureResourceId="Debian:debian-12:12-gen2:latest"),
        )
        yield arm
    assert not arm.violations


def change(project: Project, how: Any) -> None:
    """Change the policy's file."""
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(path.read_text())
    how(content["config"])
    path.write_text(yaml.safe_dump(content))


def where(project: Project) -> dict[str, str]:
    """On which host the machine of each user is who has one."""
    return {name: outputs["host"] for name, outputs in project.state().items() if outputs["status"] == "provisioned"}


def test_an_admin_adds_a_host_in_azure_and_changes_nothing_else(project: Project, both: FakeArm) -> None:
    project.up()
    assert where(project) == {"alice": "host"}
    change(project, lambda content: content["cloudpc:hosts"].append(entry(both)))
    project.directory([user(name, PLAN) for name in NAMES], {"everybody": list(NAMES)})
    said = project.cloudpc("policy", "validate")
    assert (said.code, "gets none" in said.output) == (0, False), said
    ran = project.up()
    assert set(project.statuses().values()) == {"provisioned"}, ran
    assert where(project) == {"alice": "host", "bob": "weu", "carol": "weu"}, "who had one keeps it"
    kinds = {name: outputs["settings"].get("imageKind", "qcow2") for name, outputs in project.state().items()}
    assert kinds == {"alice": "qcow2", "bob": "azure", "carol": "azure"}
    assert json.loads(project.cloudpc("list", "--outdated", "--json").output) == []

    [shown] = json.loads(project.cloudpc("show", "bob", "--json").output)
    machines = {vm.id.lower() for vm in both.resources.of("Microsoft.Compute/virtualMachines")}
    assert shown["facts"]["vmResourceId"].lower() in machines

    project.directory([user(name, PLAN) for name in NAMES], {"everybody": ["bob"]})
    project.up()
    for name in ("alice", "carol"):
        ended = project.cloudpc("end-grace", name, "--yes")
        assert ended.code == 0, ended
    assert where(project) == {"bob": "weu"}
    assert (list(project.machines()), len(both.left["virtualMachines"])) == ([], 1)

    ran = project.cloudpc("reprovision", "bob", "--yes")  # there is room under the desk again
    assert ran.code == 0, ran
    assert where(project) == {"bob": "host"}
    assert "imageKind" not in project.state()["bob"]["settings"]
    assert {kind: names for kind, names in both.left.items() if names} == {}


@pytest.mark.parametrize("order", [("desk", "cloud"), ("cloud", "desk")])
def test_of_a_policy_under_the_desk_and_one_in_azure_the_first_assigned_wins(
    project: Project, both: FakeArm, order: tuple[str, str]
) -> None:
    first, second = order
    members = {"desk": ["alice", "bob"], "cloud": ["bob", "carol"]}
    people = [user(name, PLAN) for name in NAMES]
    project.directory(people, members)
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    project.host("host", cores=8)
    project.policy("desk", assignments=[{"target": {"groupId": "desk"}}], gracePeriodInHours=0)
    policy(project, entry(both), name="cloud", assignments=[{"target": {"groupId": "cloud"}}], gracePeriodInHours=0)
    for name in order:
        project.init(name)
        project.up(name)
    alone = {"desk": "alice", "cloud": "carol"}
    assert project.statuses(first) == {alone[first]: "provisioned", "bob": "provisioned"}
    assert project.statuses(second) == {alone[second]: "provisioned"}
    assert _machines(project, both) == {first: 2, second: 1}

    # out of the first one's group: its machine goes before the second one makes him another
    project.directory(people, {**members, first: [alone[first]]})
    project.up(first)
    project.up(second)
    assert project.statuses(first)["bob"] == "inGracePeriod"
    assert "bob" not in project.statuses(second)
    project.up(first)
    assert _machines(project, both) == {first: 1, second: 1}
    project.up(second)
    assert project.statuses(second)["bob"] == "provisioned"
    assert _machines(project, both) == {first: 1, second: 2}

    # back in the first one's, he keeps what he has
    project.directory(people, members)
    project.up(first)
    project.up(second)
    assert "bob" not in project.statuses(first)
    assert _machines(project, both) == {first: 1, second: 2}


def _machines(project: Project, arm: FakeArm) -> dict[str, int]:
    """How many each policy has, where its hosts are."""
    assert {len(names) for names in arm.left.values()} == {len(arm.left["virtualMachines"])}, arm.left
    return {"desk": len(project.machines()), "cloud": len(arm.left["virtualMachines"])}
