"""`cloudpc serve`, as somebody starts and ends it."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from tests.support.project import Project
from tests.web.conftest import ADDRESS

pytestmark = pytest.mark.engine


def address_of(server: subprocess.Popen[str]) -> str:
    """The address that it prints, once pages are there."""
    assert server.stdout
    said = []
    for line in server.stdout:
        said.append(line)
        if "?token=" in line:
            return line.strip()
    raise AssertionError("".join(said))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_an_address_and_ends_in_order_with_a_page_open(project: Project, number: signal.Signals) -> None:
    server = project.start_cloudpc("serve", "--port", "0", "--as", "u001")
    address = address_of(server)
    with httpx.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=30) as client:
        assert "u001@contoso.example" in client.get(address).text
        with client.stream("GET", "/news") as news:
            server.send_signal(number)
            rest, _ = server.communicate(timeout=20)
            assert news.status_code == 200
    assert server.returncode == 0, rest
    assert rest.splitlines()[-1] == "stopped"
    assert "Traceback" not in rest


def test_a_browser_that_has_lost_its_cookie_is_let_in_by_enter(project: Project) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cloudpc.cli.main", "serve", "--port", "0", "--as", "u001"]
    server = project._start(command, {}, theirs)
    os.close(theirs)
    try:
        address = address_of(server)
        with httpx.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=30) as before:
            assert before.get(address).status_code == 200
            os.write(ours, b"\x04\n")  # Ctrl-D, which is no end
            another = address_of(server)
            assert before.get("/mine").status_code == 200, "until the new address is used"
            assert "u001@contoso.example" in httpx.get(another, follow_redirects=True, timeout=30).text
            assert before.get("/mine").status_code == 401
    finally:
        server.terminate()
        rest, _ = server.communicate(timeout=20)
        os.close(ours)
    assert rest.splitlines()[-1] == "stopped"
    assert "Fatal" not in rest


def test_a_port_that_is_taken_is_told(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = project.cloudpc("serve", "--port", str(taken.getsockname()[1]))
    assert ran.code == 2
    assert "--port 0" in ran.output
    assert ADDRESS not in ran.output


def test_whoever_has_no_cloud_pc_has_no_pages(project: Project) -> None:
    ran = project.cloudpc("serve", "--as", "nobody")
    assert ran.code == 2
    assert "no Cloud PC of 'nobody'" in ran.output
