"""The tests' own libvirtd: what the other tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import libvirt
import pytest

from .daemon import Daemon, missing
from .desk import Desk
from .reach import wait_until

pytestmark = pytest.mark.machine

_KILLED = """
import sys, time
from pathlib import Path
import libvirt
from tests.machines.daemon import Daemon

connection = libvirt.open(Daemon(Path(sys.argv[1])).tcp_uri)
connection.createXML(
    f"<domain type='qemu'><name>{sys.argv[2]}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>",
    libvirt.VIR_DOMAIN_START_PAUSED,
)
print("runs", flush=True)
time.sleep(600)
"""


def test_it_is_started_when_it_answers_not_when_somebody_listens(tmp_path: Path) -> None:
    """Its port stays its own between `kill` and `start`; should another program listen there, that is reported."""
    daemon = Daemon(tmp_path)
    try:
        daemon.kill()
        with socket.socket() as taken, pytest.raises(OSError, match="in use"):
            taken.bind(("127.0.0.1", daemon.port))
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", daemon.port))
            other.listen()
            with pytest.raises(AssertionError, match=r"(?s)does not answer.*in use"):
                daemon.start(within=1)
        daemon.start()
        assert libvirt.open(daemon.tcp_uri).listAllDomains(0) == []
        for folder in ("run/libvirt", "run/lock"):  # where one that was killed would leave what stops another
            assert (daemon.root / folder).stat().st_dev != (Path("/") / folder).stat().st_dev
    finally:
        daemon.stop()


def test_one_that_ends_by_itself_is_the_news(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.kill()
    daemon._killed = False  # as if nobody had
    with pytest.raises(AssertionError, match="ended by itself"):
        daemon.stop()


def test_it_hides_its_files(desk: Desk) -> None:
    spec = desk.claim()
    assert not Path(f"/var/lib/libvirt/images/cloudpc/{spec.name}.qcow2").exists()


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_guests_end_with_tests_that_are_killed(tmp_path: Path) -> None:
    name = f"killed-{tmp_path.parent.name}"
    command = [sys.executable, "-c", _KILLED, str(tmp_path), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as tests:
        try:
            assert tests.stdout is not None
            assert tests.stdout.readline() == b"runs\n"
            assert _qemus(name)
        finally:
            tests.kill()
    try:
        wait_until(lambda: not _qemus(name), 10, "a guest outlives the tests that started it")
    finally:
        for process in _qemus(name):
            os.kill(process, signal.SIGKILL)


def _qemus(name: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"guest={name},"], capture_output=True, text=True, check=False)
    return [int(process) for process in found.stdout.split()]
