"""Machines that somebody has stopped, taken away or changed past us."""

from __future__ import annotations

import pytest

from tests.support.project import UP, Project

from .life import SMALL, act, by_hand, lasting, machine_file, nothing_more_to_do, preview, taken_away, warn

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("at_once", [True, False], ids=["up --refresh", "refresh, up"])
def test_what_was_stopped_by_hand_is_started(project: Project, at_once: bool) -> None:
    """Also one in grace, which is to keep working."""
    project.up()
    project.directory(1)
    project.up()
    before = project.state()
    for name in ("u000", "u001"):
        by_hand(project, name, power="stopped")
    if not at_once:
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        assert {o["powerState"] for o in project.state().values()} == {"poweredOff"}
        told = preview(project)
        for name in ("u000", "u001"):
            assert f"{name}@contoso.example ({SMALL}): is off, and will be started" in told
    ran = project.up() if not at_once else project.pulumi(*UP, "demo", "--refresh")
    assert ran.code == 0, ran
    assert ran.output.count("was off, started on host") >= 2
    assert {m["power"] for m in project.machines().values()} == {"running"}
    after = project.state()
    for name, outputs in after.items():
        assert lasting(outputs) == lasting(before[name])
        assert outputs["events"][-1].endswith("was off, started")
    nothing_more_to_do(project)


def test_one_that_is_off_and_has_no_disk_is_lost(project: Project) -> None:
    project.up()
    by_hand(project, "u001", power="stopped")
    disk = project.root / "host" / f"{project.machines()['u001']['name']}.qcow2"
    disk.rename(project.root / "elsewhere")
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    detail = project.state()["u001"]["statusDetail"]
    assert (detail["code"], detail["message"]) == (
        "machineLost", "its machine is defined on host, but its disk is not there",
    )  # fmt: skip
    (project.root / "elsewhere").rename(disk)
    assert project.pulumi(*UP, "demo", "--refresh").code == 0
    project.up()
    assert project.statuses()["u001"] == "provisioned"
    assert project.machines()["u001"]["power"] == "running"


def test_one_that_does_not_start_fails_nobody(project: Project) -> None:
    project.up()
    for name in ("u000", "u001"):
        by_hand(project, name, power="stopped")
    project.host(
        faults=[
            {"call": "power_on", "user": "u000", "fault": "error"},
            {"call": "power_on", "user": "u001", "fault": "crash"},
        ]
    )
    project.directory(3)
    ran = project.pulumi(*UP, "demo", "--refresh")
    assert ran.code == 0, ran
    assert ran.output.count("it is off and could not be started") >= 2
    assert set(project.statuses().values()) == {"provisioned"}
    project.host()
    project.up()
    assert {m["power"] for m in project.machines().values()} == {"running"}
    nothing_more_to_do(project)


@pytest.mark.parametrize("at_once", [True, False], ids=["up --refresh", "refresh, up"])
def test_a_lost_machine_is_told_and_made_again_only_by_reprovision(project: Project, at_once: bool) -> None:
    project.up()
    machine_file(project, "u000").unlink()
    for _ in range(2):
        if not at_once:
            assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        ran = project.pulumi(*UP, "demo", *(["--refresh"] if at_once else []))
        assert ran.code == 0, ran
    state = project.state()
    assert project.statuses() == {"u000": "failed", "u001": "provisioned"}
    assert state["u000"]["statusDetail"]["code"] == "machineLost"
    assert len(state["u000"]["events"]) == 2, "it is told once"
    assert set(project.machines()) == {"u001"}
    [disk] = project.leaks()
    assert f"its disk is there ({disk})" in state["u000"]["statusDetail"]["message"]
    doctor = project.cloudpc("doctor", "--remove-leftovers", "--yes")
    assert f"volume {disk} belongs to a Cloud PC in state" in doctor.output
    assert project.leaks() == [disk], "it may be defined again"

    act(project, retry={f"u000/{SMALL}": 1})
    told = preview(project)
    assert "its machine is lost; `cloudpc reprovision` makes a new one, a retry doesn't" in told
    project.up()
    assert set(project.machines()) == {"u001"}
    act(project, retry={f"u000/{SMALL}": 1}, reprovision={f"u000/{SMALL}": 2})
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    assert "statusDetail" not in project.state()["u000"]
    nothing_more_to_do(project)


@pytest.mark.parametrize("was", ["provisionedWithWarnings", "inGracePeriod"])
def test_a_lost_machine_that_comes_back_is_what_it_was(project: Project, was: str) -> None:
    if was == "provisionedWithWarnings":
        warn(project)
    project.up()
    if was == "inGracePeriod":
        project.directory(1)
        project.up()
    before = project.state()["u001"]
    assert before["status"] == was
    with taken_away(project, "u001"):
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        assert project.state()["u001"]["statusDetail"]["code"] == "machineLost"
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    after = project.state()["u001"]
    assert lasting(after) == lasting(before)
    assert [event.split(" ", 1)[1] for event in after["events"][-2:]] == [
        "failed machineLost", f"{was} its machine is back",
    ]  # fmt: skip
    nothing_more_to_do(project)


def test_one_whose_user_leaves_while_it_is_lost_has_its_grace_like_any_other(project: Project) -> None:
    """Its disk may be there, and somebody who defines the machine again: until then it is kept, and then it goes."""
    project.directory(3)
    project.up()
    machines = project.machines()
    with taken_away(project, "u001"):
        machine_file(project, "u002").unlink()
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        disks = project.leaks()
        assert len(disks) == 2
        project.directory(1)
        assert preview(project).count("(the user is no longer in the directory)") >= 2
        project.up()
        lost = project.state()
        assert {lost[name]["status"] for name in ("u001", "u002")} == {"failed"}
        nothing_more_to_do(project)
        assert project.leaks() == disks
    assert project.pulumi(*UP, "demo", "--refresh").code == 0
    assert project.statuses() == {"u000": "provisioned", "u001": "inGracePeriod", "u002": "failed"}
    assert project.state()["u001"]["gracePeriodEndDateTime"] == lost["u001"]["gracePeriodEndDateTime"]
    nothing_more_to_do(project)

    project.directory(3)
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned", "u002": "failed"}
    assert project.machines() == {name: machines[name] for name in ("u000", "u001")}
    assert "gracePeriodEndDateTime" not in project.state()["u002"]
    nothing_more_to_do(project)
    project.directory(2)
    project.up()
    assert project.cloudpc("end-grace", "u002", "--yes").code == 0
    assert project.leaks() == [], "with the end of its grace its disk goes"
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    nothing_more_to_do(project)


def test_lost_ones_count_where_many_are_lost_by_the_directory(project: Project) -> None:
    project.directory(4)
    project.up()
    for name in ("u001", "u002", "u003"):
        machine_file(project, name).unlink()
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    project.directory(1)
    ran = project.pulumi(*UP, "demo")
    assert ran.code != 0
    assert "3 of 4 Cloud PCs of this policy would enter their grace period because of the directory" in ran.output


def test_a_lost_one_whose_hand_over_was_missed_is_no_unfinished_one(project: Project) -> None:
    project.host(faults=[{"call": "finish handedOver", "user": "u001", "fault": "error"}])
    project.up()
    assert project.machines()["u001"]["tag"]["phase"] == "ready"
    with taken_away(project, "u001"):
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    project.host()
    project.up()
    assert set(project.machines()) == {"u000", "u001"}
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert set(project.statuses().values()) == {"provisioned"}


def test_one_that_was_changed_by_hand_is_told(project: Project) -> None:
    """And what was reported before is reported again once that is corrected."""
    warn(project)
    project.up()
    before, size = project.state()["u000"], project.machines()["u000"]["size"]
    assert before["status"] == "provisionedWithWarnings"
    by_hand(project, "u000", size={**size, "vcpus": 4})
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    outputs = project.state()["u000"]
    assert outputs["status"] == "provisionedWithWarnings"
    assert outputs["statusDetail"]["code"] == "machineChanged"
    assert outputs["statusDetail"]["message"] == "its machine has 4 vCPU and 512 MiB, the service plan 1 and 512"
    nothing_more_to_do(project)
    by_hand(project, "u000", size={**size, "vcpus": 3})
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert "has 3 vCPU" in project.state()["u000"]["statusDetail"]["message"]
    by_hand(project, "u000", size=size)
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert lasting(project.state()["u000"]) == lasting(before)


def test_one_that_was_fine_before_it_was_changed_by_hand_is_fine_again(project: Project) -> None:
    project.up()
    before, size = project.state()["u000"], project.machines()["u000"]["size"]
    for changed, status in (({**size, "vcpus": 4}, "provisionedWithWarnings"), (size, "provisioned")):
        by_hand(project, "u000", size=changed)
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        assert project.statuses()["u000"] == status
    assert lasting(project.state()["u000"]) == lasting(before)


def test_state_from_a_backup_takes_no_newer_machine(project: Project) -> None:
    """What it has of a Cloud PC is of before the reprovision: whoever works on that machine keeps it."""
    project.up()
    backup = project.root / "backup.json"
    export = ("stack", "export", "--stack", "demo", "--show-secrets", "--file", str(backup))
    assert project.pulumi(*export).code == 0
    act(project, reprovision={f"u000/{SMALL}": 2})
    project.up()
    newer = project.machines()["u000"]
    assert newer["tag"]["generation"] == 2
    act(project)
    assert project.pulumi("stack", "import", "--stack", "demo", "--file", str(backup)).code == 0
    ran = project.cloudpc("down", "demo", "--yes")
    assert ran.code == 1, ran
    assert "these machines stay, which its state did not know" in " ".join(ran.output.split())
    assert project.machines() == {"u000": newer}
    ran = project.cloudpc("adopt", "demo", "--yes")
    assert ran.code == 0, ran
    assert project.machines()["u000"] == newer
    assert project.state()["u000"]["generation"] == 2
