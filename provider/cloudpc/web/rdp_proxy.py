"""The desktop in a page: between IronRDP's WebSocket and a guest's RDP.

Where it goes is what the ticket says, never what the page does. The guest has to show the certificate that its agent
has told of. The page holds no password: the proxy signs in for it (rdp_packets.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NoReturn

from pydantic import SecretStr
from starlette.websockets import WebSocket, WebSocketDisconnect

from cloudpc.model import thumbprints
from cloudpc.web import rdp_clean_path, relay
from cloudpc.web.connections import Connection, Connections, Present
from cloudpc.web.rdp_packets import TLS, NotRdp, SignsIn, agreed_protocol, is_connection_request
from cloudpc.web.relay import POLICY, UNREACHABLE, Closed, Reach, Unreachable
from cloudpc.web.tickets import Refused, Tickets

FIRST_MESSAGE_SECONDS = 10.0
GUEST_SECONDS = 60.0
"""For each step towards a guest: one that is emulated takes its time to answer ssh and TLS."""

_NO_ANSWER = (
    "The desktop does not answer. Try again in a minute. "
    "If its password was changed, set it back by console, or reprovision."
)
_WITHOUT_TLS = "The Cloud PC answers, but with no desktop that is protected by TLS."


@dataclass(frozen=True)
class Desktop:
    """A Cloud PC's, and its user's account there.

    Args:
        user: the account.
        password: the account's.
        fingerprint: SHA-256 of the guest's certificate, in hex.
        reach: a connection to its RDP as long as the block lasts; may take long, raises Unreachable.
        note: is given what becomes of the connection, in the past tense, and why; for the audit.
        keyboard: Windows' number of a keyboard layout; 0: the guest's own.
        known: the Cloud PC as it is.
    """

    user: str
    password: SecretStr = field(repr=False)
    fingerprint: str
    reach: Reach
    note: Callable[[str, str], None]
    keyboard: int = 0
    known: Present = field(default=Present(1))


class _Refused(Closed):
    """There is no connection; IronRDP is told so in its own way, too."""

    def __init__(self, code: int, why: str, http: int) -> None:
        super().__init__(code, why)
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
    async with relay.accepted(page):
        try:
            request = await _request(page)
            desktop = _of_ticket(tickets, request.token, session, cloud_pc)
            with connections.opened(session, cloud_pc, desktop.known) as connection:
                await _open(page, request, desktop, connection)
        except _Refused as refused:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page has gone already
                await page.send_bytes(rdp_clean_path.refusal(refused.http))
            raise


async def _request(page: WebSocket) -> rdp_clean_path.Request:
    try:
        content = await asyncio.wait_for(relay.received(page), FIRST_MESSAGE_SECONDS)
        request = rdp_clean_path.Request.parse(content)
    except (TimeoutError, rdp_clean_path.Malformed):
        raise _Refused(POLICY, "The page has asked for no desktop. Load it again.", 400) from None
    if not is_connection_request(request.x224):
        raise _Refused(POLICY, "The page has asked for no desktop. Load it again.", 400)
    return request


def _of_ticket(tickets: Tickets[Desktop], ticket: str, session: str, cloud_pc: str) -> Desktop:
    try:
        return tickets.take(ticket, session, cloud_pc)
    except Refused:
        raise _Refused(POLICY, "This page may not open the desktop, or no longer. Load it again.", 403) from None


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
            signs_in = SignsIn(desktop.user, desktop.password, desktop.keyboard)
            async with relay.noted(desktop.note, "the desktop") as ended:
                ended.why = await relay.until_one_ends(page, reader, writer, connection, signs_in.feed)
    except _Refused as refused:
        why = refused.why
        await relay.to_its_end(lambda: desktop.note("was refused the desktop", why))
        raise


@contextlib.asynccontextmanager
async def _guest(desktop: Desktop) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The connection to the guest's RDP."""
    try:
        async with relay.connected(desktop.reach) as streams:
            yield streams
    except Unreachable as error:
        _unreachable(str(error))


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
        _unreachable(_NO_ANSWER)
    except NotRdp:
        _unreachable(_WITHOUT_TLS)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    if not thumbprints.is_of(desktop.fingerprint, certificate):
        raise _Refused(POLICY, "The certificate is not this Cloud PC's. Nothing was sent. Tell your admin.", 403)
    return rdp_clean_path.Answer(confirm, [certificate], "desktop")


def _unverified() -> ssl.SSLContext:
    """The certificate is the guest's own: what counts is that it is the recorded one, which is looked at afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _unreachable(why: str) -> NoReturn:
    raise _Refused(UNREACHABLE, why, 502) from None
