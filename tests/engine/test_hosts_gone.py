"""Hosts that are away, renamed or gone for good: what ends or is made again waits, and never for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.project import PLAN, Project, user

pytestmark = pytest.mark.engine

_GONE = "which is not in cloudpc:hosts; put the host back there, or, if it is gone for good, run "


def test_one_made_anew_waits_for_its_host_until_somebody_says_it_is_gone(project: Project) -> None:
    _on(project, "old")
    project.up()
    assert set(project.machines("old")) == {"u000", "u001"}
    _on(project, "new", reprovision={f"u000/{PLAN['id']}": 2})
    ran = project.up()
    assert f"the host old, {_GONE}`cloudpc up demo --forget-host old`" in ran.output
    assert "generation" not in project.state()["u000"], "still the first"

    ran = project.cloudpc("reprovision", "u001", "--yes")
    assert ran.code == 1, ran
    assert f"not done for u001@contoso.example ({PLAN['id']}), for the reason above" in ran.output

    mistyped = project.cloudpc("up", "demo", "--forget-host", "odl")
    assert mistyped.code == 2, mistyped
    assert "no Cloud PC is on odl; hosts of Cloud PCs: old" in mistyped.output
    ran = project.cloudpc("up", "demo", "--forget-host", "old")
    assert ran.code == 0, ran
    again = project.state()["u000"]
    assert (again["status"], again["generation"], again["host"]) == ("provisioned", 2, "new")
    assert project.state()["u001"]["generation"] == 2
    assert set(project.machines("old")) == {"u000", "u001"}, "it was not asked"
    _on(project, "new", "old")
    project.up()
    assert set(project.machines("old")) == {"u000", "u001"}, "nothing is deleted that users may work on"
    _on(project, "new")

    _on(project, "newer")
    refused = project.cloudpc("down", "demo", "--yes")
    assert refused.code == 2, refused
    assert "if it is gone for good, add --forget-host new" in refused.output
    ran = project.cloudpc("down", "demo", "--yes", "--forget-host", "new")
    assert ran.code == 0, ran


def test_a_renamed_hosts_machine_is_made_anew(project: Project) -> None:
    _on(project, "host")
    project.up()
    file = project.policy()
    content = yaml.safe_load(file.read_text())
    content["config"]["cloudpc:hosts"][0]["name"] = "renamed"
    content["config"]["cloudpc:actions"] = {"reprovision": {f"u000/{PLAN['id']}": 2}}
    file.write_text(yaml.safe_dump(content))
    project.up()
    assert {who: m["tag"]["generation"] for who, m in project.machines().items()} == {"u000": 2, "u001": 1}


def test_a_failed_one_needs_no_host_to_end(project: Project) -> None:
    project.host("old", faults=[{"call": "start", "user": "u000", "fault": "error", "retriable": False}])
    _on(project, "old")
    project.up()
    assert project.state()["u000"]["host"] == "old"
    project.directory([user("u001")])
    _on(project, "new")
    project.up()
    assert project.statuses() == {"u000": "deprovisioning", "u001": "provisioned"}
    project.up()
    assert project.statuses() == {"u001": "provisioned"}


def test_who_never_had_a_machine_ends_whatever_host_is_away(project: Project) -> None:
    project.host(cores=1)
    project.policy(hosts=["host", "other"])
    project.host("other", away=True)
    project.up()
    [waits] = [who for who, status in project.statuses().items() if status == "pendingProvision"]
    [works] = project.statuses().keys() - {waits}
    project.directory([user(works)])
    project.up()
    project.up()
    assert project.statuses() == {works: "provisioned"}


def test_a_lost_one_has_not_ended_while_its_host_does_not_answer(project: Project) -> None:
    project.up()
    [path] = [p for p in (project.root / "host" / "machines").iterdir() if _user(p.read_text()) == "u000"]
    machine = path.read_text()
    path.unlink()
    assert project.pulumi("refresh", "--stack", "demo", "--yes", "--skip-preview").code == 0
    assert project.statuses()["u000"] == "failed"
    project.directory([user("u001")])
    project.host(away=True)
    project.up()
    assert project.cloudpc("end-grace", "u000", "--yes").code == 0
    left = project.state()["u000"]
    assert (left["status"], left["leftovers"]) == ("deprovisioning", ["its machine on host: host does not answer"])
    path.write_text(machine)
    project.host()
    project.up()
    assert project.machines().keys() == {"u001"}, "nobody forgets that it may be there"
    project.up()
    assert project.statuses() == {"u001": "provisioned"}


def _on(project: Project, *hosts: str, **actions: dict[str, int]) -> None:
    file = project.policy(hosts=list(hosts))
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    content["config"]["cloudpc:actions"] = actions
    file.write_text(yaml.safe_dump(content))


def _user(machine: str) -> str:
    return str(json.loads(machine)["tag"]["user_id"])
