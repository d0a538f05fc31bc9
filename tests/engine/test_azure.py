"""Whole flows on a host in the fake Azure, whose guests are a table: up, grace, end; two policies that share users."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.azure.arm import FakeArm
from tests.azure.linux_answers import KEY, LinuxAnswers
from tests.support.azure import PLAN, entry, policy
from tests.support.project import Project, user

pytestmark = pytest.mark.engine

NOTHING: dict[str, list[str]] = {"virtualMachines": [], "networkInterfaces": [], "disks": []}
REQUESTS = 25
"""For one Cloud PC, at most."""


@pytest.fixture
def azure(project: Project) -> Iterator[FakeArm]:
    """A subscription, and two users with a plan that it has a size for."""
    with FakeArm() as arm:
        arm.operations.retry_after = 0
        arm.table.otherwise = LinuxAnswers()
        project.env["CLOUDPC_AZURE_TOKEN"] = arm.token()
        project.directory([user("alice", PLAN), user("bob", PLAN)])
        yield arm
    assert not arm.violations


def members(project: Project, *names: str) -> None:
    """Who is in the group that the policy is assigned to."""
    project.directory([user("alice", PLAN), user("bob", PLAN)], {"everybody": list(names)})


def count(arm: FakeArm) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: len(names) for kind, names in arm.left.items()}


def test_two_users_from_their_first_day_to_their_end(project: Project, azure: FakeArm) -> None:
    policy(project, entry(azure), packages=["git"])
    ran = project.up()
    assert set(project.statuses().values()) == {"provisioned"}, ran
    assert count(azure) == {"virtualMachines": 2, "networkInterfaces": 2, "disks": 2}
    assert {vm.tags["cloudpc-phase"] for vm in azure.resources.of("Microsoft.Compute/virtualMachines")} == {
        "handedOver"
    }
    assert {outputs["hostKey"] for outputs in project.state().values()} == {" ".join(KEY.split()[:2])}

    asked = azure.count()
    assert "4 unchanged" in project.up().output
    looks = azure.requests()[asked:]
    assert {request.method for request in looks} == {"GET"}
    assert len(looks) <= 10, [str(look) for look in looks]

    members(project, "bob")
    project.up()
    assert project.statuses() == {"alice": "inGracePeriod", "bob": "provisioned"}
    ran = project.cloudpc("end-grace", "alice", "--yes")
    assert ran.code == 0, ran
    assert count(azure) == {"virtualMachines": 1, "networkInterfaces": 1, "disks": 1}
    before = project.state()["bob"]
    ran = project.cloudpc("reprovision", "bob", "--yes")
    assert ran.code == 0, ran
    assert project.state()["bob"]["deviceName"] != before["deviceName"]
    assert count(azure) == {"virtualMachines": 1, "networkInterfaces": 1, "disks": 1}
    listed = json.loads(project.cloudpc("list", "--json").output)
    assert ("weu", "provisioned") in {(row["host"], row["status"]) for row in listed}
    down = project.cloudpc("down", "demo", "--yes")
    assert down.code == 0, down
    assert azure.left == NOTHING


def test_two_policies_on_hosts_of_two_kinds_share_their_users(project: Project, azure: FakeArm) -> None:
    """Nobody has two: the policy that was first keeps its users, whatever kind of hosts the other one has."""
    policy(project, entry(azure), assignments=[{"target": {"groupId": "cloud"}}])
    project.policy("desk", assignments=[{"target": {"groupId": "desk"}}])
    project.init("desk")
    project.directory(
        [user("alice", PLAN), user("bob", PLAN), user("carol", PLAN)],
        {"cloud": ["alice", "bob"], "desk": ["bob", "carol"]},
    )
    project.up()
    project.up("desk")
    assert project.statuses() == {"alice": "provisioned", "bob": "provisioned"}
    assert project.statuses("desk") == {"carol": "provisioned"}
    assert set(project.machines()) == {"carol"}
    assert count(azure)["virtualMachines"] == 2

    project.directory(
        [user("alice", PLAN), user("bob", PLAN), user("carol", PLAN)], {"cloud": ["alice"], "desk": ["bob", "carol"]}
    )
    project.up()
    assert project.statuses() == {"alice": "provisioned", "bob": "inGracePeriod"}
    project.up("desk")
    assert project.statuses("desk") == {"carol": "provisioned"}  # he still has the one in the cloud
    assert project.cloudpc("end-grace", "bob", "--yes").code == 0
    project.up("desk")
    assert project.statuses("desk") == {"bob": "provisioned", "carol": "provisioned"}
    assert set(project.machines()) == {"bob", "carol"}
    assert count(azure) == {"virtualMachines": 1, "networkInterfaces": 1, "disks": 1}


def test_a_policy_with_hosts_of_two_kinds_fills_its_own_first(project: Project, azure: FakeArm) -> None:
    """One image with a form for each kind; the computer under the desk has room for one, Azure for the others."""
    image = azure.account.id("images", "tiny")
    disk = {"osType": "Linux", "osState": "Generalized", "diskSizeGB": 30}
    azure.add(image, "Microsoft.Compute/images", hyperVGeneration="V2", storageProfile={"osDisk": disk})
    path = project.policy(hosts=["desk"])
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:hosts"].append(entry(azure))
    content["config"]["cloudpc:images"]["tiny"]["azureResourceId"] = image
    salt = [line for line in path.read_text().splitlines(keepends=True) if line.startswith("encryptionsalt")]
    path.write_text(yaml.safe_dump({"config": content["config"]}) + "".join(salt))
    project.host("desk", cores=2)
    project.directory([user("alice", PLAN), user("bob", PLAN), user("carol", PLAN)])
    project.up()
    assert set(project.statuses().values()) == {"provisioned"}
    assert len(project.machines("desk")) == 1
    assert count(azure) == {"virtualMachines": 2, "networkInterfaces": 2, "disks": 2}
    assert sorted(pc["host"] for pc in project.state().values()) == ["desk", "weu", "weu"]
    assert "5 unchanged" in project.up().output
    down = project.cloudpc("down", "demo", "--yes")
    assert down.code == 0, down
    assert azure.left == NOTHING
    assert project.machines("desk") == {}
