"""A machine whose tag somebody removed: nothing is done to it, everything reports it, and state can write it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.project import Project, user

pytestmark = pytest.mark.engine

_CODE = "tagUnreadable"


def _files(project: Project) -> dict[str, Path]:
    """The fake host's file of each machine, by user id."""
    names = {m["id"]: user_id for user_id, m in project.machines().items()}
    return {names[path.stem]: path for path in (project.root / "host" / "machines").glob("*.json")}


def _take_tag_away(path: Path) -> str:
    """As `virsh metadata … --remove` does; returns the name of its disk."""
    machine = json.loads(path.read_text())
    path.write_text(json.dumps({**machine, "tag": None}))
    return f"{machine['name']}.qcow2"


def _disks(project: Project) -> set[str]:
    return {path.name for path in (project.root / "host").glob("*.qcow2")}


def test_it_is_told_and_touched_by_nothing_until_its_tag_is_written_again(project: Project) -> None:
    project.directory([user(name) for name in ("torn", "leaves", "well")])
    project.up()
    before, files = project.machines(), _files(project)
    torn = {_take_tag_away(files[name]) for name in ("torn", "leaves")}
    project.directory([user(name) for name in ("torn", "well")])
    project.up()

    assert project.pulumi("refresh", "--yes", "--skip-preview", "--stack", "demo").code == 0
    state = project.state()
    assert state["torn"]["status"] == "provisionedWithWarnings"
    assert state["leaves"]["status"] == "inGracePeriod"
    assert [state[who]["statusDetail"]["code"] for who in ("torn", "leaves")] == [_CODE, _CODE]
    assert project.cloudpc("list").output.count(_CODE) == 2
    doctor = project.cloudpc("doctor", "--remove-leftovers", "--yes", "--json")
    assert doctor.code == 1
    found = [f for f in json.loads(doctor.output) if f["what"].endswith(": tag")]
    assert len(found) == 2
    assert all("cloudpc adopt" in f["hint"] for f in found)

    for command, code in ("reprovision torn", 1), ("end-grace leaves", 0), ("down demo", 1):
        ran = project.cloudpc(*command.split(), "--yes")
        assert ran.code == code, ran
        assert "has no readable tag" in ran.output
    assert _disks(project) == torn

    ran = project.cloudpc("adopt", "--yes")
    assert ran.output.count("has its tag again") == 2, ran
    assert project.machines()["torn"]["tag"] == {**before["torn"]["tag"], "phase": "handedOver", "attempt": ""}
    assert project.cloudpc("down", "demo", "--yes").code == 0
    assert _disks(project) == set()


def test_one_that_no_state_knows_is_told_and_no_second_one_is_made(project: Project) -> None:
    project.directory([user("torn")])
    project.up()
    disk = _take_tag_away(_files(project)["torn"])
    shutil.rmtree(project.root / "state")
    (project.root / "state").mkdir()
    project.policy(hosts=["host", "other"])
    project.init()
    project.up()
    assert project.state()["torn"]["statusDetail"]["code"] == _CODE
    assert project.machines("other") == {}
    ran = project.cloudpc("down", "demo", "--yes")
    assert ran.code == 1, ran
    assert "has no readable tag" in ran.output
    assert _disks(project) == {disk}

    project.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config")
    ran = project.cloudpc("down", "demo", "--yes")
    assert ran.code == 1, ran
    assert "has no readable tag" in ran.output
    assert _disks(project) == {disk}
