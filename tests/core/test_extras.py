"""What the set-up runs in a guest, run here with stand-ins for the guest's programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from cloudpc.guests.linux import extras

from . import make

LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 42 (apt-get)"
APT = """#!/bin/sh
echo "$@" >> "$STAND_INS/asked"
for last; do :; done
case " $* " in *" update "*) what=update ;; *) what=install ;; esac
count=$(cat "$STAND_INS/$what" 2>/dev/null || echo 0)
echo $((count + 1)) > "$STAND_INS/$what"
if [ -e "$STAND_INS/$what.$count" ]; then cat "$STAND_INS/$what.$count"; exit 100; fi
echo "done: $what"
"""


class Guest:
    """A folder of stand-ins that come before the real programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program("apt-get", APT)
        self.program("sleep", "#!/bin/sh\n")
        self.program("dpkg", '#!/bin/sh\necho "dpkg $@" >> "$STAND_INS/asked"\n')

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def says(self, what: str, *answers: str) -> None:
        for number, answer in enumerate(answers):
            (self.folder / f"{what}.{number}").write_text(f"Reading package lists...\n{answer}\n")

    def install(self, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        [extra] = extras.wanted(make.settings(packages=("git", "vim"), set_up_in_seconds=seconds), None)
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "STAND_INS": str(self.folder)}
        return subprocess.run(extra.script.argv, env=env, text=True, capture_output=True, timeout=60, check=False)

    @property
    def asked(self) -> list[str]:
        lines = (self.folder / "asked").read_text().splitlines()
        return [line.partition(" update")[1].strip() or line for line in lines]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_another_apt_at_work_is_waited_for(guest: Guest) -> None:
    guest.says("update", LOCKED, "E: Unable to lock directory /var/lib/apt/lists/")
    guest.says("install", "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend)")
    assert guest.install().returncode == 0
    assert guest.asked[:3] == ["update"] * 3
    assert [line.split()[-1] for line in guest.asked[3:]] == ["vim"] * 2
    assert "DPkg::Lock::Timeout=5" in guest.asked[-1], "dpkg's own lock is waited for by apt: what is left of 585 s"


def test_what_keeps_the_lock_for_ever_is_told_before_the_time_out(guest: Guest) -> None:
    guest.says("update", *[LOCKED] * 2000)
    ended = guest.install(seconds=1)
    assert ended.returncode == 100
    assert "another program in the guest kept apt's lock for too long" in ended.stdout


def test_other_errors_are_told_at_once_whatever_was_waited_for_before(guest: Guest) -> None:
    waited = "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend"
    guest.says("install", f"{waited}\nE: Unable to locate package vmi")
    ended = guest.install()
    assert ended.returncode == 100
    assert "Unable to locate package vmi" in ended.stdout
    assert len(guest.asked) == 2


def test_an_installation_that_was_cut_short_is_carried_on(guest: Guest) -> None:
    guest.says("install", "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct it.")
    assert guest.install().returncode == 0
    assert [line for line in guest.asked if line.startswith("dpkg")] == ["dpkg --configure -a"]


def test_cloud_init_remembers_its_first_boot(tmp_path: Path) -> None:
    def run() -> None:
        subprocess.run(extras.keep_first_boot(str(tmp_path)).script.argv, timeout=30, check=False)

    run()
    assert list(tmp_path.iterdir()) == [], "it has no cloud-init"
    instance = tmp_path / "var/lib/cloud/instances/i-1"
    (tmp_path / "etc/cloud").mkdir(parents=True)
    run()
    assert not (tmp_path / "var").exists()
    instance.mkdir(parents=True)
    (tmp_path / "var/lib/cloud/instance").symlink_to(instance)
    run()
    assert (instance / "manual-clean").exists(), "where ds-identify looks, which decides whether cloud-init runs at all"
    written = yaml.safe_load((tmp_path / "etc/cloud/cloud.cfg.d/99_cloudpc.cfg").read_text())
    assert written == {"manual_cache_clean": True, "ssh_deletekeys": False}
    [in_guest] = extras.wanted(make.settings(image_type="custom"), None)
    assert in_guest.script.arguments == ("",), "it is the root folder"
