"""The desktop in a page: between IronRDP's WebSocket and a guest's RDP.

Where it goes is what the ticket says, never what the page does. The guest has to show the certificate that its agent
has told of. The page holds no password: the proxy signs in for it (rdp_packets.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from pydantic import SecretStr
from starlette.websockets import WebSocket, WebSocketDisconnect

from cloudpc.web import rdp_clean_path
from cloudpc.web.connections import Connection, Connections
from cloudpc.web.rdp_packets import TLS, NotRdp, SignsIn, agreed_protocol, is_connection_request
from cloudpc.web.tickets import Refused, Tickets

FIRST_MESSAGE_SECONDS = 10.0
GUEST_SECONDS = 60.0
"""For each step towards a guest: one that is emulated takes its time to answer ssh and TLS."""

POLICY = 4403
UNREACHABLE = 4502
ENDED = 4000
"""Codes with which a connection is closed; 4000 to 4999 are an application's own."""
_SERVICE_RESTART = 1012
"""What uvicorn ends each with, when it ends."""
_CHUNK = 65_536
_WITHOUT_TLS = "The Cloud PC answers, but with no desktop that is protected by TLS."


class Unreachable(Exception):  # noqa: N818 - an answer, not an error
    """The guest can't be reached, in words for its user."""


@dataclass(frozen=True)
class Desktop:
    """A Cloud PC's, and its user's account there.

    Args:
        user: the account.
        password: the account's.
        fingerprint: SHA-256 of the guest's certificate, in hex.
        reach: a connection to its RDP as long as the block lasts; may take long, raises Unreachable.
        note: is given what becomes of the connection, in the past tense, and why; for the audit.
        until: when its grace period is over, if it has one.
    """

    user: str
    password: SecretStr = field(repr=False)
    fingerprint: str
    reach: Callable[[], AbstractContextManager[socket.socket]]
    note: Callable[[str, str], None]
    until: datetime | None = None


class _Closed(Exception):  # noqa: N818 - an answer, not an error
    """The connection is to be closed with this code and these words."""

    def __init__(self, code: int, why: str, http: int = 0) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.http = http


async def serve(
    page: WebSocket, session: str, cloud_pc: str, tickets: Tickets[Desktop], connections: Connections
) -> None:
    """Serve one WebSocket until either side ends it.

    Args:
        page: not yet accepted; whose Host, Origin and session were checked.
        session: whose cookie came with it.
        cloud_pc: of its address.
        tickets: those that were given for desktops.
        connections: where it is listed while it is open.
    """
    await page.accept()
    try:
        request = await _request(page)
        desktop = _of_ticket(tickets, request.token, session, cloud_pc)
        with connections.opened(session, cloud_pc, desktop.until) as connection:
            await _open(page, request, desktop, connection)
    except _Closed as closed:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page has gone already
            if closed.http:
                await page.send_bytes(rdp_clean_path.refusal(closed.http))
            await page.close(closed.code, closed.why)
    except WebSocketDisconnect:
        pass


async def _request(page: WebSocket) -> rdp_clean_path.Request:
    try:
        content = await asyncio.wait_for(_received(page), FIRST_MESSAGE_SECONDS)
        request = rdp_clean_path.Request.parse(content)
    except (TimeoutError, rdp_clean_path.Malformed):
        raise _Closed(POLICY, "The page has asked for no desktop. Load it again.", 400) from None
    if not is_connection_request(request.x224):
        raise _Closed(POLICY, "The page has asked for no desktop. Load it again.", 400)
    return request


def _of_ticket(tickets: Tickets[Desktop], ticket: str, session: str, cloud_pc: str) -> Desktop:
    try:
        return tickets.take(ticket, session, cloud_pc)
    except Refused:
        raise _Closed(POLICY, "This page may not open the desktop, or no longer. Load it again.", 403) from None


async def _received(page: WebSocket) -> bytes:
    """The next message, which has to be of bytes."""
    message = await page.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    content: bytes | None = message.get("bytes")
    if content is None:
        raise _Closed(POLICY, "The page has sent what is not RDP.")
    return content


async def _open(
    page: WebSocket,
    request: rdp_clean_path.Request,
    desktop: Desktop,
    connection: Connection,
) -> None:
    try:
        async with _guest(desktop) as (reader, writer):
            answer = await _begun(request.x224, desktop, reader, writer)
            await page.send_bytes(answer.build())
            desktop.note("opened the desktop", "")
            why = "its page is gone"
            try:
                why = await _until_one_ends(page, desktop, reader, writer, connection)
            except _Closed as closed:
                why = closed.why
                raise
            finally:
                desktop.note("closed the desktop", why)
    except _Closed as closed:
        if closed.http:
            desktop.note("was refused the desktop", closed.why)
        raise


@contextlib.asynccontextmanager
async def _guest(desktop: Desktop) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The connection to the guest's RDP; whatever opens it blocks, so a thread does."""
    way = desktop.reach()
    try:
        connected = await asyncio.to_thread(way.__enter__)
    except Unreachable as error:
        _unreachable(str(error))
    try:
        connected.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connected)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
    finally:
        await asyncio.shield(asyncio.to_thread(way.__exit__, None, None, None))


async def _begun(
    x224: bytes, desktop: Desktop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> rdp_clean_path.Answer:
    """RDP's first exchange, then TLS with the guest that was recorded."""
    try:
        async with asyncio.timeout(GUEST_SECONDS):
            writer.write(x224)
            head = await reader.readexactly(4)
            confirm = head + await reader.readexactly(max(0, int.from_bytes(head[2:4], "big") - 4))
            if agreed_protocol(confirm) != TLS:
                _unreachable(_WITHOUT_TLS)
            await writer.start_tls(_unverified())
    except (TimeoutError, OSError, EOFError, ssl.SSLError):
        _unreachable("The desktop does not answer. It may still be starting: try again in a minute.")
    except NotRdp:
        _unreachable(_WITHOUT_TLS)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    if not _is_pinned(certificate, desktop.fingerprint):
        raise _Closed(POLICY, "The certificate is not this Cloud PC's. Nothing was sent. Tell your admin.", 403)
    return rdp_clean_path.Answer(confirm, [certificate], "desktop")


def _unverified() -> ssl.SSLContext:
    """The certificate is the guest's own: what counts is that it is the recorded one, which is looked at afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_pinned(certificate: bytes, fingerprint: str) -> bool:
    pinned = fingerprint.replace(":", "").lower()
    return bool(pinned) and hashlib.sha256(certificate).hexdigest() == pinned


def _unreachable(why: str) -> NoReturn:
    raise _Closed(UNREACHABLE, why, 502) from None


async def _until_one_ends(
    page: WebSocket,
    desktop: Desktop,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    connection: Connection,
) -> str:
    """Pass on what both say. Returns why it ended, for the audit; raises _Closed where the page is to be told."""
    signs_in = SignsIn(desktop.user, desktop.password)

    async def to_guest() -> str:
        while True:
            try:
                content = await _received(page)
            except WebSocketDisconnect as closed:
                return "the server has stopped" if closed.code == _SERVICE_RESTART else "its page was closed"
            try:
                writer.write(signs_in.feed(content))
            except NotRdp:
                raise _Closed(POLICY, "The page has sent what is not RDP.") from None
            await writer.drain()

    async def to_page() -> str:
        while content := await reader.read(_CHUNK):
            await page.send_bytes(content)
        raise _Closed(ENDED, "The desktop's session has ended.")

    return await _first(to_guest(), to_page(), _told(connection))


async def _told(connection: Connection) -> str:
    raise _Closed(ENDED, await connection.ended)


async def _first(*works: Coroutine[Any, Any, str]) -> str:
    """What the first of these says that ends; the others are ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        try:
            return done.pop().result()
        except OSError:
            raise _Closed(UNREACHABLE, "The connection to the Cloud PC is gone.") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
