"""The whole main job as an ordinary user's, without root or sudo: set-up, up, connect, list, down, on real guests.

Where nothing of the user's runs yet: libvirt's session daemon is started by whatever asks first, and that is the
provider's process.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudpc.images import gallery, store
from tests.engine.conftest import REPO
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Person:
    """Somebody with a home of their own, and a checkout in it."""

    account: pwd.struct_passwd
    home: Path

    @property
    def checkout(self) -> Path:
        return self.home / "cloud pcs"

    def run(self, script: str) -> str:
        """A shell's output, in the checkout, as after signing in: none of our own environment is there."""
        become = ["setpriv", f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}", "--clear-groups"]
        ran = subprocess.run(
            [*(become if os.geteuid() == 0 else []), "sh", "-c", script],
            cwd=self.checkout, env=self._environment(), stdin=subprocess.DEVNULL, text=True, timeout=400,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{script}: exit code {ran.returncode}\n{ran.stdout}"
        return ran.stdout

    def _environment(self) -> dict[str, str]:
        engines = str(self.home / "engines")
        return {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin", "CLOUDPC_ENGINES": engines}

    def processes(self) -> list[int]:
        """What runs with this home: daemons that libvirt has started, and guests."""
        mark, found = f"HOME={self.home}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def stop(self) -> None:
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not self.processes(), 20, "processes of the user's outlive the test")


@pytest.fixture
def person() -> Iterator[Person]:
    """Not below pytest's own folder: that is closed to others."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    home = Path(tempfile.mkdtemp(prefix="firstname.lastname-", dir="/tmp"))  # sockets are below it: paths have a limit
    made = Person(account, home)
    try:
        _furnish(made)
        yield made
    finally:
        made.stop()
        shutil.rmtree(home)


def _furnish(person: Person) -> None:
    """An engine, an image and Python packages as others have made them: building takes minutes, and others try it."""
    engine = Path(_output([str(REPO / "tools/engine/find")]))
    shutil.copytree(engine, person.home / "engines" / engine.parent.name / "bin")
    built = gallery.build(REPO / "vm-images", "micro", print).disk.path.parent
    shutil.copytree(built, person.home / ".cache/cloudpc" / built.relative_to(store.cache_root()))
    for file in _output(["git", "-C", str(REPO), "ls-files", "-co", "--exclude-standard"]).splitlines():
        (person.checkout / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / file, person.checkout / file, follow_symlinks=False)
    (person.checkout / ".venv").symlink_to(REPO / ".venv")
    subprocess.run(["chown", "-R", f"{person.account.pw_uid}:{person.account.pw_gid}", str(person.home)], check=True)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_ordinary_user_s_first_run_works(person: Person) -> None:
    person.run("sed -i s/debian-12/micro/ stacks/Pulumi.demo.yaml")
    person.run(
        "tools/workspace folder && tools/packages && tools/engine/ensure && tools/libvirt && tools/workspace env"
    )
    assert not [p for p in person.processes() if b"libvirtd" in Path(f"/proc/{p}/cmdline").read_bytes()]

    up = person.run(". .cloudpc/env && cloudpc up demo")

    assert "fork" not in up, "gRPC's own lines about forks are nothing for the user"
    listed = json.loads(person.run(". .cloudpc/env && cloudpc list --json"))
    assert [each["status"] for each in listed] == ["provisioned", "provisioned"]
    assert person.run(". .cloudpc/env && cloudpc connect alice -- whoami").splitlines()[-1] == "alice"
    assert "pendingProvision" not in person.run(". .cloudpc/env && cloudpc up demo && cloudpc list --check")
    person.run(". .cloudpc/env && cloudpc down demo --yes")
    assert not [p for p in person.processes() if b"qemu-system" in Path(f"/proc/{p}/cmdline").read_bytes()]
