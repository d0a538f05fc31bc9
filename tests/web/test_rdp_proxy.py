"""The desktop in a page: who gets one, to which guest, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocket, WebSocketDisconnect

from cloudpc.web import rdp_proxy, relay, tickets
from cloudpc.web.connections import Connections, Present
from cloudpc.web.rdp_clean_path import Answer, Request
from cloudpc.web.rdp_proxy import Desktop
from cloudpc.web.relay import Unreachable
from cloudpc.web.tickets import Tickets
from tests.web.scripted_rdp import (
    CONFIRM,
    REFUSAL,
    REQUEST,
    WITHOUT_TLS,
    Guest,
    client_info,
    connect_initial,
    read_info,
)

MINE, THEIRS = "session-of-alice", "session-of-bob"


@dataclass
class Desk:
    """A server with desktops, its audit lines, and a guest."""

    client: TestClient
    tickets: Tickets[Desktop]
    connections: Connections
    audit: list[tuple[str, str]]
    guest: Guest
    now: list[float]
    touched: list[str]

    @property
    def desktop(self) -> Desktop:
        password = SecretStr("secret-word")
        return Desktop(
            "alice", password, self.guest.fingerprint, self.guest.reach, lambda *line: self.audit.append(line)
        )

    def opened(self, cloud_pc: str = "a", session: str = MINE) -> WebSocketTestSession:
        return self.client.websocket_connect(f"/{cloud_pc}", headers={"cookie": f"session={session}"})

    def ticket(self, desktop: Desktop | None = None) -> str:
        return self.tickets.give(MINE, "a", desktop or self.desktop)

    def events(self) -> list[str]:
        return [event for event, _ in self.audit]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    now: list[float] = [0.0]
    given: Tickets[Desktop] = Tickets(lambda: now[0])
    touched: list[str] = []
    connections = Connections(touch=touched.append)

    async def serve(page: WebSocket) -> None:
        session = page.cookies.get("session", "")
        await rdp_proxy.serve(page, session, page.path_params["cloud_pc"], given, connections)

    app = Starlette(routes=[WebSocketRoute("/{cloud_pc}", serve)])
    with TestClient(app) as client:
        yield Desk(client, given, connections, [], Guest(tmp_path), now, touched)


def _begin(page: WebSocketTestSession, ticket: str) -> Answer:
    page.send_bytes(Request(ticket, REQUEST).build())
    return Answer.parse(page.receive_bytes())


def _refused(page: WebSocketTestSession) -> tuple[int, str]:
    """The reason with which it is closed; what IronRDP is sent before says nothing more."""
    try:
        while True:
            page.receive_bytes()
    except WebSocketDisconnect as closed:
        return closed.code, closed.reason or ""


def _asked(desk: Desk, ticket: str, **who: Any) -> tuple[int, str]:
    with desk.opened(**who) as page:
        page.send_bytes(Request(ticket, REQUEST).build())
        return _refused(page)


def test_a_page_with_a_ticket_is_signed_in_without_knowing_the_password(desk: Desk) -> None:
    with desk.opened() as page:
        answer = _begin(page, desk.ticket())
        assert (answer.x224, answer.certificates) == (CONFIRM, [desk.guest.certificate])
        page.send_bytes(connect_initial())
        page.receive_bytes()
        page.send_bytes(client_info("mallory", "guess"))
        assert page.receive_bytes() == b"seen:more"
    assert desk.guest.closed.wait(10)
    assert desk.guest.requests == [REQUEST]
    packet = desk.guest.received[len(connect_initial()) :]
    assert read_info(packet)[1:3] == ("alice", "secret-word")
    assert desk.events() == ["opened the desktop", "closed the desktop"]
    assert "secret-word" not in str(desk.audit) + repr(desk.desktop)
    assert len(desk.connections) == 0


def test_another_certificate_ends_it_before_anything_is_sent(desk: Desk) -> None:
    code, why = _asked(desk, desk.ticket(replace(desk.desktop, fingerprint="00" * 32)))
    assert code == relay.POLICY
    assert "certificate" in why
    assert desk.guest.received == b""
    assert desk.events() == ["was refused the desktop"]


def test_a_guest_whose_certificate_nobody_knows_is_not_trusted(desk: Desk) -> None:
    assert _asked(desk, desk.ticket(replace(desk.desktop, fingerprint="")))[0] == relay.POLICY


def test_a_fingerprint_with_colons_is_the_same(desk: Desk) -> None:
    written = ":".join(desk.guest.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    with desk.opened() as page:
        assert _begin(page, desk.ticket(replace(desk.desktop, fingerprint=written))).x224 == CONFIRM


def test_a_ticket_is_good_once(desk: Desk) -> None:
    ticket = desk.ticket()
    with desk.opened() as page:
        _begin(page, ticket)
    assert _asked(desk, ticket)[0] == relay.POLICY
    assert len(desk.guest.requests) == 1


def test_a_ticket_is_good_for_30_seconds(desk: Desk) -> None:
    ticket = desk.ticket()
    desk.now[0] += tickets.SECONDS
    assert _asked(desk, ticket)[0] == relay.POLICY
    assert desk.guest.requests == []


@pytest.mark.parametrize("who", [{"session": THEIRS}, {"session": ""}, {"cloud_pc": "b"}])
def test_a_ticket_is_one_sessions_for_one_cloud_pc_and_is_gone_when_another_tries(desk: Desk, who: Any) -> None:
    ticket = desk.ticket()
    assert _asked(desk, ticket, **who)[0] == relay.POLICY
    assert _asked(desk, ticket)[0] == relay.POLICY
    assert desk.guest.requests == []


def test_a_ticket_that_nobody_gave_opens_nothing(desk: Desk) -> None:
    assert _asked(desk, "")[0] == relay.POLICY
    assert _asked(desk, "guess")[0] == relay.POLICY


def test_who_signs_out_has_no_ticket_left(desk: Desk) -> None:
    ticket = desk.ticket()
    desk.tickets.forget(MINE)
    assert _asked(desk, ticket)[0] == relay.POLICY


@pytest.mark.parametrize("first", [b"", b"\x30\x00", b"x" * 100_000, Request("t", b"GET / HTTP/1.1").build()])
def test_what_asks_for_no_desktop_is_closed_in_words(desk: Desk, first: bytes) -> None:
    with desk.opened() as page:
        page.send_bytes(first)
        code, why = _refused(page)
    assert code == relay.POLICY
    assert "Load it again" in why


def test_text_is_not_rdp(desk: Desk) -> None:
    with desk.opened() as page:
        page.send_text("hello")
        assert _refused(page)[0] == relay.POLICY


def test_a_page_that_stops_speaking_rdp_is_closed(desk: Desk) -> None:
    with desk.opened() as page:
        _begin(page, desk.ticket())
        page.send_bytes(b"GET / HTTP/1.1")
        assert _refused(page)[0] == relay.POLICY
    assert desk.events() == ["opened the desktop", "closed the desktop"]


@pytest.mark.parametrize("confirm", [WITHOUT_TLS, REFUSAL, b"\x03\x00\x00\x04", b"SSH-2.0-x\r\n"])
def test_a_guest_without_tls_is_told_apart(desk: Desk, tmp_path: Path, confirm: bytes) -> None:
    desk.guest = Guest(tmp_path, confirm)
    assert _asked(desk, desk.ticket())[0] == relay.UNREACHABLE
    assert desk.guest.received == b""


def test_a_guest_that_does_not_answer_is_said_completely(desk: Desk, tmp_path: Path) -> None:
    desk.guest = Guest(tmp_path, confirm=b"")
    code, why = _asked(desk, desk.ticket())
    assert code == relay.UNREACHABLE
    assert desk.audit == [("was refused the desktop", why)], "a WebSocket's reason has 123 bytes"


def test_a_guest_that_is_not_reached_is_said_in_the_words_of_the_way(desk: Desk) -> None:
    def reach() -> Any:
        raise Unreachable("It is powered off.")

    class Way:
        def __enter__(self) -> Any:
            return reach()

        def __exit__(self, *_: object) -> None:
            raise AssertionError("was never entered")

    assert _asked(desk, desk.ticket(replace(desk.desktop, reach=Way))) == (relay.UNREACHABLE, "It is powered off.")
    assert desk.events() == ["was refused the desktop"]


def _ended(desk: Desk, page: WebSocketTestSession, end: Any) -> tuple[int, str]:
    _begin(page, desk.ticket())
    page.portal.call(end)
    return _refused(page)


def test_signing_out_closes_it(desk: Desk) -> None:
    with desk.opened() as page:
        code, why = _ended(desk, page, lambda: desk.connections.end_session(MINE))
    assert (code, why) == (relay.ENDED, "You have signed out.")
    assert desk.audit[-1][1] == why
    assert desk.guest.closed.wait(10)


def test_signing_out_elsewhere_does_not(desk: Desk) -> None:
    with desk.opened() as page:
        _begin(page, desk.ticket())
        page.portal.call(lambda: desk.connections.end_session(THEIRS))
        page.send_bytes(client_info())
        assert page.receive_bytes() == b"seen:more"


def test_a_cloud_pc_that_becomes_another_closes_it(desk: Desk) -> None:
    with desk.opened() as page:
        ended = _ended(desk, page, lambda: desk.connections.follow({"a": Present(2)}.get))
    assert ended == (relay.ENDED, "The Cloud PC was reprovisioned.")


def test_a_cloud_pc_that_is_gone_closes_it(desk: Desk) -> None:
    with desk.opened() as page:
        ended = _ended(desk, page, lambda: desk.connections.follow({"b": Present(1)}.get))
    assert ended == (relay.ENDED, "The Cloud PC is no longer there.")


def test_a_grace_period_that_begins_while_it_is_open_closes_it_at_its_end(desk: Desk) -> None:
    over = Present(1, datetime.now(UTC) - timedelta(seconds=1))
    with desk.opened() as page:
        code, why = _ended(desk, page, lambda: desk.connections.follow({"a": over}.get))
    assert code == relay.ENDED
    assert "grace period" in why


def test_who_has_come_back_from_grace_is_not_cut_at_its_old_end(desk: Desk) -> None:
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    with desk.opened() as page:
        _begin(page, desk.ticket(replace(desk.desktop, known=Present(2, until))))
        page.portal.call(lambda: desk.connections.follow({"a": Present(2)}.get))
        page.portal.call(lambda: desk.connections.follow({"a": Present(1, until)}.get))  # read before
        page.portal.call(asyncio.sleep, 0.7)
        page.send_bytes(client_info())
        assert page.receive_bytes() == b"seen:more"


def test_an_admins_look_at_a_machine_outlasts_the_grace_period() -> None:
    async def looks() -> None:
        over, connections = Present(1, datetime.now(UTC)), Connections()
        with connections.opened(MINE, "a", over, is_users=False) as connection:
            connections.follow({"a": over}.get)
            await asyncio.sleep(0.01)
            assert not connection.ended.done()

    asyncio.run(looks())


def test_what_a_page_says_is_use_of_its_session_once_a_minute(desk: Desk) -> None:
    with desk.opened() as page:
        _begin(page, desk.ticket())
        assert desk.touched == []
        for content in (connect_initial(), client_info()):
            page.send_bytes(content)
            page.receive_bytes()
        assert desk.touched == [MINE]


def test_the_end_of_the_grace_period_closes_it(desk: Desk) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1)
    with desk.opened() as page:
        _begin(page, desk.ticket(replace(desk.desktop, known=Present(1, until))))
        code, why = _refused(page)
    assert code == relay.ENDED
    assert "grace period" in why


def test_a_guest_that_ends_the_session_is_said(desk: Desk) -> None:
    with desk.opened() as page:
        _begin(page, desk.ticket())
        page.send_bytes(client_info(rest=b"bye"))
        assert _refused(page)[0] == relay.ENDED
    assert desk.events() == ["opened the desktop", "closed the desktop"]
