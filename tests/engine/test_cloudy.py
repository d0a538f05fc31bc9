"""Whole flows on a cloud: slow, deletions that go on after the run, quotas, and commands that are counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.clouds.cloudy.service import CloudService
from tests.support.project import REPO, UP, Project, user
from tests.support.waiting import wait_until

pytestmark = pytest.mark.engine

FACTS = """system PRETTY_NAME="Cloudy Linux 1"
key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M cloudy
"""
SLOWLY = {"seconds": {"delete": 600}}


class Cloud:
    """An account of the cloud, which the project's policy has for its only host."""

    def __init__(self, project: Project) -> None:
        self.folder = project.root / "cloud"
        project.env["PYTHONPATH"] += f":{REPO / 'tests' / 'clouds'}"
        self.service = CloudService(self.folder)
        self.set()
        file = project.root / "stacks" / "Pulumi.demo.yaml"
        config = yaml.safe_load(file.read_text())
        account = {"account": str(self.folder), "patienceInSeconds": 0.5, "youngInSeconds": 0}
        config["config"]["cloudpc:hosts"] = [{"name": "cloud", "kind": "cloudy", **account}]
        file.write_text(yaml.safe_dump(config))

    def set(self, **settings: Any) -> None:
        """What the cloud does, from now on."""
        new = self.folder / "cloud.json.new"
        new.write_text(json.dumps({"guest": {"says": [{"in": "PRETTY_NAME", "output": FACTS}]}, **settings}))
        new.replace(self.folder / "cloud.json")

    def things(self) -> list[str]:
        """All there is."""
        parts = self.service.list_parts()
        return [each["name"] for each in [*self.service.list_machines(), *parts["cards"], *parts["disks"]]]

    def whose(self) -> list[str]:
        """The users of the machines that are there."""
        return sorted(machine["tags"]["cloudpc-user_id"] for machine in self.service.list_machines())

    def calls(self, name: str) -> int:
        """How often the service was asked for this."""
        return sum(line.split()[2] == name for line in (self.folder / "calls.log").read_text().splitlines())


@pytest.fixture
def cloudy(project: Project) -> Project:
    """Three users."""
    project.directory(3)
    return project


@pytest.fixture
def cloud(cloudy: Project) -> Cloud:
    return Cloud(cloudy)


def test_three_users_come_up_and_all_of_it_goes_down(cloudy: Project, cloud: Cloud) -> None:
    ran = cloudy.up()
    assert set(cloudy.statuses().values()) == {"provisioned"}, ran
    assert cloud.whose() == ["u000", "u001", "u002"]
    assert {machine["tags"]["cloudpc-phase"] for machine in cloud.service.list_machines()} == {"handedOver"}
    assert "5 unchanged" in cloudy.up().output

    listed = json.loads(cloudy.cloudpc("list", "--json").output)
    assert {(row["host"], row["status"]) for row in listed} == {("cloud", "provisioned")}
    found = json.loads(cloudy.cloudpc("doctor", "--json").output)
    assert not [finding for finding in found if "cpc" in finding["detail"] and finding["status"] != "passed"]

    down = cloudy.cloudpc("down", "demo", "--yes")
    assert down.code == 0, down
    wait_until(lambda: cloud.things() == [], 20, f"left: {cloud.things()}")


def test_a_reprovision_waits_for_what_is_going_without_failing(cloudy: Project, cloud: Cloud) -> None:
    cloudy.up()
    before = cloudy.state()["u000"]
    cloud.set(**SLOWLY)
    ran = cloudy.cloudpc("reprovision", "u000", "--yes")
    state = cloudy.state()["u000"]
    assert (state["status"], state["statusDetail"]["code"]) == ("pendingProvision", "machineGoing"), ran
    assert cloud.whose() == ["u000", "u001", "u002"]

    cloud.set()
    cloud.service.finish_deletions()
    cloudy.up()
    after = cloudy.state()["u000"]
    assert after["status"] == "provisioned"
    assert after["deviceName"] != before["deviceName"]
    assert cloud.whose() == ["u000", "u001", "u002"]
    assert len(cloud.things()) == 9


def test_an_end_that_is_not_over_is_looked_at_by_the_next_run(cloudy: Project, cloud: Cloud) -> None:
    cloudy.up()
    cloud.set(**SLOWLY)
    cloudy.directory([user("u001"), user("u002")])
    cloudy.up()  # in grace
    ended = cloudy.cloudpc("end-grace", "u000", "--yes")
    state = cloudy.state()["u000"]
    assert state["status"] == "deprovisioning", ended
    assert state["leftovers"]
    again = cloudy.up()
    assert cloudy.state()["u000"]["leftovers"] == state["leftovers"], again

    cloud.set()
    cloud.service.finish_deletions()
    cloudy.up()
    cloudy.up()
    assert set(cloudy.state()) == {"u001", "u002"}
    assert cloud.whose() == ["u001", "u002"]


@pytest.mark.parametrize("call", ["put_card", "put_machine", "put_command"])
def test_what_a_killed_run_has_begun_is_finished_by_the_next_one(cloudy: Project, cloud: Cloud, call: str) -> None:
    cloud.set(faults=[{"call": call, "code": "kill", "times": 1, "after": True}])
    first = cloudy.pulumi(*UP, "demo")
    assert first.code != 0, first
    wait_until(lambda: not cloudy.processes(b"cloudpc.iac.plugin_process"), 20, "the provider did not end")
    second = cloudy.cloudpc("up", "demo", "--clear-lock")
    assert second.code == 0, second
    assert set(cloudy.statuses().values()) == {"provisioned"}
    assert cloud.whose() == ["u000", "u001", "u002"]
    assert len(cloud.things()) == 9, "the card of a claim that died has no machine, and goes"


def test_a_quota_makes_them_wait_not_fail(cloudy: Project, cloud: Cloud) -> None:
    cloud.set(quota={"vcpus": 2})
    ran = cloudy.up()
    assert sorted(cloudy.statuses().values()) == ["pendingProvision", "provisioned", "provisioned"]
    assert "noCapacity" in ran.output
    assert len(cloud.things()) == 6
    cloud.set(quota={"vcpus": 3})
    cloudy.up()
    assert set(cloudy.statuses().values()) == {"provisioned"}


def test_commands_that_are_counted_are_waited_for(cloudy: Project, cloud: Cloud) -> None:
    cloud.set(commands={"bucket": 1, "refill": 0.5})
    ran = cloudy.up()
    assert set(cloudy.statuses().values()) == {"provisioned"}, ran
    assert cloud.calls("put_command") > 3
