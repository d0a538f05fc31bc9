"""The whole product on real QEMU guests: what a person with two users does, from `up` to `down`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.images import gallery
from cloudpc.machines.libvirt.configuration import this_machine
from tests.engine.conftest import PLAN, REPO, Project, user
from tests.machines.audit import listening, things

pytestmark = [pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(1500)]  # images are built if need be

HOST = this_machine().model_dump(include={"name", "uri"})
TOO_SMALL = {"id": "TOO_SMALL", "vCpuCount": 1, "ramInGB": 0.05, "storageInGB": 1}


@pytest.fixture(scope="module")
def images() -> None:
    for name in ("micro", "debian-12"):
        gallery.build(REPO / "vm-images", name, print)


@pytest.fixture
def real(project: Project, images: None) -> Iterator[Project]:
    """As `make up` sets it up, on this machine's libvirt; what a failed test leaves there is removed."""
    backend = project.root / ".cloudpc" / "state"
    backend.mkdir(parents=True)
    project.env["PULUMI_BACKEND_URL"] = f"file://{backend}"
    project.env.pop("CLOUDPC_CACHE", None)
    project.env |= {name: value for name, value in os.environ.items() if name == "CLOUDPC_CACHE"}
    try:
        yield project
    finally:
        project.cloudpc("down", "demo", "--yes", "--clear-lock")


def _policy(project: Project, image: str, **changes: Any) -> None:
    path = project.policy(imageType="gallery", imageId=image, **changes)
    _edit(path, lambda content: content["config"].update({"cloudpc:hosts": [HOST]}))


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_two_users_one_failure_and_nothing_left_at_the_end(real: Project) -> None:
    key, public = _key_pair(real.root)
    real.directory([user("alice"), user("bob", sshPublicKeys=[public]), user("carol", "TOO_SMALL")])
    _edit(real.root / "stacks" / "directory.yaml", lambda content: content["servicePlans"].append(TOO_SMALL))
    script = real.root / "stacks" / "greet.sh"
    script.write_text("#!/bin/sh\necho hello from the script > /etc/greeting\n")
    # whichever of the two starts first boots, and the other is its template's clone: nobody can tell them apart
    _policy(real, "micro", postProvisioningScript="greet.sh", startFrom="template")

    ran = real.cloudpc("up", "demo")

    assert ran.code == 3, ran
    assert "TOO_SMALL has" in ran.output, "not told before anything was made"
    assert real.statuses() == {"alice": "provisioned", "bob": "provisioned", "carol": "failed"}
    assert real.state()["carol"]["statusDetail"]["code"] == "imageInvalid"
    # alice signs in with the presented password, bob with his own key as well; both under the pinned host key
    greeted = real.cloudpc("connect", "alice", "--", "cat", "/etc/greeting")
    assert (greeted.code, greeted.output) == (0, "hello from the script\n")
    assert real.cloudpc("connect", "bob", "--", "exit 7").code == 7
    secret = json.loads(real.cloudpc("credentials", "bob", "--json").output)
    known_hosts = real.root / "known_hosts"
    known_hosts.write_text(f"bob {secret['hostKey']}\n")
    plain_ssh = [
        "ssh", "-i", str(key), "-p", str(secret["connection"]["port"]), "-oHostKeyAlias=bob", "-oBatchMode=yes",
        f"-oUserKnownHostsFile={str(known_hosts)!r}".replace("'", '"'), "-oStrictHostKeyChecking=yes",
        f"bob@{secret['connection']['host']}", "id -un",
    ]  # fmt: skip
    assert subprocess.run(plain_ssh, capture_output=True, text=True, check=True).stdout == "bob\n"

    before = real.state()
    again = real.up()
    assert "5 unchanged" in again.output
    destroyed = real.pulumi("destroy", "--yes", "--skip-preview", "--stack", "demo")
    assert destroyed.code != 0
    assert "protected" in destroyed.output
    assert real.state() == before
    assert real.cloudpc("connect", "alice", "--", "true").code == 0

    installation = before["alice"]["installation"]
    doctor = real.cloudpc("doctor")
    assert doctor.code == 0, doctor
    ports = {int(before[who]["connection"]["port"]) for who in ("alice", "bob")}
    assert ports <= listening()
    assert set(things(installation, HOST["uri"])) == {"domain", "volume", "file", "process"}
    own = real.root / ".cloudpc"
    assert own.is_dir()
    down = real.cloudpc("down", "demo", "--yes")
    assert down.code == 0, down
    assert things(installation, HOST["uri"]) == {}
    assert not ports & listening()
    assert not (own / "installation").exists()
    assert not (own / "state" / ".pulumi").exists()
    assert "the last stack" in down.output
    assert "the last stack" not in real.cloudpc("down", "demo", "--yes").output


def test_a_debian_cloud_pc_is_set_up_as_the_policy_says(real: Project) -> None:
    real.directory([user("dora")])
    _policy(real, "debian-12", timeZone="Europe/Berlin", localAdminEnabled=True)

    ran = real.cloudpc("up", "demo")

    assert ran.code == 0, ran
    look = "date +%Z; hostname; df --output=size -BG / | tail -1; systemctl is-system-running --wait; sudo -l | tail -1"
    done = real.cloudpc("connect", "dora", "--", look)
    lines = [line.strip() for line in done.output.splitlines()]
    assert lines[0] in ("CET", "CEST"), done
    assert lines[1] == real.state()["dora"]["deviceName"].lower()
    assert int(lines[2].rstrip("G")) >= PLAN["storageInGB"] - 1  # type: ignore[operator]
    assert lines[3] == "running", done
    installation = real.state()["dora"]["installation"]
    assert real.cloudpc("down", "demo", "--yes").code == 0
    assert things(installation, HOST["uri"]) == {}


def _key_pair(folder: Path) -> tuple[Path, str]:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key, (folder / "key.pub").read_text().strip()
