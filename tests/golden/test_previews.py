"""What previews say of each step in the life of a Cloud PC, and the runs that then take it."""

from __future__ import annotations

import pytest

from tests.golden.by_hand import BIG, SMALL, assign, change, config, failing, machine_file
from tests.golden.conftest import Golden
from tests.support.project import Project, user

pytestmark = pytest.mark.engine


def test_grace_and_its_end(golden: Golden, project: Project) -> None:
    leavers = ["left-group", "unlicensed", "removed", "disabled"]
    staff = ["stays", *leavers]
    everybody = [user(name) for name in (*staff, "unassigned")]
    project.directory(everybody, {"staff": staff, "guests": ["unassigned"]})
    many_may_go = {"massLossInPercent": 100}
    assign(project, "staff", "guests")
    project.init()
    golden.preview("previews/new")
    project.up()
    golden.preview("previews/nothing-to-do")

    users = [user("stays"), user("left-group"), {**user("unlicensed"), "servicePlans": []}]
    users += [user("disabled", accountEnabled=False), user("unassigned")]
    project.directory(users, {"staff": ["stays", "unlicensed", "disabled"], "guests": ["unassigned"]})
    assign(project, "staff")
    config(project, safety=many_may_go)
    golden.preview("previews/grace-begins")
    golden.pulumi("runs/grace-begins", "up", "--yes", "--skip-preview", "--stack", "demo")
    golden.cloudpc("list/in-grace", "list")
    golden.preview("previews/in-grace-nothing-to-do")

    back = [each for each in users if each["id"] not in ("unlicensed", "disabled")]
    back += [user("unlicensed"), user("disabled")]
    project.directory(back, {"staff": ["stays", "left-group", "unlicensed", "disabled"], "guests": ["unassigned"]})
    config(project, actions={"reprovision": {f"disabled/{SMALL}": 2}})
    golden.preview("previews/entitled-again")
    project.up()

    golden.cloudpc("commands/end-grace-question", "end-grace", "removed", answer="n")
    golden.cloudpc("commands/end-grace", "end-grace", "removed", "--yes")
    golden.preview("previews/ended-is-dropped")
    golden.cloudpc("history/ended", "history", "removed")

    assign(project, "staff", gracePeriodInHours=0)
    project.directory([user("stays"), user("unassigned")], {"staff": ["stays"], "guests": ["unassigned"]})
    config(project, safety=many_may_go)
    project.up()
    golden.preview("previews/grace-is-over")
    project.host(faults=[{"call": "delete", "user": "left-group", "fault": "error"}])
    golden.pulumi("runs/ended-with-leftovers", "up", "--yes", "--skip-preview", "--stack", "demo")
    golden.preview("previews/ended-with-leftovers")
    golden.cloudpc("list/with-leftovers", "list")


def test_failing_and_what_is_asked_for(golden: Golden, project: Project) -> None:
    names = ["well", "third-attempt", "reprovisioned", "retried", "remade"]
    project.directory([*(user(name) for name in names), user("waits", BIG)])
    directory = project.root / "stacks" / "directory.yaml"
    directory.write_text(directory.read_text().replace("ramInGB: 1\n", "ramInGB: 64\n"))
    slow = {"call": "wait_ready", "fault": "error"}
    faults = [failing("retried"), {**slow, "user": "remade"}, {**slow, "user": "third-attempt", "times": 2}]
    project.host(memory_mib=8192, faults=faults)
    project.init()
    golden.cloudpc("runs/failed-pending-and-the-third-attempt", "up", "demo")
    golden.cloudpc("list/failed-and-pending", "list")
    golden.cloudpc("list/as-json", "list", "--json")
    golden.cloudpc("list/check", "list", "--check", "--status", "failed")
    golden.cloudpc("commands/show-failed", "show", "retried")
    golden.cloudpc("commands/show", "show", "well")
    golden.cloudpc("commands/connect-to-a-failed-one", "connect", "retried")
    golden.cloudpc("history/failed", "history", "retried")
    golden.cloudpc("history/as-json", "history", "retried", "--json")
    golden.cloudpc("commands/retry-refused", "retry", "well")
    golden.cloudpc("commands/reprovision-refused", "reprovision", "waits")
    golden.cloudpc("commands/update-kernel-refused", "update-kernel", "well")
    golden.cloudpc("commands/end-grace-refused", "end-grace", "well", "--yes")

    project.host(memory_mib=8192)
    project.policy(timeZone="Europe/Berlin", packages=["htop"], windowsSetting={"locale": "de-DE"})
    golden.cloudpc("list/outdated", "list", "--outdated")
    golden.cloudpc("commands/reprovision-question", "reprovision", "reprovisioned", answer="n")
    golden.cloudpc("commands/nobody-there-to-ask", "reprovision", "reprovisioned")
    golden.cloudpc("commands/retry-write-only", "retry", "retried", "--write-only")
    config(
        project,
        actions={
            "reprovision": {f"reprovisioned/{SMALL}": 2, f"remade/{SMALL}": 2},
            "retry": {f"retried/{SMALL}": 1, f"nobody/{SMALL}": 1},
            "updateKernel": {f"well/{SMALL}": 1},
            "endGrace": {f"mistyped/{SMALL}": "2030-01-01T00:00:00Z"},
        },
    )
    golden.preview("previews/asked-for")
    golden.pulumi("runs/asked-for", "up", "--yes", "--skip-preview", "--stack", "demo")
    config(project, actions={"reprovision": {f"reprovisioned/{SMALL}": 1}})
    golden.preview("previews/asked-for-what-is-over")

    project.host(memory_mib=8192, faults=[failing("well", "ensure_image")])
    golden.cloudpc("commands/reprovision-that-fails", "reprovision", "well", "--yes")
    golden.cloudpc("runs/stays-failed", "up", "demo")


def test_a_run_of_one_with_all_that_it_shows_meanwhile(golden: Golden, project: Project) -> None:
    (project.root / "stacks" / "script.sh").write_text("#!/bin/sh\n")
    project.directory([user("anna")])
    project.policy(postProvisioningScript="script.sh", packages=["htop"], timeZone="Europe/Berlin")
    project.init()
    project.host(
        exit_code=1, output="E: no way to the mirror", faults=[{"call": "start", "fault": "error", "times": 1}]
    )
    golden.cloudpc("runs/with-warnings-and-every-stage", "up", "demo", progress=True)
    golden.cloudpc("list/with-warnings", "list")
    golden.cloudpc("commands/retry-still-fails", "retry", "anna")
    project.host()
    golden.cloudpc("commands/retry-of-a-set-up", "retry", "anna")
    golden.cloudpc("history/with-warnings", "history", "anna")
    golden.cloudpc("commands/credentials", "credentials", "anna")
    golden.cloudpc("commands/credentials-as-json", "credentials", "anna", "--json")
    golden.cloudpc("commands/reprovision", "reprovision", "anna", "--yes", progress=True)
    golden.cloudpc("commands/down-question", "down", "demo", answer="n")
    golden.cloudpc("commands/down-nobody-to-ask", "down", "demo")
    project.host(faults=[{"call": "delete", "fault": "error", "times": 1}])
    golden.cloudpc("commands/down-could-not-delete", "down", "demo", "--yes")
    golden.cloudpc("commands/down", "down", "demo", "--yes")
    golden.cloudpc("list/none", "list")


def test_a_mass_loss(golden: Golden, project: Project) -> None:
    project.directory(4)
    project.init()
    project.up()
    project.directory(1)
    golden.preview("previews/mass-loss")
    golden.cloudpc("runs/mass-loss", "up", "demo")
    golden.cloudpc("runs/mass-loss-accepted", "up", "demo", "--accept-loss", "3")


def test_machines_that_are_not_as_recorded(golden: Golden, project: Project) -> None:
    names = ["well", "off", "paused", "lost", "without-disk", "undefined", "changed", "torn", "off-in-grace"]
    project.directory([user(name) for name in names])
    project.init()
    project.up()
    project.directory([user(name) for name in names], {"everybody": names[:-1]})
    project.up()
    for name in ("off", "off-in-grace", "without-disk"):
        change(project, name, power="stopped")
    change(project, "paused", power="paused", paused_because="its host's disk is full")
    change(project, "changed", size={**project.machines()["changed"]["size"], "vcpus": 4})
    for name in ("without-disk", "lost"):
        (project.root / "host" / f"{project.machines()[name]['name']}.qcow2").unlink()
    for name in ("lost", "undefined"):
        machine_file(project, name).unlink()
    change(project, "torn", tag=None)
    golden.preview("previews/not-as-recorded")
    golden.cloudpc("doctor/not-as-recorded", "doctor")
    golden.pulumi("runs/refresh", "refresh", "--yes", "--skip-preview", "--stack", "demo")
    golden.cloudpc("list/not-as-recorded", "list")
    golden.cloudpc("doctor/after-a-refresh", "doctor")
    golden.cloudpc("commands/reprovision-question-of-a-lost-one", "reprovision", "lost", "undefined", answer="n")
    golden.cloudpc("commands/retry-of-a-lost-one", "retry", "lost")
    config(project, actions={"retry": {f"lost/{SMALL}": 1}})
    golden.preview("previews/lost")
    golden.cloudpc("runs/not-as-recorded", "up", "demo")
    golden.cloudpc("commands/adopt-tags-question", "adopt", answer="n")
    golden.cloudpc("commands/adopt-tags", "adopt", "--yes")
    golden.cloudpc("runs/tag-is-back", "up", "demo")
    project.host(away=True)
    golden.preview("previews/host-away")
    golden.cloudpc("runs/host-away", "up", "demo")
    golden.cloudpc("doctor/host-away", "doctor")
