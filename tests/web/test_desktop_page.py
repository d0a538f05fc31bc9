"""The desktop's page: whose it is, what its ticket opens, and what is written down of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from cloudpc.web import desktop_page
from cloudpc.web.fleet import Row
from cloudpc.web.person import Person
from cloudpc.web.rdp_clean_path import Answer, Request
from cloudpc.web.rdp_proxy import Desktop
from cloudpc.web.relay import ENDED, POLICY
from cloudpc.web.site import Site
from tests.web.conftest import ADDRESS, Pages
from tests.web.scripted_rdp import REQUEST, Guest

pytestmark = pytest.mark.engine


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    """The one that each Cloud PC's desktop is in."""
    running = Guest(tmp_path)

    def desktop(site: Site, row: Row, person: Person) -> Desktop:
        def note(did: str, why: str) -> None:
            site.journal.write(person.name, did, row.record, why=why)

        return Desktop("u000", SecretStr("secret-word"), running.fingerprint, running.reach, note)

    monkeypatch.setattr(desktop_page, "_desktop", desktop)
    monkeypatch.setattr(Row, "desktop", running.fingerprint)
    return running


@pytest.fixture
def mine(pages: Pages) -> str:
    return f"/cloud-pcs/{pages.id_of('u000')}/desktop"


@pytest.fixture
def theirs(pages: Pages) -> str:
    return f"/cloud-pcs/{pages.id_of('u001')}/desktop"


def _ticket(pages: Pages, browser: TestClient, at: str) -> str:
    return browser.post(f"{at}/ticket", data={"csrf": pages.csrf(browser)}).json()["ticket"]


def _connected(browser: TestClient, at: str, origin: str = ADDRESS) -> WebSocketTestSession:
    return browser.websocket_connect(f"{at}/connection", headers={"origin": origin, "host": ADDRESS.partition("//")[2]})


def _refusal(page: WebSocketTestSession) -> int:
    try:
        while True:
            page.receive_bytes()
    except WebSocketDisconnect as closed:
        return closed.code


def _lines(pages: Pages) -> Iterator[tuple[str, str, str]]:
    for line in (pages.site.journal.folder / "audit.jsonl").read_text().splitlines():
        said = json.loads(line)
        if "desktop" in said["did"]:
            yield said["by"], said["did"], said["userId"]


def test_the_page_is_there_without_a_word_that_is_secret(
    pages: Pages, someone: TestClient, guest: Guest, mine: str
) -> None:
    answer = someone.get(mine)
    assert answer.status_code == 200
    assert "wasm-unsafe-eval" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "secret-word" not in answer.text
    card = someone.get("/mine").text
    assert f'href="{mine}"' in card
    assert re.search(r"cloudpc connect \S+ --service-plan=\S+ --rdp-file=CPC-\S+\.rdp<", card)


def test_a_ticket_opens_the_desktop_and_both_ends_are_written_down(
    pages: Pages, someone: TestClient, guest: Guest, mine: str
) -> None:
    ticket = _ticket(pages, someone, mine)
    with _connected(someone, mine) as page:
        page.send_bytes(Request(ticket, REQUEST).build())
        assert Answer.parse(page.receive_bytes()).certificates == [guest.certificate]
    assert guest.closed.wait(10)
    by = "u000@contoso.example"
    assert [*_lines(pages)][-2:] == [(by, "opened the desktop", "u000"), (by, "closed the desktop", "u000")]


def test_signing_out_closes_it(pages: Pages, someone: TestClient, guest: Guest, mine: str) -> None:
    with _connected(someone, mine) as page:
        page.send_bytes(Request(_ticket(pages, someone, mine), REQUEST).build())
        page.receive_bytes()
        session = pages.site.sessions.get(someone.cookies[pages.site.origins.cookie])
        assert session
        page.portal.call(pages.site.sessions.end, session)
        assert _refusal(page) == ENDED
    assert someone.get(mine).status_code == 401


def test_anothers_desktop_is_not_there(pages: Pages, someone: TestClient, guest: Guest, theirs: str) -> None:
    assert someone.get(theirs).status_code == 404
    assert someone.post(f"{theirs}/ticket", data={"csrf": pages.csrf(someone)}).status_code == 404
    with pytest.raises(WebSocketDisconnect), _connected(someone, theirs):
        pass
    assert guest.requests == []


def test_a_ticket_for_ones_own_opens_nobody_elses(
    pages: Pages, someone: TestClient, admin: TestClient, guest: Guest, mine: str, theirs: str
) -> None:
    with _connected(admin, theirs) as page:
        page.send_bytes(Request(_ticket(pages, someone, mine), REQUEST).build())
        assert _refusal(page) == POLICY
    assert guest.requests == []


def test_nobody_signed_in_and_no_page_of_ours_gets_anything(
    pages: Pages, someone: TestClient, guest: Guest, mine: str
) -> None:
    assert pages.client.get(mine).status_code == 401
    assert someone.post(f"{mine}/ticket", data={"csrf": "guess"}).status_code == 403
    for browser, origin in ((pages.client, ADDRESS), (someone, "http://evil.example")):
        with pytest.raises(WebSocketDisconnect), _connected(browser, mine, origin):
            pass


def test_a_cloud_pc_without_a_desktop_says_so(pages: Pages, someone: TestClient, mine: str) -> None:
    answer = someone.get(mine)
    assert answer.status_code == 409
    assert "has no desktop" in answer.text
    assert f'href="{mine}"' not in someone.get("/mine").text
