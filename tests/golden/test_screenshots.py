"""The pictures of README and docs/, from the real commands; `make screenshots` makes them again."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.golden.conftest import Said
from tests.golden.screens import FOLDER, Screens
from tests.support.project import Project, user

SMALL, MIDDLE, BIG = "CPC_E_2C_8GB_128GB", "CPC_E_4C_16GB_128GB", "CPC_E_8C_32GB_128GB"


def _directory(project: Project, plans: dict[str, str], members: list[str]) -> None:
    content: dict[str, Any] = {
        "users": [user(name, plan) for name, plan in plans.items()],
        "groups": [{"id": "engineering", "displayName": "Engineering", "members": members}],
    }
    (project.root / "stacks" / "directory.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.engine
def test_what_people_see(project: Project, said: Said) -> None:
    screens = Screens(project, said)
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    project.policy("engineering", hosts=["kvm1"], assignments=[{"target": {"groupId": "engineering"}}])
    fault = {"call": "wait_ready", "user": "dave", "fault": "timeout", "retriable": False}
    project.host("kvm1", cores=32, memory_mib=48 * 1024, faults=[fault])
    plans = {"alice": SMALL, "bob": SMALL, "carol": MIDDLE, "dave": SMALL}
    _directory(project, plans, [*plans])
    project.init("engineering")
    project.up("engineering")
    _directory(project, {**plans, "erin": SMALL, "frank": BIG}, ["alice", "carol", "dave", "erin", "frank"])
    screens.take("screens/preview", "preview", columns=140)
    project.up("engineering")
    screens.take("screens/list", "list", columns=140)
    screens.take("screens/list-narrow", "list", columns=80)
    screens.take("screens/history", "history", "bob", columns=100)
    (project.root / "kvm1" / "cloudpc-584c2a2e3ea3dbf0-0123456789ab.qcow2").touch()
    screens.take("screens/doctor", "doctor", columns=140)


@pytest.mark.parametrize("picture", sorted(FOLDER.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_fetches_nothing_and_shows_no_machine_s_paths(picture: Any) -> None:
    text = picture.read_text()
    ElementTree.fromstring(text)
    assert "url(http" not in text
    assert "@import" not in text
    assert not re.findall(r"/(?:tmp|home|root|work)/", text)
