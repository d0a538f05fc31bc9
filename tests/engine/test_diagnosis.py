"""What is kept of a failed Cloud PC for three hours, and what removes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project, user

pytestmark = pytest.mark.engine


@pytest.fixture
def failed(project: Project) -> Project:
    """One that works and one that has failed."""
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "error", "retriable": False}])
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "failed"}
    project.host()
    return project


def test_disk_and_console_are_kept_and_state_says_where(failed: Project) -> None:
    [log] = failed.kept()
    assert _disk(log).is_file()
    assert set(failed.machines()) == {"u000"}, "memory, ports and card are free"
    assert failed.leaks() == []
    told = failed.state()["u001"]["statusDetail"]["additionalInformation"]["kept"]
    assert told.startswith(f"{_disk(log).name} and {log.name} on host, until ")
    assert log.name in failed.cloudpc("show", "u001").output
    failed.up()
    assert failed.kept() == [log], "its time is not over"


def test_the_first_run_after_three_hours_removes_them_and_the_error_stays(failed: Project) -> None:
    before = failed.state()["u001"]
    disk = _disk(_expire(failed))
    ran = failed.up()
    assert f"removed {disk.name}" in ran.output
    assert failed.kept() == []
    assert not disk.exists()
    assert failed.state()["u001"] == before


@pytest.mark.parametrize("how", [["retry", "u001"], ["reprovision", "u001", "--yes"]], ids=lambda how: how[0])
def test_trying_again_removes_them_at_once(failed: Project, how: list[str]) -> None:
    ran = failed.cloudpc(*how)
    assert ran.code == 0, ran
    assert failed.statuses()["u001"] == "provisioned"
    assert failed.kept() == []


def test_its_end_removes_them_and_so_does_down(failed: Project) -> None:
    failed.directory([user("u000"), user("u001")], {"everybody": ["u000"]})
    failed.up()
    assert failed.kept() == []
    failed.directory(2)
    failed.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "error", "retriable": False}])
    failed.up()
    failed.up()
    [log] = failed.kept()
    assert failed.cloudpc("down", "demo", "--yes").code == 0
    assert failed.kept() == []
    assert not _disk(log).exists()


def _disk(log: Path) -> Path:
    return log.with_name(log.name.partition("-failed-")[0] + ".qcow2")


def _expire(project: Project) -> Path:
    """As three hours would."""
    [log] = project.kept()
    return log.rename(log.with_name(log.name.partition("-failed-")[0] + "-failed-1.log"))
