"""The desktop in a page: the page, the ticket that it asks for when it is about to connect, and what that opens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from cloudpc.cli import desktop, targets
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError
from cloudpc.model.access import Ssh
from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import command_line
from cloudpc.operations.records import CloudPCRecord
from cloudpc.web import rdp_proxy
from cloudpc.web.connections import Connections, Present
from cloudpc.web.fleet import Row, Snapshot
from cloudpc.web.guard import form_of, session_of
from cloudpc.web.person import Person
from cloudpc.web.rdp_packets import keyboard_of
from cloudpc.web.rdp_proxy import Desktop
from cloudpc.web.relay import POLICY, Unreachable
from cloudpc.web.site import Site, cloud_pc_of, person_of, site_of
from cloudpc.web.static_files import from_npm
from cloudpc.web.tickets import Tickets

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""IronRDP is WebAssembly, which it loads from its own file as data, and a component with a style of its own."""
_FOLLOWS_EVERY = 1.0
_NO_CLIENT = "What shows a desktop in a page is not installed here: tools/web/fetch fetches it from npm."


@dataclass
class Desktops:
    """All of a server."""

    tickets: Tickets[Desktop] = field(default_factory=Tickets)
    open: Connections = field(default_factory=Connections)

    @classmethod
    def of(cls, connection: HTTPConnection) -> Desktops:
        """Those of the server that was asked."""
        state = connection.app.state
        if not hasattr(state, "desktops"):
            sessions = site_of(connection).sessions
            state.desktops = made = cls(open=Connections(touch=sessions.get))
            sessions.on_end.append(lambda session: made.end_session(session.id))
        found: Desktops = state.desktops
        return found

    def end_session(self, session: str) -> None:
        """Who signs out leaves nothing open, and nothing that could be opened."""
        self.tickets.forget(session)
        self.open.end_session(session)


def page(request: Request) -> Response:
    """The page, which connects by itself."""
    row = cloud_pc_of(request)
    if not row.desktop:
        why = f"The image {row.image} of {row.name} has no desktop. One that has: debian-12-desktop."
        raise HTTPException(409, why)
    if not (from_npm() / "@devolutions/iron-remote-desktop").is_dir():
        raise HTTPException(503, _NO_CLIENT)
    answer = site_of(request).page(
        request, "desktop.html", row=row, connect=command_line("cloudpc", "connect", row.user, "--desktop")
    )
    answer.headers["content-security-policy"] = CONTENT_POLICY
    return answer


async def ticket(request: Request) -> Response:
    """What the page's next connection has to have; or why there is none."""
    await form_of(request)
    row = await run_in_threadpool(cloud_pc_of, request)  # waits for the first look at the fleet
    person, session, desktops = person_of(request), session_of(request), Desktops.of(request)
    try:
        way = await run_in_threadpool(_desktop, site_of(request), row, person)
    except CloudPCError as error:
        return JSONResponse({"why": f"{error}"}, 409)
    return JSONResponse({"ticket": desktops.tickets.give(session.id, row.id, way)})


async def connection(page: WebSocket) -> None:
    """IronRDP's connection."""
    try:
        row, session = await run_in_threadpool(cloud_pc_of, page), session_of(page)
    except HTTPException:
        await page.close(POLICY)  # refuses the handshake
        return
    desktops = Desktops.of(page)
    await rdp_proxy.serve(page, session.id, row.id, desktops.tickets, desktops.open)


def _desktop(site: Site, row: Row, person: Person) -> Desktop:
    """With the secrets that it takes, as they are now. Raises CloudPCError: there is none to be reached."""
    project = Project()
    cloud_pc = project.with_secrets(row.record.user_id, row.record.service_plan, row.record.policy)
    recorded = cloud_pc.recorded
    if (recorded.machine_id, recorded.generation) != (row.record.recorded.machine_id, row.record.generation):
        raise CommandError(f"{row.name} has become another Cloud PC meanwhile; load the page again")
    way, secret = targets.usable(cloud_pc)
    if not isinstance(way, Ssh) or not way.certificate_thumbprint:
        raise CommandError(f"{row.name} has no desktop: its image {recorded.settings.image_id} has none")
    if recorded.is_kept_off:
        raise CommandError(f"{row.name} is powered off; power it on, and try again")

    @contextlib.contextmanager
    def reach() -> Iterator[socket.socket]:
        try:
            with desktop.stream(project, cloud_pc, secret) as connected:
                yield connected
        except CloudPCError as error:
            raise Unreachable(str(error)) from None

    def note(did: str, why: str) -> None:
        site.journal.write(person.name, did, cloud_pc, **({"why": why} if why else {}))

    keyboard = keyboard_of(recorded.settings.locale)
    known = present(cloud_pc)
    return Desktop(secret.user, secret.password, way.certificate_thumbprint, reach, note, keyboard, known)


def present(cloud_pc: CloudPCRecord) -> Present:
    """What its connections go by."""
    ends = cloud_pc.grace_period_end_date_time
    return Present(cloud_pc.generation, datetime.fromisoformat(ends) if ends else None)


def _present_in(snapshot: Snapshot, id_: str) -> Present | None:
    row = snapshot.by_id.get(id_)
    return present(row.record) if row else None


@contextlib.asynccontextmanager
async def followed(app: Starlette) -> AsyncIterator[None]:
    """While the block lasts, connections end with the Cloud PCs that they lead to, as soon as the fleet shows it."""

    async def follow() -> None:
        while True:
            await asyncio.sleep(_FOLLOWS_EVERY)
            snapshot: Snapshot = app.state.site.fleet.snapshot
            if snapshot.read and hasattr(app.state, "desktops"):
                desktops: Desktops = app.state.desktops
                desktops.open.follow(partial(_present_in, snapshot))

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()


ROUTES: list[BaseRoute] = [
    Route("/cloud-pcs/{id}/desktop", page),
    Route("/cloud-pcs/{id}/desktop/ticket", ticket, methods=["POST"]),
    WebSocketRoute("/cloud-pcs/{id}/desktop/connection", connection),
]
