"""Overview: how many there are of each status, how hosts and connections are, the last runs; preview, and run now."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cloudpc.web.fleet import STATUSES
from cloudpc.web.guard import form_of
from cloudpc.web.runs import Run, TwiceError
from cloudpc.web.site import admin_of, site_of

_COMMANDS = {"up": ["up"], "preview": ["preview"], "clear-lock": ["up", "--clear-lock"]}
"""What the page's buttons run, for all policies."""


def overview(request: Request) -> Response:
    """All at a glance."""
    admin_of(request)
    site = site_of(request)
    snapshot, runs = site.fleet.first(), site.runs.all()
    return site.page(
        request,
        "overview.html",
        snapshot=snapshot,
        counts=[(status, snapshot.counts[status]) for status in STATUSES if snapshot.counts[status]],
        outdated=sum(bool(row.outdated) for row in snapshot.rows),
        seen=site.surroundings.look(),
        runs=runs[:5],
        locks=site.runs.held(snapshot.policies),
    )


async def begin(request: Request) -> Response:
    """Run, or preview, all policies."""
    await form_of(request)
    person, site = admin_of(request), site_of(request)
    command = _COMMANDS.get(request.path_params["command"])
    if command is None:
        raise HTTPException(404)
    policies = site.fleet.snapshot.policies
    run = Run(command, person.name, policies)
    try:
        await run_in_threadpool(site.runs.start, run)
    except TwiceError as twice:
        return RedirectResponse(f"/runs/{twice.run.id}", 303)
    site.journal.write(person.name, command[0], command=run.shown, run=run.id)
    return RedirectResponse(f"/runs/{run.id}", 303)


ROUTES: list[BaseRoute] = [
    Route("/overview", overview),
    Route("/overview/do/{command}", begin, methods=["POST"]),
]
