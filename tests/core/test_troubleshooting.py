"""What troubleshooting finds in a guest, and which outcome it comes to."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudpc.guests.linux import troubleshooting
from cloudpc.model.access import Ssh
from cloudpc.model.guests import Finding
from cloudpc.rules.actions.troubleshoot import Outcome, _moved, _told

_LISTENS = "  0: 00000000:{port} 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"


class Inside:
    """The script, where each program that it asks is what a test says; nothing of this machine is touched."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.tcp = folder / "bin", folder / "tcp"
        self.bin.mkdir()
        for name in ("awk", "cat", "sh"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.program("df", 'echo head; echo "/dev/vda 1 1 1 50% /"')
        self.program("date", "echo 1000")
        self.program("sleep", "")
        self.listens("0016")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def listens(self, *ports: str) -> None:
        self.tcp.write_text("".join(_LISTENS.format(port=port) for port in ports))

    def run(self, *, desktop: bool = False) -> list[Finding]:
        script = troubleshooting.script(datetime.fromtimestamp(1000, UTC))
        text = script.text.replace("/proc/net/tcp /proc/net/tcp6", str(self.tcp)).replace("/etc/init.d", str(self.tcp))
        text = text.replace("/etc/xrdp/xrdp.ini", str(self.tcp) if desktop else "/nowhere")
        done = subprocess.run(
            ["/bin/sh", "-c", text, script.name, *script.arguments],
            env={"PATH": str(self.bin)}, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return troubleshooting.read(done.stdout)


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    return Inside(tmp_path)


def test_nothing_is_found_where_all_is_well(inside: Inside) -> None:
    assert inside.run() == []


def test_a_full_disk_is_told_unless_what_nobody_needs_makes_room(inside: Inside, tmp_path: Path) -> None:
    inside.program("df", f'echo head; [ -e {tmp_path}/clean ] && p=60% || p=99%; echo "/dev/vda 1 1 1 $p /"')
    [disk, files] = inside.run()
    assert (disk.mended, files.mended) == (False, False)
    assert "full (99 % used)" in disk.what
    inside.program("apt-get", f": > {tmp_path}/clean")
    [disk] = inside.run()
    assert (disk.mended, "99 % used" in disk.what, "(60 % used)" in disk.what) == (True, True, True)


def test_a_clock_that_is_off_is_set(inside: Inside) -> None:
    inside.program("date", '[ "$1" = +%s ] && echo 4600 || [ "$*" = "-u -s @1000" ]')
    [clock] = inside.run()
    assert clock == Finding("its clock was 3600 s off, and was set", mended=True)
    inside.program("date", '[ "$1" = +%s ] && echo 4600')
    [clock] = inside.run()
    assert not clock.mended


def test_what_does_not_listen_is_started_again(inside: Inside) -> None:
    inside.listens()
    [ssh] = inside.run()
    assert ssh == Finding("ssh does not listen, and could not be started again", mended=False)
    more = f'[ "$1" = restart ] && printf "%s" "{_LISTENS.format(port="0016").strip()}" >> {inside.tcp}; exit 0'
    inside.program("systemctl", more)
    [ssh, desktop] = inside.run(desktop=True)
    assert ssh == Finding("ssh did not listen, and was started again", mended=True)
    assert not desktop.mended, "its port is another"


def test_what_a_guest_writes_is_words() -> None:
    assert troubleshooting.read("mended \x1b[31mred\nnonsense\nfound it\n") == [
        Finding(troubleshooting.told("\x1b[31mred"), mended=True),
        Finding("it", mended=False),
    ]


def test_the_outcome_is_one_of_windows_365s_four() -> None:
    mended, left = Finding("its clock was set", mended=True), Finding("its disk is full", mended=False)
    assert _told([], {}).said == f"troubleshoot: {Outcome.NOTHING_FOUND}"
    resolved = _told([mended], {})
    assert (resolved.said, resolved.warning) == ("troubleshoot: issues found and resolved: its clock was set", False)
    not_resolved = _told([mended, left], {})
    assert not_resolved.warning
    assert not_resolved.said.startswith(f"troubleshoot: {Outcome.NOT_RESOLVED}: its disk is full")


def test_another_address_is_recorded_with_the_key_that_was_pinned() -> None:
    was = Ssh(host="10.0.0.5", port=22, host_key="ssh-ed25519 pinned")
    assert _moved(was, Ssh(host="10.0.0.5", port=22, host_key="")) is None
    assert _moved(was, Ssh(host="10.0.0.9", port=22)) == Ssh(host="10.0.0.9", port=22, host_key="ssh-ed25519 pinned")
    assert _moved(None, was) is None
