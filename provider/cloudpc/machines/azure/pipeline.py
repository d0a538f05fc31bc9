"""How requests reach Azure: the policies of azure-core's pipeline that we want, and none that surprises.

Left out on purpose: the registration of resource providers (it changes the user's subscription, and waits for ever),
logging of requests, redirects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    CustomHookPolicy,
    HeadersPolicy,
    HTTPPolicy,
    RequestIdPolicy,
    RetryPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from cloudpc.machines.azure import arm_error
from cloudpc.microsoft import clouds
from cloudpc.microsoft.tokens import Tokens
from cloudpc.model import patience
from cloudpc.model.watch import Watch

CONNECTIONS = 64
"""Kept open at a time."""
CONNECT, READ = 10, 60
"""Seconds."""
RETRIES, RECONNECTS = 6, 2
"""After an answer that says so, and after none: `retry_status` alone would be 3, whatever `retry_total` says."""
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

_watch: ContextVar[Watch | None] = ContextVar("cloudpc_azure_watch", default=None)


_doing: ContextVar[str] = ContextVar("cloudpc_azure_doing", default="reach Azure")


@contextmanager
def watching(doing: str, watch: Watch | None) -> Iterator[None]:
    """Waits inside end when this watch does, in this thread; None: those that are watched already go on being so."""
    tokens = _watch.set(watch or _watch.get()), _doing.set(doing)
    try:
        yield
    finally:
        _watch.reset(tokens[0])
        _doing.reset(tokens[1])


def watch() -> Watch:
    """Who is listening now."""
    return _watch.get() or Watch()


class Transport(RequestsTransport):  # type: ignore[misc]  # as untyped as requests is to azure-core
    """Pauses in it end as soon as the run is asked to stop."""

    def _init_session(self, session: requests.Session) -> None:
        super()._init_session(session)
        for adapter in session.adapters.values():  # else those beyond ten at a time warn, and connect again each time
            adapter.init_poolmanager(CONNECTIONS, CONNECTIONS)  # type: ignore[attr-defined]

    def sleep(self, duration: float) -> None:
        """See HttpTransport."""
        watch().wait(duration)


class Retry(RetryPolicy[Any, Any]):
    """Repeats what Azure says is worth repeating; a POST only where it was refused unseen."""

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:  # noqa: ARG002
        """See RetryPolicy."""
        status: int = response.http_response.status_code
        if watch().remaining <= 0:
            return False
        if response.http_request.method.upper() == "POST":
            return status == 429
        return status in _TRANSIENT or (status == 409 and _is_passing(response.http_response))

    def sleep(
        self, settings: dict[str, Any], transport: Any, response: PipelineResponse[Any, Any] | None = None
    ) -> None:
        """See RetryPolicy."""
        if response is not None:
            with suppress(AzureError):
                response.http_response.read()  # so that its connection can be used again
            after = self.get_retry_after(response) or self.get_backoff_time(settings)
            watch().note(f"Azure {_wants(response.http_response)} {after:.0f} s")
        super().sleep(settings, transport, response)


def _wants(response: Any) -> str:
    match response.status_code:
        case 429:
            return "has too many requests, and wants a rest of"
        case 409:
            return "is busy with another operation on it: asking again in"
    return f"answers with {response.status_code}: asking again in"


def _is_passing(response: Any) -> bool:
    """Whether a conflict is one with another operation, which ends."""
    response.read()  # what begins an operation is asked for as a stream
    try:
        return arm_error.read(response.json(), response.status_code).meaning is arm_error.Meaning.WAIT
    except ValueError:
        return False


class Patience(HTTPPolicy[Any, Any]):
    """What a single request is, for those who look at slow hosts; pauses between two are none."""

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """See HTTPPolicy."""
        with patience.calling(_doing.get()):
            return self.next.send(request)


class Bearer(ARMChallengeAuthenticationPolicy):
    """The sign-in's token; to Azure only, and over plain HTTP only on this machine's loopback."""

    def __init__(self, tokens: Tokens, scope: str, endpoint: str) -> None:
        super().__init__(tokens, scope)
        self._tokens = tokens
        self._host = urlsplit(endpoint).hostname or ""
        self._is_loopback = clouds.is_loopback(endpoint)

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """See BearerTokenCredentialPolicy."""
        watch().check()
        host = urlsplit(request.http_request.url).hostname or ""
        if host != self._host and not host.endswith(f".{self._host}"):
            raise ClientAuthenticationError(f"Azure names {host or 'no host'} to go on with: it gets no token of ours")
        if self._is_loopback:
            request.context.options["enforce_https"] = False
        super().on_request(request)

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """With another token, once, where Azure refuses the one that was kept: it may have been revoked."""
        response = super().send(request)
        if response.http_response.status_code != 401:
            return response
        self._tokens.forget()
        return super().send(request)


def policies(tokens: Tokens, scope: str, endpoint: str) -> list[Any]:
    """A pipeline's own; they may not be shared by two.

    Args:
        tokens: of the sign-in.
        scope: what tokens are asked with.
        endpoint: where they may go.
    """
    return [
        RequestIdPolicy(),
        HeadersPolicy({"Accept": "application/json"}),
        UserAgentPolicy("cloudpc"),
        ContentDecodePolicy(),
        Retry(retry_total=RETRIES, retry_status=RETRIES, retry_connect=RECONNECTS, retry_read=RECONNECTS),
        Bearer(tokens, scope, endpoint),
        CustomHookPolicy(),
        Patience(),
    ]


def transport(*, loopback: bool) -> Transport:
    """One for all clients of a host. To loopback nothing goes through a proxy."""
    return Transport(connection_timeout=CONNECT, read_timeout=READ, use_env_settings=not loopback)
