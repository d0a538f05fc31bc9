"""What stands before every page: whose request it is, where it comes from, and what its answer may do in a browser.

A page of somebody else's in the same browser can send requests here, and can have its own name mean 127.0.0.1. So the
`Host` has to be ours; what changes something, and each WebSocket, has to come from a page of ours (`Origin`); a form
has to have its session's token. A cookie that other sites' pages never send (SameSite=Strict) is the third bar.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloudpc.model.text import told
from cloudpc.web.sessions import Session, Sessions

log = logging.getLogger(__name__)

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline. A page that needs more sends its own."""
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # without any, browsers send no `Origin` with forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_SAFE = ("GET", "HEAD")
_LONGEST_FORM = 65_536


@dataclass(frozen=True)
class Origins:
    """By which addresses this server may be spoken to, such as `http://127.0.0.1:8365`."""

    addresses: Collection[str]

    @property
    def hosts(self) -> set[str]:
        """As they stand in `Host`."""
        return {address.partition("://")[2] for address in self.addresses}

    @property
    def is_https(self) -> bool:
        """Whether browsers reach it by https."""
        return all(address.startswith("https://") for address in self.addresses)

    @property
    def cookie(self) -> str:
        """Its name: cookies know no ports, and several servers may run on one machine."""
        host = sorted(self.hosts)[0]
        return "__Host-cloudpc" if self.is_https else f"cloudpc-{host.rpartition(':')[2]}"


class Guard:
    """ASGI middleware. Puts the `Session`, if there is one, into the request's state.

    Args:
        app: what stands behind it.
        origins: by which addresses it may be spoken to.
        sessions: who is signed in.
        failed: what is answered where we have made a mistake.
        news: what a page is told apart by from what it would show later; known before it reads anything.
    """

    def __init__(
        self, app: ASGIApp, origins: Origins, sessions: Sessions, failed: Callable[[Request, Exception], Response],
        news: Callable[[], str],
    ) -> None:  # fmt: skip
        self._app, self._origins, self._sessions, self._failed = app, origins, sessions, failed
        self._news = news

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if wrong := self._wrong(scope, headers):
            await _refuse(scope, receive, send, wrong)
            return
        cookie = HTTPConnection(scope).cookies.get(self._origins.cookie)
        session = self._sessions.get(cookie) if cookie else None
        scope["state"] = {**scope.get("state", {}), "session": session, "news": self._news()}

        has_begun = False

        async def with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                sent = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    sent.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except Exception as error:
            if os.environ.get("CLOUDPC_DEBUG"):
                raise
            why = told(f"{scope['path']}: {type(error).__name__}: {error}")
            log.error("%s (CLOUDPC_DEBUG=1 shows the traceback)", why)  # noqa: TRY400 - no traceback
            if scope["type"] == "http" and not has_begun:
                await self._failed(Request(scope), error)(scope, receive, with_headers)

    def _wrong(self, scope: Scope, headers: Headers) -> str | None:
        if headers.get("host", "").lower() not in self._origins.hosts:
            return f"This server answers at {' and '.join(sorted(self._origins.addresses))} only."
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if changes and headers.get("origin") not in self._origins.addresses:
            return "This request does not come from a page of this server."
        return None


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4403, "reason": why[:120]})
        return
    await PlainTextResponse(why, 403, headers=_HEADERS)(scope, receive, send)


def session_of(connection: HTTPConnection) -> Session:
    """Whose request it is. Raises HTTPException 401: nobody is signed in there."""
    session: Session | None = getattr(connection.state, "session", None)
    if session is None:
        raise HTTPException(401)
    return session


async def form_of(request: Request, longest: int = _LONGEST_FORM) -> dict[str, str]:
    """A form that a page of this session has sent.

    Args:
        request: has it as its body.
        longest: bytes that it may have, as it is sent: a letter that is none of ASCII's takes six and more.

    Raises:
        HTTPException: nobody is signed in, it is too long, or it has not the session's token.
    """
    session, body = session_of(request), bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            raise HTTPException(413)
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    if not secrets.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
        raise HTTPException(403, "This page is from before the last sign-in. Reload it, and try again.")
    return form
