"""The whole product on hosts as a network has them: reached by libvirt alone, nobody here sees their files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.images import gallery
from tests.engine.conftest import REPO, Project, user
from tests.machines.audit import CommandLines, command_lines, files_with, listening, things
from tests.machines.daemon import Daemon, missing
from tests.machines.reach import answer, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.machine]

# Interrupts off; DS = 0; each character of what follows the code to the serial port; halt.
_GIVE_UP = bytes.fromhex("fa 31c0 8ed8 baf803 be167c ac 84c0 7403 ee ebf8 f4 ebfd")
_LAST_WORDS = "There is no system on this disk."

_WHOSE = "[0-9a-f]" * 16
"""What a machine's name has of its installation; a base image's has something else there."""

UP = ("up", "--yes", "--skip-preview", "--stack")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Two hosts, as far as libvirt knows."""
    if why := missing():
        pytest.skip(why)
    gallery.build(REPO / "vm-images", "micro", lambda _: None)
    with ExitStack() as later:
        daemons = []
        for name in ("lab-1", "lab-2"):
            daemons.append(Daemon(tmp_path_factory.mktemp(name)))
            later.callback(daemons[-1].stop)
        yield daemons


@pytest.fixture
def away(project: Project, lab: list[Daemon]) -> Iterator[Project]:
    """A project that uses the real caches; its machines are removed from the lab however the test ends."""
    project.env.pop("CLOUDPC_CACHE", None)
    project.env |= {name: value for name, value in os.environ.items() if name == "CLOUDPC_CACHE"}
    yield project
    for stack in ("demo", "broken"):
        project.cloudpc("down", stack, "--yes", "--clear-lock")


def on(daemons: list[Daemon], policy: Path) -> None:
    """Have a policy use these hosts."""
    content = yaml.safe_load(policy.read_text())
    # Their storage is memory here, less than the disks that are promised of it and stay nearly empty; their loopback is
    # this machine's.
    hosts = [
        {"name": f"lab-{n}", "uri": daemon.tcp_uri, "diskOvercommit": 100, "sshDestination": ""}
        for n, daemon in enumerate(daemons, start=1)
    ]
    content["config"]["cloudpc:hosts"] = hosts
    policy.write_text(yaml.safe_dump(content))


def left(project: Project, daemons: list[Daemon]) -> list[dict[str, list[str]]]:
    installation = (project.root / ".cloudpc" / "installation").read_text().strip()
    return [things(installation, daemon.tcp_uri, daemon.root) for daemon in daemons]


def machines(project: Project, daemons: list[Daemon]) -> list[int]:
    """How many domains each host has; as many QEMUs must run."""
    found = left(project, daemons)
    domains = [len(here.get("domain", ())) for here in found]
    assert sum(domains) == len(found[0].get("process", ()))  # the kernel's list is the same for all
    return domains


def test_from_up_to_down_over_two_hosts(away: Project, lab: list[Daemon]) -> None:
    away.directory([user("alice"), user("bob")])
    on(lab, away.policy(imageType="gallery", imageId="micro"))
    with CommandLines() as shown:
        ran = away.cloudpc("up", "demo")
        assert ran.code == 0, ran
        listed = {row["userPrincipalName"].partition("@")[0]: row for row in _json(away, "list")}
        assert {row["status"] for row in listed.values()} == {"provisioned"}
        assert {row["host"] for row in listed.values()} == {"lab-1", "lab-2"}, "not where most is free"
        assert machines(away, lab) == [1, 1]
        for who, row in listed.items():
            connected = away.cloudpc("connect", who, "--", "hostname")
            assert (connected.code, connected.output) == (0, f"{row['deviceName'].lower()}\n")
    ports = {row["connection"]["port"] for row in listed.values()}
    assert ports <= listening()
    for here in left(away, lab):
        assert {"domain", "volume", "file", "process"} == set(here), "the audit does not see everything"

    assert any(b"pulumi up" in line for line in shown.seen)
    assert any(b"ssh -F" in line for line in shown.seen)
    hosts_files = [daemon.root / folder for daemon in lab for folder in ("var", "etc/libvirt", "run/libvirt")]
    for who in listed:
        password = _json(away, "credentials", who)["password"]
        assert shown.with_(password) == []
        assert files_with(password, away.root, *hosts_files) == []
        assert password not in ran.output

    down = away.cloudpc("down", "demo", "--yes")
    assert down.code == 0, down
    assert left(away, lab) == [{}, {}]
    assert not ports & listening()


def test_one_that_fails_three_times_beside_one_that_comes_up(away: Project, lab: list[Daemon]) -> None:
    """It runs, and is never ready: its disk has a boot sector that says so, and nothing more."""
    host = lab[:1]
    away.image = _image_that_gives_up(away.root)
    away.directory([user("alice"), user("carol")], {"everybody": ["alice"], "unlucky": ["carol"]})
    on(host, away.policy(imageType="gallery", imageId="micro"))
    unlucky = [{"target": {"groupId": "unlucky"}}]
    on(host, away.policy("broken", assignments=unlucky, timeouts={"firstBootInSeconds": 5}))
    away.init("broken")
    with _running(away, "pulumi", *UP, "broken", "--non-interactive") as broken:
        ran = away.cloudpc("up", "demo")
        assert ran.code == 0, ran
        output, _ = broken.communicate(timeout=200)
    assert broken.returncode == 0, output
    assert away.statuses() == {"alice": "provisioned"}

    failed = away.state("broken")["carol"]
    assert (failed["status"], failed["attempts"]) == ("failed", 3)
    detail = failed["statusDetail"]
    assert detail["code"] == "bootTimeout"
    assert detail["additionalInformation"]["stage"] == "first boot"
    assert detail["additionalInformation"]["console"].endswith(_LAST_WORDS)
    assert "remains" not in detail["additionalInformation"]
    for attempt in (1, 2):
        assert f"attempt {attempt} of 3 failed in first boot" in output
    assert away.cloudpc("list", "--check").code == 3
    assert machines(away, host) == [1], "the failed one has left something"
    volumes = left(away, host)[0]["volume"]
    [log] = [name for name in volumes if "-failed-" in name]
    assert len(volumes) == 3, "alice's disk, and for diagnosis carol's and what her console said"
    assert log in detail["additionalInformation"]["kept"]
    assert _LAST_WORDS in (host[0].root / "var/lib/libvirt/images/cloudpc" / log).read_text()
    assert away.cloudpc("connect", "alice", "--", "true").code == 0

    for stack in ("broken", "demo"):
        assert away.cloudpc("down", stack, "--yes").code == 0
    assert left(away, host) == [{}]


def test_libvirtd_killed_again_and_again(away: Project, lab: list[Daemon]) -> None:
    """While the disk is made, when QEMU has started, when the guest is there: the next run makes it good."""
    host = lab[0]
    away.directory([user("alice")])
    (away.root / "stacks" / "slow.sh").write_text("#!/bin/sh\nsleep 3\n")  # so that it is not over before it is killed
    on([host], away.policy(imageType="gallery", imageId="micro", postProvisioningScript="slow.sh"))
    moments: list[tuple[str, Callable[[], object]]] = [
        ("disk", lambda: _made(host, "var/lib/libvirt/images/cloudpc", ".qcow2")),
        ("start", lambda: _made(host, "run/libvirt/qemu", ".xml")),
        ("guest", lambda: any(answer("127.0.0.1", port, 0.5) for port in _forwarded(host))),
    ]
    for name, come in moments:
        with host.restored(), _running(away, sys.executable, "-m", "cloudpc.cli.main", "up", "demo") as run:
            wait_until(lambda come=come: come() or run.poll() is not None, 120, f"{name} never came")
            assert run.poll() is None, f"over before {name}: {run.communicate()}"
            host.kill()
            output, _ = run.communicate(timeout=120)
        assert away.statuses() == {"alice": "pendingProvision"}, output
        assert "Traceback" not in output

    ran = away.cloudpc("up", "demo")
    assert ran.code == 0, ran
    assert away.statuses() == {"alice": "provisioned"}
    assert machines(away, [host]) == [1]
    assert away.cloudpc("connect", "alice", "--", "true").code == 0
    assert away.cloudpc("down", "demo", "--yes").code == 0
    assert _but_libvirts_own(left(away, [host])[0]) == {}


def _but_libvirts_own(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without the folders that libvirtd makes for each start of QEMU and leaves behind if it is killed in it.

    No call of its API removes them; they hold nothing of the guest.
    """
    others = [
        path for path in found.get("file", ()) if not re.search(r"/libvirt/qemu/(channel/target/)?domain-\d+-", path)
    ]
    return {**{kind: names for kind, names in found.items() if kind != "file"}, **({"file": others} if others else {})}


def _image_that_gives_up(folder: Path) -> Path:
    raw, image = folder / "gives-up.raw", folder / "gives-up.qcow2"
    raw.write_bytes((_GIVE_UP + _LAST_WORDS.encode()).ljust(510, b"\0") + b"\x55\xaa" + bytes(2**20 - 512))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True)
    return image


def _made(host: Daemon, folder: str, suffix: str) -> list[Path]:
    return list((host.root / folder).glob(f"cloudpc-{_WHOSE}-*{suffix}"))


def _forwarded(host: Daemon) -> list[int]:
    names = [path.stem for path in _made(host, "run/libvirt/qemu", ".xml")]
    lines = [line.decode() for line in command_lines()]
    mine = [line for line in lines if any(f"guest={name}," in line for name in names)]
    return [int(found[1]) for line in mine if (found := re.search(r"hostfwd=tcp:127\.0\.0\.1:(\d+)", line))]


def _json(project: Project, *arguments: str) -> Any:
    ran = project.cloudpc(*arguments, "--json")
    assert ran.code == 0, ran
    return json.loads(ran.output)


@contextmanager
def _running(project: Project, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A command, ended with all it started if it is still there."""
    run = subprocess.Popen(
        command, cwd=project.root, env=project.env, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    with run:
        try:
            yield run
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
