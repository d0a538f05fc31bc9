"""The main job "in Azure" with real machines: the fake's virtual machines are QEMU guests which people sign in to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cloudpc.images import gallery
from tests.azure.arm import FakeArm
from tests.azure.guests import Guests
from tests.azure.local_guest import missing
from tests.engine.test_azure import NOTHING, count
from tests.engine.test_real_life import _handed_out, _ssh
from tests.machines.audit import CommandLines, command_lines, files_with
from tests.machines.reach import answer
from tests.support.azure import PLAN, entry, policy
from tests.support.project import REPO, Project, user
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]  # fmt: skip


@pytest.fixture
def azure(project: Project) -> Iterator[FakeArm]:
    """A subscription whose machines are real."""
    guests = Guests(gallery.build(REPO / "vm-images", "micro", print))
    try:
        with FakeArm(back_end=guests) as arm:
            arm.operations.retry_after = 1
            project.env["CLOUDPC_AZURE_TOKEN"] = arm.token(8 * 3600)
            yield arm
        assert not arm.violations
    finally:
        guests.close()


def _members(project: Project, *names: str) -> None:
    key = project.root / "key.pub"
    people = [user("alice", PLAN), user("bob", PLAN, sshPublicKeys=[key.read_text().strip()] if key.exists() else [])]
    project.directory(people, {"everybody": list(names)})


def test_two_people_work_on_their_machines_until_they_leave(project: Project, azure: FakeArm) -> None:
    script = project.root / "stacks" / "greet.sh"
    script.write_text('#!/bin/sh\necho "it\'s for $(hostname)" > /etc/greeting\n')
    _members(project, "alice", "bob")
    policy(project, entry(azure), postProvisioningScript="greet.sh")

    with CommandLines() as lines:
        ran = project.cloudpc("up", "demo")
    assert ran.code == 0, ran
    assert project.statuses() == {"alice": "provisioned", "bob": "provisioned"}
    assert count(azure) == {"virtualMachines": 2, "networkInterfaces": 2, "disks": 2}
    given = _handed_out(project)
    state = project.state()
    assert given["connection"]["host"].startswith("127.")
    assert given["connection"]["port"] == 22
    # with the presented password, under the presented host key; and as everybody does it
    signed_in = _ssh(project, given, "cat /etc/greeting; echo mine > kept; sync")
    assert signed_in.stdout == f"it's for {state['alice']['deviceName'].lower()}\n", signed_in
    connected = project.cloudpc("connect", "bob", "--", "id -un; hostname")
    assert connected.output.split() == ["bob", state["bob"]["deviceName"].lower()], connected
    _is_kept_secret(project, azure, given["password"], lines)

    again = project.up()
    assert "4 unchanged" in again.output, again

    # out of the group: grace, in which everything goes on; back; made again
    _members(project, "bob")
    project.up()
    assert project.statuses() == {"alice": "inGracePeriod", "bob": "provisioned"}
    assert _ssh(project, given, "cat kept").stdout == "mine\n"
    _members(project, "alice", "bob")
    project.up()
    assert project.statuses()["alice"] == "provisioned"
    assert _ssh(project, given, "cat kept").stdout == "mine\n"
    ran = project.cloudpc("reprovision", "alice", "--yes")
    assert ran.code == 0, ran
    anew = _handed_out(project)
    looked = _ssh(project, anew, "hostname; ls")
    assert looked.stdout.split() == [project.state()["alice"]["deviceName"].lower()], looked
    assert (anew["hostKey"] != given["hostKey"], anew["password"] != given["password"]) == (True, True)

    # somebody switches it off; the next look sees it and starts it
    assert _ssh(project, anew, "true").returncode == 0
    name = next(vm.name for vm in azure.resources.of("Microsoft.Compute/virtualMachines") if "alice" in str(vm.tags))
    azure.back_end.guest(name).shut_down()  # type: ignore[attr-defined]
    ran = project.pulumi("up", "--yes", "--skip-preview", "--refresh", "--stack", "demo")
    assert "started on weu" in ran.output, ran
    wait_until(lambda: answer(anew["connection"]["host"], 22) == b"SSH-", 120, "it is not started")
    assert _ssh(project, anew, "hostname").returncode == 0

    # gone
    _members(project, "bob")
    project.up()
    ran = project.cloudpc("end-grace", "alice", "--yes")
    assert ran.code == 0, ran
    assert count(azure) == {"virtualMachines": 1, "networkInterfaces": 1, "disks": 1}
    assert answer(anew["connection"]["host"], 22, 1) == b""
    assert project.cloudpc("connect", "bob", "--", "exit 7").code == 7
    down = project.cloudpc("down", "demo", "--yes")
    assert down.code == 0, down
    assert azure.left == NOTHING
    mark = str(azure.back_end.folder).encode()  # type: ignore[attr-defined]
    wait_until(lambda: not [line for line in command_lines() if mark in line], 30, "a guest runs on")


def _is_kept_secret(project: Project, azure: FakeArm, password: str, lines: CommandLines) -> None:
    """The password: in no command line, no file of the run, no answer of Azure, no text of a script."""
    assert lines.with_(password) == []
    assert files_with(password, project.root / "state", project.root / "stacks", project.root / "pulumi-home") == []
    for request in azure.requests():
        assert password not in json.dumps(request.answer), str(request)
        assert password not in _without_protected(request.body), str(request)


def _without_protected(body: Any) -> str:
    shown = json.loads(json.dumps(body))
    if isinstance(shown, dict) and isinstance(shown.get("properties"), dict):
        shown["properties"].pop("protectedParameters", None)
    return json.dumps(shown)
