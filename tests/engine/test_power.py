"""Power and names: what an admin asks for by command is done once, and the runs after it leave it so."""

from __future__ import annotations

import json

import pytest

from tests.engine.life import machine_file
from tests.support.project import Project

pytestmark = pytest.mark.engine


def test_what_is_powered_off_stays_off_until_it_is_powered_on(project: Project) -> None:
    project.up()
    assert project.cloudpc("power-off", "u000").code == 4, "nobody was there to say yes"
    ran = project.cloudpc("power-off", "u000", "--yes")
    assert ran.code == 0, ran
    assert "powered off: shut down by its guest" in ran.output
    project.up()
    assert project.calls().count("power_on u000") == 0
    [row] = [row for row in json.loads(project.cloudpc("list", "--json").output) if row["userId"] == "u000"]
    assert (row["status"], row["powerState"], row["desiredPowerState"]) == ("provisioned", "poweredOff", "poweredOff")
    assert "powered off; `cloudpc power-on` starts it" in project.cloudpc("list").output
    refused = project.cloudpc("connect", "u000", "--", "true")
    assert (refused.code, "is powered off; cloudpc power-on u000@" in refused.output) == (3, True), refused
    assert "is off" not in project.cloudpc("doctor").output
    assert project.cloudpc("power-off", "u000", "--yes").code == 2, "it is off already"

    ran = project.cloudpc("power-on", "u000")
    assert ran.code == 0, ran
    assert project.calls().count("power_on u000") == 1
    assert "desiredPowerState" not in project.state()["u000"], "as one that nobody has asked for"
    assert project.cloudpc("restart", "u000", "--yes").code == 0
    assert project.calls().count("shut_down u000") == 2


def test_a_restart_that_fails_is_done_by_the_next_run(project: Project) -> None:
    project.up()
    project.host(faults=[{"call": "power_on", "user": "u000", "fault": "error", "times": 1}])
    ran = project.cloudpc("restart", "u000", "--yes")
    assert (ran.code, "not restarted, tried again by the next run" in ran.output) == (1, True), ran
    project.up()
    assert project.state()["u000"]["actions"] == {"restart": 1}
    assert "powerState" not in project.state()["u000"], "running"


def test_a_display_name_outlives_the_machine(project: Project) -> None:
    project.up()
    wrong = project.cloudpc("rename", "u000", "--display-name", "x" * 65)
    assert (wrong.code, "--display-name: " in wrong.output) == (2, True), wrong
    assert project.cloudpc("rename", "u000", "--display-name", "Ada's").code == 0
    device = project.state()["u000"]["deviceName"]
    assert project.cloudpc("reprovision", "u000", "--yes").code == 0
    [row] = [row for row in json.loads(project.cloudpc("list", "--json").output) if row["userId"] == "u000"]
    assert (row["displayName"], row["deviceName"] != device) == ("Ada's", True)
    assert project.cloudpc("rename", "u000", "--display-name", "Ada's").code == 2, "it bears it already"


def test_troubleshoot_tells_one_of_four_outcomes_and_mends(project: Project) -> None:
    project.up()
    ran = project.cloudpc("troubleshoot", "u000")
    assert (ran.code, "troubleshoot: no issues found" in ran.output) == (0, True), ran
    file = machine_file(project, "u000")
    file.write_text(json.dumps({**json.loads(file.read_text()), "power": "stopped"}))
    ran = project.cloudpc("troubleshoot", "u000")
    assert "troubleshoot: issues found and resolved: it was off, and works again" in ran.output, ran
    project.host(faults=[{"call": "run", "user": "u000", "fault": "error"}])
    ran = project.cloudpc("troubleshoot", "u000")
    assert "troubleshoot: issues found that could not be resolved: " in ran.output, ran
    assert "[guestAgentLost]" in ran.output
    told = project.cloudpc("history", "u000").output
    assert told.count("troubleshoot: ") == 3
    assert {row["status"] for row in json.loads(project.cloudpc("list", "--json").output)} == {"provisioned"}
