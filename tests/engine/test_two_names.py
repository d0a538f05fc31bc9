"""One hypervisor under two names: what is kept through the one is not lost through the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.project import UP, Project

pytestmark = pytest.mark.engine


@pytest.fixture
def aliased(project: Project) -> Project:
    """Two Cloud PCs, the machine of one undefined by hand; then the host has a second name, which comes first."""
    project.up()
    [path] = [p for p in _files(project) if json.loads(p.read_text())["tag"]["user_id"] == "u000"]
    path.unlink()
    (project.root / "alias").symlink_to("host")
    return project


def test_in_one_policy_it_is_refused_and_doctor_deletes_nothing(aliased: Project) -> None:
    aliased.policy(hosts=["alias", "host"])
    before, disks = aliased.machines(), _disks(aliased)
    ran = aliased.pulumi(*UP, "demo")
    assert ran.code != 0, ran
    assert "cloudpc:hosts: alias and host are one hypervisor. Nothing was touched." in ran.output
    doctor = json.loads(aliased.cloudpc("doctor", "--json", "--remove-leftovers", "--yes").output)
    assert [f["state"] for f in doctor if "alias and host are one hypervisor" in f["detail"]] == ["failed"]
    assert not [f for f in doctor if "is unknown to state" in f["detail"] or f["detail"].startswith("removed")]
    assert (aliased.machines(), _disks(aliased)) == (before, disks)


def test_in_two_policies_both_may_call_it_as_they_like(aliased: Project) -> None:
    aliased.policy("lab", hosts=["alias"], assignments=[])
    doctor = json.loads(aliased.cloudpc("doctor", "--json", "--remove-leftovers", "--yes").output)
    assert not [f for f in doctor if "is unknown to state" in f["detail"] or f["detail"].startswith("removed")]
    assert not [f for f in doctor if "one hypervisor" in f["detail"]]
    assert len(_disks(aliased)) == 2


def test_a_name_that_means_another_host_elsewhere_does_not_hide_it(aliased: Project) -> None:
    """The other policy calls another machine by the name that state has."""
    file = aliased.policy("lab", hosts=["host", "third"], assignments=[])
    content = yaml.safe_load(file.read_text())
    for entry, folder in zip(content["config"]["cloudpc:hosts"], ("third", "host"), strict=True):
        entry["uri"] = entry["uri"].rpartition("/")[0] + f"/{folder}"
    file.write_text(yaml.safe_dump(content))
    before, disks = aliased.machines(), _disks(aliased)
    doctor = json.loads(aliased.cloudpc("doctor", "--json", "--remove-leftovers", "--yes").output)
    assert not [f for f in doctor if "is unknown to state" in f["detail"] or f["detail"].startswith("removed")]
    assert (aliased.machines(), _disks(aliased)) == (before, disks)


def _files(project: Project) -> list[Path]:
    return sorted((project.root / "host" / "machines").glob("*.json"))


def _disks(project: Project) -> list[str]:
    return sorted(p.name for p in (project.root / "host").glob("*.qcow2"))
