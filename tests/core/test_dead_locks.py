"""Whose lock may be taken away: one of a run that is surely gone."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from cloudpc.iac.file_backend import Lock
from tests.support.waiting import wait_until


def _held_by(pid: int) -> Lock:
    return Lock(Path("lock.json"), pid, "admin", socket.gethostname(), "2026-11-30T00:00:00Z")


def test_a_run_that_has_ended_is_dead_though_nobody_has_asked_how(tmp_path: Path) -> None:
    """As in a container whose first process is no init."""
    program = tmp_path / "pulumi"
    shutil.copy(str(shutil.which("cat")), program)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as run:
        assert not _held_by(run.pid).dead
        run.kill()
        wait_until(lambda: _held_by(run.pid).dead, 10, "a run that was killed is taken for one that works")
    assert _held_by(run.pid).dead
