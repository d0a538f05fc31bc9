"""The pages of signing in with Microsoft Entra: the way there and back."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cloudpc.web.sign_in import FLOW_SECONDS, RefusedError, SignIn
from cloudpc.web.site import Site, site_of

SESSION_SECONDS = 12 * 3600.0
"""After that the tenant is asked again whether somebody may still come in, and as what."""
_AGAIN = "Sign in again."


def link(request: Request) -> tuple[str, str]:
    """To sign in, and then to go on to what was asked for."""
    query = f"?{request.url.query}" if request.url.query else ""
    wanted = f"{request.url.path}{query}" if request.method == "GET" else "/"
    return f"/sign-in?next={quote(wanted, safe='')}", "Sign in"


def sign_in(request: Request) -> Response:
    """To the tenant."""
    site = site_of(request)
    key, address = _of(site).begin(_address(site), request.query_params.get("next", "/"))
    answer = RedirectResponse(address, 303)
    # coming back is a click on another site's page: with a strict cookie the browser would not know what has begun
    answer.set_cookie(
        _cookie(site), key, int(FLOW_SECONDS), path="/", httponly=True, samesite="lax", secure=site.origins.is_https
    )
    return answer


async def signed_in(request: Request) -> Response:
    """Back from it."""
    site = site_of(request)
    try:
        key = request.cookies.get(_cookie(site), "")
        who = await run_in_threadpool(_of(site).finish, key, request.query_params)
    except RefusedError as refused:
        site.journal.write(refused.who or "somebody", "was not signed in", why=refused.code)
        return site.page(
            request, "said.html", refused.status, title="Not signed in", text=refused.text, link=("/sign-in", _AGAIN)
        )
    session = site.sessions.begin(who.person)
    asyncio.get_running_loop().call_later(SESSION_SECONDS, site.sessions.end, session)
    more: dict[str, Any] = {"why": "groupsOverage"} if who.note else {}
    site.journal.write(who.person.name, "signed in", userId=who.person.user_id, admin=who.person.is_admin, **more)
    # a page and no redirect: one that began at another site would arrive there without the strict cookie
    answer = site.page(request, "signed_in.html", name=who.person.name, next=who.next, note=who.note)
    secure = site.origins.is_https
    answer.set_cookie(site.origins.cookie, session.id, httponly=True, samesite="strict", secure=secure, path="/")
    answer.delete_cookie(_cookie(site), httponly=True, samesite="lax", secure=secure, path="/")
    return answer


def _of(site: Site) -> SignIn:
    assert site.sign_in is not None  # noqa: S101 - these pages are there only then
    return site.sign_in


def _address(site: Site) -> str:
    return sorted(site.origins.addresses)[0]


def _cookie(site: Site) -> str:
    return f"{site.origins.cookie}-sign-in"


ROUTES: list[BaseRoute] = [Route("/sign-in", sign_in), Route("/signed-in", signed_in)]
