"""What Microsoft Graph's refusals mean, in sentences for the admin."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.credentials import TOKEN_VARIABLE
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Permission
from cloudpc.microsoft.sign_in import proxy_note

if TYPE_CHECKING:
    from kiota_abstractions.api_error import APIError

_CLOCK_SKEW: Final = 300.0
"""Seconds that this machine's clock may be wrong by: a token is not valid for long."""
_FAR_OFF: Final = 3600.0
"""Seconds from which on nothing is decided by this machine's clock: grace periods end by it, and delete data."""


def explained(error: APIError, permission: Permission, config: GraphConfig) -> GraphError:
    """An answer that is no success, in words."""
    status = error.response_status_code or 0
    inner = getattr(error, "error", None)
    code = getattr(inner, "code", None) or ""
    reason = one_line(getattr(inner, "message", None) or "")
    said = reason or one_line(error.message or "")
    headers: Any = error.response_headers or {}
    host = urlsplit(config.endpoint).netloc
    match status:
        case 401:
            message = _unauthorized(said, headers, config)
        case _ if 400 <= status < 500 and status != 429 and not code:
            lacks = f"with nothing but {reason!r}, and without a code" if reason else "without a reason"
            message = (
                f"{permission.request} was refused ({status}) {lacks}, which Graph always gives; see what "
                f"lies between this machine and {host}{proxy_note(config.endpoint)}"
            )
            return GraphError(message, code, status)
        case 403 if code.startswith("Authentication_"):  # of the tenant, or of how one has signed in
            message = f"{permission.purpose} is refused ({code}): {said}"
            return GraphError(message, code, status)
        case 403 if permission.delegated_only:
            message = (
                f"{permission.purpose} is refused ({code}): it needs a signed-in user with the permission "
                f"{permission.least} and the role {permission.role}; an application can't do it"
            )
        case 403:
            role = f" (a signed-in user also needs the role {permission.role})" if permission.role else ""
            message = f"{permission.purpose} is refused ({code}): the permission {permission.least} is missing{role}"
            return GraphError(message, code, status, permission=permission)
        case 404:
            message = f"{permission.request}: not found"
        case 429:
            message = f"{host} has throttled {permission.request} for too long; try again later"
        case _ if status >= 500:
            message = f"{host} is not able to answer {permission.request} now ({status} {code})"
        case _:
            message = f"{permission.request} was refused ({status} {code}): {said}"
    missing = permission if status == 403 else None
    return GraphError(message, code, status, retry_after=_retry_after(headers), permission=missing)


def check_clock(headers: Any) -> None:
    """Whether this machine's clock is about right, by an answer of Graph's.

    Raises:
        GraphError: it is not.
    """
    if wrong := _clock(headers, _FAR_OFF):
        raise GraphError(f"{wrong}: by it, grace periods would end too early or too late", "wrongClock")


def _clock(headers: Any, tolerance: float) -> str:
    """In words what is wrong with this machine's clock; empty where it is right, or the answer does not say."""
    there = _now_there(headers)
    ahead = 0.0 if there is None else time.time() - there.timestamp()
    if abs(ahead) <= tolerance or "Age" in headers:  # which is of something kept on the way
        return ""
    direction = "ahead of" if ahead > 0 else "behind"
    return f"this machine's clock is {_span(abs(ahead))} {direction} Graph's; set it"


def _span(seconds: float) -> str:
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    return f"{days:.0f} days" if days >= 3 else f"{hours:.0f} h" if hours >= 3 else f"{minutes:.0f} min"


def _unauthorized(said: str, headers: Any, config: GraphConfig) -> str:
    if wrong := _clock(headers, _CLOCK_SKEW):
        return f"Graph refused the token: {wrong}"
    if "expired" in said or "lifetime" in said.lower():
        where = f"; put a new one into {TOKEN_VARIABLE}" if config.auth == "token" else "; sign in again"
        return f"Graph refused the token, it has expired{where}"
    tenant = f" for the tenant {config.tenant_id}" if config.tenant_id else ""
    return f"Graph refused the token{tenant} ({said or 'no reason given'}): is it for this tenant and this Graph?"


def _retry_after(headers: Any) -> float:
    with contextlib.suppress(KeyError, ValueError, TypeError):
        value = str(headers["Retry-After"])
        if value.isdigit():
            return float(value)
        now = _now_there(headers) or datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    return 0.0


def _now_there(headers: Any) -> datetime | None:
    """By the clock of who has answered: this machine's may be wrong."""
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return parsedate_to_datetime(headers["Date"]).astimezone(UTC)
    return None


def one_line(text: str) -> str:
    """What a service or a library says, for the middle of a sentence."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:297] + "..."
