"""The life of a Cloud PC after its first day, on a real QEMU guest: grace and return, drift, reprovision, end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest
import yaml

from cloudpc.images import gallery
from cloudpc.machines.libvirt.configuration import this_machine
from cloudpc.model.access import Ssh
from tests.engine.conftest import REPO, Project, user
from tests.machines.audit import listening, things
from tests.machines.reach import greeting

pytestmark = [pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(900)]  # the image is built if need be

HOST = this_machine().model_dump(include={"name", "uri"})
LOOK = "cat /proc/sys/kernel/random/boot_id kept"


@pytest.fixture
def real(project: Project) -> Iterator[Project]:
    """One user on this machine's libvirt; what a failed test leaves there is removed."""
    gallery.build(REPO / "vm-images", "micro", print)
    project.env |= {name: value for name, value in os.environ.items() if name == "CLOUDPC_CACHE"}
    path = project.policy(imageType="gallery", imageId="micro")
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:hosts"] = [HOST]
    path.write_text(yaml.safe_dump(content))
    try:
        yield project
    finally:
        project.cloudpc("down", "demo", "--yes", "--clear-lock")


def test_one_machine_from_its_first_day_to_its_end(real: Project) -> None:
    _members(real, "alice")
    _up(real)
    first, given = real.state()["alice"], _handed_out(real)
    assert _ssh(real, given, "echo mine > kept && sync").returncode == 0
    boot, mine = _ssh(real, given, LOOK).stdout.split()
    assert mine == "mine"

    # out of the group: it goes on working, with what was handed out on the first day
    _members(real)
    _up(real)
    assert real.statuses() == {"alice": "inGracePeriod"}
    assert _ssh(real, given, LOOK).stdout.split() == [boot, "mine"]

    # back: the same machine, which has not even been started again
    _members(real, "alice")
    _up(real)
    assert real.statuses() == {"alice": "provisioned"}
    assert real.state()["alice"]["deviceName"] == first["deviceName"]
    assert _ssh(real, given, LOOK).stdout.split() == [boot, "mine"]

    # somebody pulls the plug: the next look sees it and starts it
    _pull_the_plug(first["installation"])
    ran = real.pulumi("up", "--yes", "--skip-preview", "--refresh", "--stack", "demo")
    assert ran.code == 0, ran
    assert "was off, started on local" in ran.output
    greeting(Ssh(host=given["connection"]["host"], port=given["connection"]["port"]))
    another_boot, mine = _ssh(real, given, LOOK).stdout.split()
    assert (mine, another_boot != boot) == ("mine", True)

    # an admin restarts it, in good order, and has it looked at
    ran = real.cloudpc("restart", "alice", "--yes")
    assert ran.code == 0, ran
    assert "restarted: shut down by its guest, and started" in ran.output
    restarted, mine = _ssh(real, given, LOOK).stdout.split()
    assert (mine, restarted != another_boot) == ("mine", True)
    ran = real.cloudpc("troubleshoot", "alice")
    assert "troubleshoot: no issues found" in ran.output, ran

    # reprovisioned: another device, other credentials, nothing of the former one
    ran = real.cloudpc("reprovision", "alice", "--yes")
    assert ran.code == 0, ran
    second, given_anew = real.state()["alice"], _handed_out(real)
    assert second["deviceName"] != first["deviceName"]
    assert given_anew["hostKey"] != given["hostKey"]
    looked = _ssh(real, given_anew, "hostname; ls -A")
    assert looked.stdout.split()[0] == second["deviceName"].lower(), looked
    assert "kept" not in looked.stdout.split()
    refused = _ssh(real, given_anew | {"password": given["password"]}, "true")
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr

    # out again, and ended at once
    port = given_anew["connection"]["port"]
    _members(real)
    _up(real)
    assert port in listening()
    assert set(things(first["installation"], HOST["uri"])) == {"domain", "volume", "file", "process"}
    ran = real.cloudpc("end-grace", "alice", "--yes")
    assert ran.code == 0, ran
    assert real.statuses() == {"alice": "deprovisioning"}
    assert things(first["installation"], HOST["uri"]) == {}
    assert port not in listening()
    [story] = json.loads(real.cloudpc("history", "alice", "--json").output)
    assert story["ended"]
    assert [event["status"] for event in story["events"]] == [
        "inGracePeriod", *["provisioned"] * 5, "inGracePeriod", "deprovisioning",
    ], "the last eight"  # fmt: skip
    whys = [event["why"] for event in story["events"]]
    assert whys[1:3] == ["entitled again", "was off, started"]
    assert whys[5] == f"reprovision, generation 2 as {second['deviceName']}"
    assert whys[7] == "ended by the admin; left group Everybody"


def _members(project: Project, *names: str) -> None:
    project.directory([user("alice")], {"everybody": list(names)})


def _up(project: Project) -> None:
    ran = project.cloudpc("up", "demo")
    assert ran.code == 0, ran


def _handed_out(project: Project) -> dict[str, Any]:
    """What alice is given: how to reach it, the key it answers with, her password."""
    ran = project.cloudpc("credentials", "alice", "--json")
    assert ran.code == 0, ran
    secret: dict[str, Any] = json.loads(ran.output)
    return secret


def _ssh(project: Project, given: dict[str, Any], command: str) -> subprocess.CompletedProcess[str]:
    """Sign in with this password alone, under the key that was given with it."""
    known_hosts, asked = project.root / "known_hosts", project.root / "asked"
    known_hosts.write_text(f"alice {given['hostKey']}\n")
    asked.write_text('#!/bin/sh\nprintf "%s\\n" "$PASSWORD_OF_THE_TEST"\n')
    asked.chmod(0o700)
    options = {
        "HostKeyAlias": "alice", "UserKnownHostsFile": f'"{known_hosts}"', "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes", "NumberOfPasswordPrompts": "1", "PubkeyAuthentication": "no",
    }  # fmt: skip
    argv = ["ssh", "-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())]
    argv += ["-p", str(given["connection"]["port"]), "-l", given["user"], given["connection"]["host"], command]
    env = os.environ | {
        "SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force", "PASSWORD_OF_THE_TEST": given["password"],
    }  # fmt: skip
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def _pull_the_plug(installation: str) -> None:
    [name] = things(installation, HOST["uri"])["domain"]
    connection = libvirt.open(HOST["uri"])
    try:
        connection.lookupByName(name).destroy()
    finally:
        connection.close()
