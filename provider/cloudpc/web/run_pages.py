"""Runs: what pages have begun, what it says while it works, and how to end it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from cloudpc.web.guard import form_of, session_of
from cloudpc.web.runs import Run
from cloudpc.web.sessions import Session
from cloudpc.web.site import Site, admin_of, person_of, site_of

_LOOKS_EVERY = 0.5
_BEATS_EVERY = 30
"""Looks after which a line says that all is well, so that nothing between us and the browser gives up."""


def _run_of(request: Request) -> Run:
    """The one of the address. Raises HTTPException 404: there is none, or it is another's."""
    person, run = person_of(request), site_of(request).runs.get(request.path_params["id"])
    is_theirs = run is not None and run.user_id and (run.user_id.lower() == (person.user_id or "").lower())
    if run is None or not (person.is_admin or is_theirs):
        raise HTTPException(404)
    return run


def runs(request: Request) -> Response:
    """All of them."""
    admin_of(request)
    site = site_of(request)
    return site.page(request, "runs.html", runs=site.runs.all())


def run(request: Request) -> Response:
    """One of them."""
    site, one = site_of(request), _run_of(request)
    lines, row = site.runs.lines(one), site.fleet.snapshot.by_id.get(one.cloud_pc)
    shown = one.shown_to(person_of(request), lines)
    return site.page(request, "run.html", run=one, lines=shown, begin=len(lines), row=row)


async def lines(request: Request) -> Response:
    """What it says from line `Last-Event-ID` on, as it says it."""
    one = _run_of(request)
    last = request.headers.get("last-event-id", request.query_params.get("from", "0"))
    begin = int(last) if last.isdecimal() else 0
    return _events(_lines(site_of(request), session_of(request), one, begin))


async def news(request: Request) -> Response:
    """Says so whenever something is not as it was (`since`) when the page was asked for."""
    return _events(_news(site_of(request), session_of(request), request.query_params.get("since")))


async def stop(request: Request) -> Response:
    """End it in order."""
    await form_of(request)
    one, site, person = _run_of(request), site_of(request), person_of(request)
    if not one.may_be_stopped_by(person):
        raise HTTPException(404)
    if await run_in_threadpool(site.runs.stop_for, person, one):
        site.journal.write(person.name, "stopped a run", command=one.shown, run=one.id)
    elif not one.is_over:
        raise HTTPException(409, "It is at work now, and ends by itself; an admin can stop it.")
    return RedirectResponse(f"/runs/{one.id}", 303)


async def _lines(site: Site, session: Session, one: Run, begin: int) -> AsyncIterator[str]:
    said, beats = "", 0
    while not site.is_ending and site.sessions.is_open(session):
        over = one.is_over
        for line in await run_in_threadpool(site.runs.lines, one, begin):
            begin += 1
            for shown in one.shown_to(session.person, [line]):
                yield f"id: {begin}\nevent: line\ndata: {json.dumps(shown)}\n\n"
        if one.said_to(session.person) != said:
            said = one.said_to(session.person)
            yield f"event: said\ndata: {json.dumps(said)}\n\n"
        if over:
            yield "event: over\ndata: {}\n\n"
            return
        beats += 1
        if beats % _BEATS_EVERY == 0:
            yield ": all is well\n\n"
        await asyncio.sleep(_LOOKS_EVERY)


async def _news(site: Site, session: Session, since: str | None) -> AsyncIterator[str]:
    before, beats = since or site.news, 0
    yield ": here\n\n"
    while not site.is_ending and site.sessions.is_open(session):
        await asyncio.sleep(2 * _LOOKS_EVERY)
        now = site.news
        beats += 1
        if now != before:
            before = now
            yield "event: changed\ndata: {}\n\n"
        elif beats % _BEATS_EVERY == 0:
            yield ": all is well\n\n"


def _events(source: AsyncIterator[str]) -> Response:
    return StreamingResponse(source, media_type="text/event-stream", headers={"cache-control": "no-store"})


ROUTES: list[BaseRoute] = [
    Route("/runs", runs),
    Route("/runs/{id}", run),
    Route("/runs/{id}/lines", lines),
    Route("/runs/{id}/stop", stop, methods=["POST"]),
    Route("/news", news),
]
