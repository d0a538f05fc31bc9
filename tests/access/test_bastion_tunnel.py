"""A tunnel by Azure Bastion: there as long as it is needed, and no longer, whoever ends us and however."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpc.cli import bastion_tunnel
from cloudpc.cli.output import CommandError
from cloudpc.model.access import Bastion
from tests.access.fake_az import FakeAz
from tests.support.waiting import wait_until

GROUP = "/subscriptions/00000000-0000-4000-8000-00000000000a/resourceGroups/rg"
BASTION = Bastion(
    bastion_id=f"{GROUP}/providers/Microsoft.Network/bastionHosts/hub",
    target_id=f"{GROUP}/providers/Microsoft.Compute/virtualMachines/cpcabcdefghijkl",
)


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAz:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return FakeAz(tmp_path)


@pytest.fixture
def guest() -> Iterator[int]:
    """A port that says hello."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = (
            "import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\nwhile 1: s.accept()[0].sendall(b'hello')"
        )
        fd = server.fileno()
        with subprocess.Popen([sys.executable, "-c", script, str(fd)], pass_fds=[fd]) as process:
            yield server.getsockname()[1]
            process.kill()


def _said(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        return connection.recv(100)


def test_a_port_here_is_the_machines_until_the_end(az: FakeAz, guest: int) -> None:
    az.forwards(guest)
    with bastion_tunnel.opened(BASTION, 22) as port:
        assert _said(port) == _said(port) == b"hello"
        assert az.arguments == bastion_tunnel.command(BASTION, 22, port)[1:]
    wait_until(lambda: not az.is_running, 5, "the tunnel stays")
    with pytest.raises(ConnectionRefusedError):
        _said(port)


def test_the_command_is_the_one_of_azures_manual() -> None:
    assert shlex.join(bastion_tunnel.command(BASTION, 3389)) == (
        f"az network bastion tunnel --ids {BASTION.bastion_id} --target-resource-id {BASTION.target_id} "
        "--resource-port 3389 --port PORT"
    )


@pytest.mark.parametrize("deaf", [False, True])
def test_it_ends_with_an_interruption(az: FakeAz, guest: int, deaf: bool) -> None:
    az.forwards(guest, deaf=deaf)
    with pytest.raises(KeyboardInterrupt):
        _interrupted()
    wait_until(lambda: not az.is_running, 5, "the tunnel stays")


def _interrupted() -> None:
    with bastion_tunnel.opened(BASTION, 22):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_it_ends_with_a_process_that_is_killed(az: FakeAz, guest: int) -> None:
    az.forwards(guest)
    code = (
        "import time; from cloudpc.cli import bastion_tunnel; from cloudpc.model.access import Bastion\n"
        "with bastion_tunnel.opened(Bastion(bastion_id='/b', target_id='/t'), 22): print('open', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        assert az.is_running
        process.kill()
    wait_until(lambda: not az.is_running, 10, "the tunnel stays")


def test_what_az_says_is_told_where_it_fails(az: FakeAz) -> None:
    az.says("echo 'ERROR: Please run az login to setup account.' >&2; exit 1")
    with pytest.raises(CommandError, match=r"Azure Bastion hub did not open: `az` ended with 1: ERROR: Please run az"):
        bastion_tunnel.opened(BASTION, 22).__enter__()


def test_one_that_never_opens_is_given_up(az: FakeAz, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bastion_tunnel, "OPENING_SECONDS", 0.5)
    az.says(f"echo $$ >{az.folder}/pid; exec sleep 60")
    with pytest.raises(CommandError, match=r"`az` opened no port within .* s: no output"):
        bastion_tunnel.opened(BASTION, 22).__enter__()
    wait_until(lambda: not az.is_running, 5, "the tunnel stays")


def test_it_is_asked_nothing(az: FakeAz) -> None:
    """A question that nobody sees would be waited for."""
    az.says("read answer || echo no answer; exit 3")
    with pytest.raises(CommandError, match=r"ended with 3: no answer"):
        bastion_tunnel.opened(BASTION, 22).__enter__()


def test_without_az_its_command_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError, match=r"no `az` on the PATH") as said:
        bastion_tunnel.opened(BASTION, 22).__enter__()
    assert shlex.join(bastion_tunnel.command(BASTION, 22)) in str(said.value)
