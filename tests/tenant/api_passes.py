"""Temporary Access Passes: one per user, the value only in the answer that creates it."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from uuid import uuid4

from tests.support.http_server import Answer
from tests.tenant import tokens
from tests.tenant.api_directory import user_of
from tests.tenant.errors import GraphError, invalid, not_found
from tests.tenant.odata import Json
from tests.tenant.routing import Call, Routes
from tests.tenant.store import timestamp

ROUTES = Routes()

_PATH = "/users/{id}/authentication/temporaryAccessPassMethods"
_LIFETIMES = range(60, 481)
"""Minutes that the tenant's policy allows: Entra's defaults."""


@ROUTES.add("GET", _PATH, tokens.PASSES)
def passes(call: Call) -> Answer:
    issued = call.store.passes.get(user_of(call)["id"])
    return Answer(200, {"value": [] if issued is None else [_seen(call, issued)]})


@ROUTES.add("POST", _PATH, tokens.PASSES_WRITE)
def create(call: Call) -> Answer:
    user = user_of(call)
    if not call.store.passes_allowed:
        raise GraphError(
            400, "badRequest", "Temporary Access Pass is not enabled by the tenant's policy for this user."
        )
    wanted = {name: value for name, value in call.body.items() if "@" not in name}
    if read_only := wanted.keys() - {"lifetimeInMinutes", "isUsableOnce", "startDateTime"}:
        raise invalid(f"Property '{min(read_only)}' is read-only and cannot be set.")
    lifetime = wanted.get("lifetimeInMinutes") or _LIFETIMES.start
    if lifetime not in _LIFETIMES:
        raise invalid(
            f"lifetimeInMinutes must be from {_LIFETIMES.start} to {_LIFETIMES.stop - 1} by the tenant's policy."
        )
    issued: Json = {
        "id": str(uuid4()),
        "createdDateTime": timestamp(call.store.clock()),
        "startDateTime": wanted.get("startDateTime") or timestamp(call.store.clock()),
        "lifetimeInMinutes": lifetime,
        "isUsableOnce": bool(wanted.get("isUsableOnce")),
    }
    call.store.passes[user["id"]] = issued
    call.store.changed()
    return Answer(201, {**_seen(call, issued), "temporaryAccessPass": secrets.token_urlsafe(9)})


@ROUTES.add("GET", f"{_PATH}/{{pass_id}}", tokens.PASSES)
def one(call: Call) -> Answer:
    return Answer(200, _seen(call, _pass(call)))


@ROUTES.add("DELETE", f"{_PATH}/{{pass_id}}", tokens.PASSES_WRITE)
def delete(call: Call) -> Answer:
    _pass(call)
    del call.store.passes[user_of(call)["id"]]
    call.store.changed()
    return Answer(204)


def _pass(call: Call) -> Json:
    issued = call.store.passes.get(user_of(call)["id"])
    if issued is None or issued["id"] != call.parameters["pass_id"]:
        raise not_found(call.parameters["pass_id"])
    return issued


def _seen(call: Call, issued: Json) -> Json:
    start = datetime.fromisoformat(issued["startDateTime"])
    now = call.store.clock()
    if now < start:
        reason = "NotYetValid"
    elif now >= start + timedelta(minutes=issued["lifetimeInMinutes"]):
        reason = "Expired"
    else:
        reason = "EnabledByPolicy"
    usable = reason == "EnabledByPolicy"
    return {**issued, "isUsable": usable, "methodUsabilityReason": reason, "temporaryAccessPass": None}
