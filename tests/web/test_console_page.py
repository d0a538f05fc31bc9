"""The console's page: for admins alone, with words where there is no screen."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cloudpc.operations.records import CloudPCRecord
from cloudpc.web import console_page
from cloudpc.web.relay import UNREACHABLE
from tests.web.conftest import ADDRESS, Pages

pytestmark = pytest.mark.engine

GREETING = b"RFB 003.008\n"
HEADERS = {"origin": ADDRESS, "host": ADDRESS.partition("//")[2]}


def _echoing(_cloud_pc: CloudPCRecord) -> socket.socket:
    """A screen that greets, and says what it hears."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(OSError):
            theirs.sendall(GREETING)
            while content := theirs.recv(100):
                theirs.sendall(content)

    threading.Thread(target=serve, daemon=True).start()
    return ours


def test_an_admin_sees_the_screen_and_it_is_written_down(
    pages: Pages, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_page, "_screen", _echoing)
    at = f"/cloud-pcs/{pages.id_of('u000')}/console"
    assert admin.get(at).status_code == 200
    assert f'href="{at}"' in admin.get(at.removesuffix("/console")).text
    with admin.websocket_connect(f"{at}/connection", headers=HEADERS) as page:
        assert page.receive_bytes() == GREETING
        page.send_bytes(b"key")
        assert page.receive_bytes() == b"key"
    lines = [json.loads(line) for line in (pages.site.journal.folder / "audit.jsonl").read_text().splitlines()]
    assert [line["did"] for line in lines if "console" in line["did"]] == ["opened the console", "closed the console"]


def test_a_user_has_no_console_of_their_own_cloud_pc(pages: Pages, someone: TestClient) -> None:
    at = f"/cloud-pcs/{pages.id_of('u000')}"
    assert someone.get(f"{at}/console").status_code == 404
    assert f'href="{at}/console"' not in someone.get(at).text
    for browser in (someone, pages.client):
        with (
            pytest.raises(WebSocketDisconnect),
            browser.websocket_connect(f"{at}/console/connection", headers=HEADERS),
        ):
            pass


def test_a_host_without_screens_says_so(pages: Pages, admin: TestClient) -> None:
    at = f"/cloud-pcs/{pages.id_of('u000')}/console/connection"
    with admin.websocket_connect(at, headers=HEADERS) as page, pytest.raises(WebSocketDisconnect) as closed:
        page.receive_bytes()
    assert closed.value.code == UNREACHABLE
    assert "shows no consoles" in closed.value.reason
