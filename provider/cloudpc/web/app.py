"""The application: its routes, what stands before them, and what is said where there is no page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cloudpc.web import (
    cloud_pc_pages,
    console_page,
    desktop_page,
    fleet_page,
    mine_page,
    overview_page,
    policies_pages,
    run_pages,
    sign_in_pages,
    static_files,
    terminal,
)
from cloudpc.web.guard import Guard, form_of, session_of
from cloudpc.web.site import Site, site_of

_USED = "This address has been used, or another one was printed after it: each works once."
_SAID = {
    401: "The session has ended, another one has taken its place, or the server has started again since.",
    404: "There is no such page, or no such Cloud PC of yours.",
    405: "This address takes no such request.",
    413: "This form is too long.",
}
_TITLES = {401: "Not signed in", 404: "Not here", 409: "Not now", 500: "Something went wrong"}
"""Where HTTP's own words say little to people."""


def create(site: Site, more: list[BaseRoute] | None = None) -> Starlette:
    """The pages of a site, with these routes beside our own."""
    routes: list[BaseRoute] = [
        Route("/", start),
        Route("/sign-out", sign_out, methods=["POST"]),
        *fleet_page.ROUTES,
        *cloud_pc_pages.ROUTES,
        *desktop_page.ROUTES,
        *console_page.ROUTES,
        *run_pages.ROUTES,
        *mine_page.ROUTES,
        *overview_page.ROUTES,
        *policies_pages.ROUTES,
        *(sign_in_pages.ROUTES if site.sign_in else ()),
        *(more or ()),
        *static_files.routes(),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Guard, origins=site.origins, sessions=site.sessions, failed=said, news=lambda: site.news)
        ],
        exception_handlers={HTTPException: said},
        lifespan=_lifespan,
    )
    app.state.site = site
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    site: Site = app.state.site
    site.fleet.start()
    site.at_work.start()
    try:
        async with desktop_page.followed(app):
            yield
    finally:
        site.fleet.stop()
        site.at_work.stop()


def start(request: Request) -> Response:
    """Where everybody begins; with a token of ours, by signing in."""
    site, token = site_of(request), request.query_params.get("token")
    if token is None:
        return RedirectResponse("/overview" if session_of(request).person.is_admin else "/mine")
    session = site.sessions.accept(token)
    if session is None:
        raise HTTPException(401, _USED)
    site.journal.write(session.person.name, "signed in")
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        site.origins.cookie, session.id, httponly=True, samesite="strict", secure=site.origins.is_https, path="/"
    )
    return answer


async def sign_out(request: Request) -> Response:
    """The session ends, with all that hangs on it."""
    await form_of(request)
    site, session = site_of(request), session_of(request)
    site.journal.write(session.person.name, "signed out")
    site.sessions.end(session)
    text, link = "You are signed out. The terminal of `cloudpc serve` has an address that signs you in again.", None
    if site.sign_in:
        text = "You are signed out here. Your browser is still signed in to the tenant."
        link = (site.sign_in.sign_out_address, "Sign out there, too")
    answer = site.page(request, "said.html", title="Signed out", text=text, link=link)
    answer.delete_cookie(site.origins.cookie, httponly=True, samesite="strict", secure=site.origins.is_https, path="/")
    return answer


def said(request: Request, error: Exception) -> Response:
    """What went wrong, in words; of our own faults no more than that."""
    code = error.status_code if isinstance(error, HTTPException) else 500
    phrase = HTTPStatus(code).phrase
    text = _SAID.get(code, "Something went wrong here; the terminal of `cloudpc serve` says more.")
    if isinstance(error, HTTPException) and error.detail != phrase:
        text = error.detail
    if code == 401:
        text = f"{text} {_another()}"
    site, link = site_of(request), None
    if site.sign_in and code == 401:
        text, link = "Nobody is signed in here, or the session has ended.", sign_in_pages.link(request)
    if code == 401 and request.method == "POST":
        text = f"Nothing was done. {text}"
    return site.page(request, "said.html", code, title=_TITLES.get(code, phrase), text=text, link=link)


def _another() -> str:
    """How to get another address."""
    more = "Enter in its terminal prints another one" if terminal.is_there() else "started again, it prints another one"
    return f"Open the address that `cloudpc serve` has printed last; {more}."
