"""The console in a page, for admins: a machine's screen from its firmware on, also of one that does not boot."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from cloudpc.cli.context import Project
from cloudpc.model.abilities import HasConsole, NoConsole
from cloudpc.model.errors import CloudPCError
from cloudpc.operations.records import CloudPCRecord
from cloudpc.operations.runtime import connect
from cloudpc.web import relay
from cloudpc.web.desktop_page import Desktops, present
from cloudpc.web.fleet import Row
from cloudpc.web.guard import session_of
from cloudpc.web.relay import POLICY, UNREACHABLE, Closed, Unreachable
from cloudpc.web.site import admin_of, cloud_pc_of, site_of
from cloudpc.web.static_files import from_npm


def page(request: Request) -> Response:
    """The page, which connects by itself."""
    row = _row(request)
    if not (from_npm() / "@novnc/novnc").is_dir():
        raise HTTPException(503, "What shows a console is not installed here: tools/web/fetch fetches it from npm.")
    return site_of(request).page(request, "console.html", row=row)


async def connection(page: WebSocket) -> None:
    """NoVNC's connection."""
    try:
        row, session, person = await run_in_threadpool(_row, page), session_of(page), admin_of(page)
    except HTTPException:
        await page.close(POLICY)  # refuses the handshake
        return

    def note(did: str, why: str) -> None:
        site_of(page).journal.write(person.name, did, row.record, **({"why": why} if why else {}))

    opened = Desktops.of(page).open.opened(session.id, row.id, present(row.record), is_users=False)
    async with relay.accepted(page):
        with opened as known:
            try:
                async with (
                    relay.connected(lambda: _shown(row.record)) as (reader, writer),
                    relay.noted(note, "the console") as ended,
                ):
                    ended.why = await relay.until_one_ends(page, reader, writer, known)
            except Unreachable as error:
                raise Closed(UNREACHABLE, str(error)) from None


def _row(connection: HTTPConnection) -> Row:
    """The Cloud PC of the address. Raises HTTPException: 404 for users, to whom there is no console."""
    admin_of(connection)
    return cloud_pc_of(connection)


@contextlib.contextmanager
def _shown(cloud_pc: CloudPCRecord) -> Iterator[socket.socket]:
    """Its screen, while the block lasts. Raises Unreachable."""
    try:
        screen = _screen(cloud_pc)
    except (NoConsole, CloudPCError) as error:
        raise Unreachable(str(error)) from None
    with screen:
        yield screen


def _screen(cloud_pc: CloudPCRecord) -> socket.socket:
    """A connection to it. Raises NoConsole, CloudPCError."""
    config = Project().host(cloud_pc)
    if config is None:
        raise NoConsole(f"The policy {cloud_pc.policy} names no host {cloud_pc.recorded.host}.")
    host = connect(config)
    try:
        if not isinstance(host, HasConsole):
            raise NoConsole(f"The host {host.name} shows no consoles.")
        return host.open_console(cloud_pc.recorded.machine_id)
    finally:
        host.close()


ROUTES: list[BaseRoute] = [
    Route("/cloud-pcs/{id}/console", page),
    WebSocketRoute("/cloud-pcs/{id}/console/connection", connection),
]
