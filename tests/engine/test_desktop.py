"""A desktop for real: a guest under QEMU, FreeRDP on a display nobody sees, and what the guest says of its session."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.cli import desktop_client, ssh
from cloudpc.cli.desktop import PORT
from cloudpc.cli.output import CommandError
from cloudpc.images import gallery, store
from cloudpc.machines.libvirt.configuration import this_machine
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.machines import Host
from tests.engine.conftest import REPO, Project, user
from tests.machines.reach import ran, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(1500)]  # the image is built if need be

HOST = this_machine()
IMAGE = "debian-12-desktop"
COLOURS = 400
"""More than xrdp's own box has, and fewer than icons, text and wallpaper."""


@pytest.fixture
def real(project: Project) -> Iterator[Project]:
    """Alice has a desktop on this machine's libvirt."""
    gallery.build(REPO / "vm-images", IMAGE, print)
    project.env |= {name: value for name, value in os.environ.items() if name == "CLOUDPC_CACHE"}
    project.directory([user("alice", "LAB_2C_1GB_8GB")], {"everybody": ["alice"]})
    path = project.policy(imageType="gallery", imageId=IMAGE)
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:hosts"] = [HOST.model_dump(include={"name", "uri"})]
    path.write_text(yaml.safe_dump(content))
    try:
        yield project
    finally:
        project.cloudpc("down", "demo", "--yes", "--clear-lock")


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An X server's name, for us as for what we start."""
    reads, writes = os.pipe()
    argv = ["Xvfb", "-displayfd", str(writes), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(argv, pass_fds=[writes], stderr=subprocess.DEVNULL)
    os.close(writes)
    with os.fdopen(reads) as said:
        name = f":{said.readline().strip()}"
    monkeypatch.setenv("DISPLAY", name)
    yield name
    server.terminate()
    server.wait()


def test_a_desktop_is_opened_by_whom_it_belongs_to_alone(real: Project, display: str, tmp_path: Path) -> None:
    made = real.cloudpc("up", "demo")
    assert made.code == 0, made
    given = json.loads(real.cloudpc("credentials", "alice", "--json").output)
    thumbprint = given["certificateThumbprint"]
    assert len(bytes.fromhex(thumbprint)) == 32
    target = ssh.Target(
        given["deviceName"], given["connection"]["host"], given["connection"]["port"], given["user"],
        given["password"], given["hostKey"],
    )  # fmt: skip
    guest = _Guest(real.state()["alice"])

    old = "find /etc /var/lib /root -xdev -type f ! -newermt 2025-06-01 -exec grep -l 'PRIVATE KEY---' {} +"
    assert guest.told(old) == "", "keys that the image has brought"
    assert guest.told("find / -xdev -name '*snakeoil*'") == ""
    assert "127.0.0.1:3389 " in guest.told("until ss -Hltn | grep -F :3389; do sleep 1; done").split("LISTEN", 1)[1]

    with ssh.forwarded(target, PORT) as way:
        desktop_client._wait_until_proven(way, thumbprint, "it")
        with pytest.raises(CommandError, match="no password was sent"):
            desktop_client._wait_until_proven(way, "ab" * 32, "it")
        program = shutil.which("xfreerdp3") or shutil.which("xfreerdp") or "xfreerdp"
        session = desktop_client._Session(target, "ab" * 32, way.port, "alice")
        with pytest.raises(CommandError, match=r"xfreerdp3? ended with"):
            desktop_client._by_freerdp(program, session)
        wrong = replace(target, password=f"{target.password}x")
        with _running(desktop_client._freerdp(program, replace(session, target=wrong, thumbprint=thumbprint)), wrong):
            refused = "grep AUTHFAIL: /var/log/xrdp-sesman.log"
            wait_until(lambda: "user=alice" in guest.told(refused), 120, "not refused")
            time.sleep(2)  # whatever would start a session has had its time
        assert not guest.has_session
    wait_until(lambda: _colours(display) <= 1, 30, "its window stays")

    began = time.monotonic()
    connecting = real.start_cloudpc("connect", "alice", "--desktop", DISPLAY=display)
    wait_until(lambda: guest.has_session or connecting.poll() is not None, 180, "no session")
    assert connecting.poll() is None, connecting.communicate()
    wait_until(lambda: _colours(display) > COLOURS, 180, "the screen is empty")
    print(f"desktop after {time.monotonic() - began:.1f} s; session's PSS {guest.session_mib()} MiB")
    shutil.copy(_picture(display, tmp_path), tmp_path / "desktop.png")
    for pid in real.processes():
        for name in ("cmdline", "environ"):
            assert given["password"].encode() not in Path(f"/proc/{pid}/{name}").read_bytes()

    os.killpg(connecting.pid, signal.SIGINT)
    said, _ = connecting.communicate(timeout=60)
    assert "Traceback" not in said
    left = [pid for pid in real.processes() if b"ssh" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]]
    assert left == []
    assert guest.has_session, "whoever closes the window finds the session again"


class _Guest:
    """What alice's guest says of itself, through its agent."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        self._host: Host = LibvirtHost(HOST, store.cache_root())
        self._id = DesiredCloudPC.model_validate(outputs).machine_id

    def told(self, script: str) -> str:
        return ran(self._host, self._id, "/bin/sh", "-c", script, timeout=60).output

    @property
    def has_session(self) -> bool:
        return bool(self.told("pgrep -u alice xfce4-session").strip())

    def session_mib(self) -> int:
        # some end meanwhile
        each = "for p in $(pgrep -u alice) $(pgrep -x xrdp); do cat /proc/$p/smaps_rollup 2>/dev/null; done"
        script = f"{each} | awk '/^Pss:/ {{ all += $2 }} END {{ print all }}'"
        return int(self.told(script)) // 1024


@contextmanager
def _running(argv: list[str], target: ssh.Target) -> Iterator[None]:
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert client.stdin is not None
    client.stdin.write(f"{target.password}\n".encode())
    client.stdin.close()
    try:
        yield
    finally:
        client.terminate()
        client.wait()


def _picture(display: str, folder: Path) -> Path:
    path = folder / "screen.png"
    subprocess.run(["import", "-display", display, "-window", "root", str(path)], check=True)
    return path


def _colours(display: str) -> int:
    """How many there are on the screen: one, if it is empty."""
    shot = subprocess.run(["import", "-display", display, "-window", "root", "png:-"], check=True, capture_output=True)
    count = ["convert", "png:-", "-format", "%k", "info:"]
    counted = subprocess.run(count, input=shot.stdout, check=True, capture_output=True)
    return int(counted.stdout)
