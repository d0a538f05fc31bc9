"""Temporary Access Passes of Entra's users."""

from __future__ import annotations

from typing import Any

from cloudpc.graph.client import Session
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Call
from cloudpc.model.devices import TemporaryAccessPass

Json = dict[str, Any]
_ATTEMPTS = 6


async def issue(session: Session, user_id: str, lifetime: int, usable_once: bool) -> TemporaryAccessPass | None:
    """See DeviceRegistry.issue_pass."""
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.models.temporary_access_pass_authentication_method import (
        TemporaryAccessPassAuthenticationMethod,
    )

    builder = session.client.users.by_user_id(user_id).authentication.temporary_access_pass_methods
    body = TemporaryAccessPassAuthenticationMethod(lifetime_in_minutes=lifetime, is_usable_once=usable_once)
    for attempt in range(_ATTEMPTS):
        # read as pages, because an answer without a list does not say that there is no pass
        pages = session.pages(Call.READ_PASSES, builder, RequestConfiguration())
        for other in [method async for page in pages for method in page]:
            # after a request without an answer, one just like ours is ours: its value is lost, a new one replaces it
            alike = (other.get("lifetimeInMinutes"), bool(other.get("isUsableOnce"))) == (lifetime, usable_once)
            if _may_be_used(other) and not (attempt and alike):
                return None
        try:
            issued = await session.once(Call.CREATE_PASS, lambda: builder.post(body))
        except GraphError as error:
            if not error.is_transient or attempt == _ATTEMPTS - 1:
                raise
            await session.pause(attempt, error)
            continue
        if issued is None or not issued.temporary_access_pass:
            raise GraphError("Graph issued a Temporary Access Pass without a value", "emptyAnswer")
        start = issued.start_date_time
        return TemporaryAccessPass(
            issued.id or "",
            issued.temporary_access_pass,
            start.isoformat() if start else "",
            issued.lifetime_in_minutes or lifetime,
            bool(issued.is_usable_once),
        )
    raise AssertionError  # pragma: no cover - the last attempt raises or returns


def _may_be_used(method: Json) -> bool:
    return bool(method.get("isUsable")) or method.get("methodUsabilityReason") == "NotYetValid"
