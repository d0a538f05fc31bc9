"""One policy over a libvirt host and Azure, with real machines on both, that people sign in to, until they leave."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cloudpc.images import gallery
from tests.azure.arm import FakeArm
from tests.azure.guests import Guests, at_guests_pace
from tests.azure.local_guest import missing
from tests.engine.test_azure import NOTHING, count
from tests.engine.test_real_life import _ssh
from tests.machines import daemon
from tests.machines.audit import things
from tests.machines.reach import answer
from tests.support.azure import IMAGE, PLAN, entry, policy
from tests.support.project import REPO, Project, user

pytestmark = [
    pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing() or daemon.missing()), reason=missing() or daemon.missing() or ""),
]  # fmt: skip
NAMES = ("alice", "bob")


@pytest.fixture
def azure(project: Project) -> Iterator[FakeArm]:
    """A subscription whose machines are real."""
    guests = Guests(gallery.build(REPO / "vm-images", "micro", print))
    try:
        with FakeArm(back_end=guests) as arm:
            arm.operations.retry_after = 1
            at_guests_pace(arm)
            project.env["CLOUDPC_AZURE_TOKEN"] = arm.token(8 * 3600)
            yield arm
        assert not arm.violations
    finally:
        guests.close()


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemon.Daemon]:
    """A host, as far as libvirt knows."""
    running = daemon.Daemon(tmp_path_factory.mktemp("desk"))
    yield running
    running.stop()


@pytest.fixture
def both(project: Project, azure: FakeArm, desk: daemon.Daemon) -> Project:
    """A policy whose image is a recipe's, for which another stands in Azure; the desk has memory for one machine."""
    project.env.pop("CLOUDPC_CACHE")
    project.env |= {name: value for name, value in os.environ.items() if name == "CLOUDPC_CACHE"}
    recipes = project.root / "vm-images"
    recipes.unlink()
    recipes.mkdir()
    for name in ("micro", "shared"):
        (recipes / name).symlink_to(REPO / "vm-images" / name)
    (recipes / "counterparts.yaml").write_text(yaml.safe_dump({"micro": {"azure": IMAGE}}))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    under_the_desk = {
        "name": "desk", "uri": desk.tcp_uri, "diskOvercommit": 100, "sshDestination": "",
        "memoryReservedInGB": round(memory - 5, 1),
    }  # fmt: skip
    policy(project, under_the_desk, entry(azure), imageId="micro")
    return project


def test_people_work_on_both_until_they_leave(both: Project, azure: FakeArm, desk: daemon.Daemon) -> None:
    _members(both, *NAMES)
    ran = both.cloudpc("up", "demo")
    assert ran.code == 0, ran
    state = both.state()
    assert {state[name]["host"] for name in NAMES} == {"desk", "weu"}, "the desk first, then Azure, which costs"
    assert count(azure) == {"virtualMachines": 1, "networkInterfaces": 1, "disks": 1}
    installation = state["alice"]["installation"]
    assert "domain" in things(installation, desk.tcp_uri, desk.root)

    given = {name: _handed_out(both, name) for name in NAMES}
    assert len({secret["hostKey"] for secret in given.values()}) == 2
    for name in NAMES:
        signed_in = _ssh(both, given[name], "hostname; echo mine > kept; sync")
        assert signed_in.stdout == f"{state[name]['deviceName'].lower()}\n", signed_in
    again = both.up()
    assert "4 unchanged" in again.output, again

    # grace, in which everything goes on
    _members(both)
    both.up()
    assert set(both.statuses().values()) == {"inGracePeriod"}
    for name in NAMES:
        assert _ssh(both, given[name], "cat kept").stdout == "mine\n"

    # gone
    ran = both.cloudpc("end-grace", *NAMES, "--yes")
    assert ran.code == 0, ran
    assert azure.left == NOTHING
    assert things(installation, desk.tcp_uri, desk.root) == {}
    for name in NAMES:
        where = given[name]["connection"]
        assert answer(where["host"], where["port"], 1) == b""


def _members(project: Project, *names: str) -> None:
    project.directory([user(name, PLAN) for name in NAMES], {"everybody": list(names)})


def _handed_out(project: Project, name: str) -> dict[str, Any]:
    ran = project.cloudpc("credentials", name, "--json")
    assert ran.code == 0, ran
    secret: dict[str, Any] = json.loads(ran.output)
    return secret
