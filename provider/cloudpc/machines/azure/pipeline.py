"""How requests reach Azure: the policies of azure-core's pipeline that we want, and none that surprises.

Left out on purpose: the registration of resource providers (it changes the user's subscription, and waits for ever),
logging of requests, redirects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from azure.core.credentials import TokenCredential
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

from cloudpc.machines.azure import errors
from cloudpc.model import patience
from cloudpc.model.watch import Watch

CONNECT, READ = 10, 60
"""Seconds."""
RETRIES = 6
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
        after = self.get_retry_after(response) if response is not None else None
        if response is not None and response.http_response.status_code == 429:
            watch().note(f"Azure has too many requests, and wants {after or 1:.0f} s of rest")
        super().sleep(settings, transport, response)


def _is_passing(response: Any) -> bool:
    """Whether a conflict is one with another operation, which ends."""
    response.read()  # what begins an operation is asked for as a stream
    try:
        return errors.read(response.json(), response.status_code).meaning is errors.Meaning.WAIT
    except ValueError:
        return False


class Patience(HTTPPolicy[Any, Any]):
    """What a single request is, for those who look at slow hosts; pauses between two are none."""

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """See HTTPPolicy."""
        with patience.calling(_doing.get()):
            return self.next.send(request)


class Bearer(ARMChallengeAuthenticationPolicy):
    """The sign-in's token; over plain HTTP only on this machine's loopback."""

    def __init__(self, credential: TokenCredential, scope: str, *, loopback: bool) -> None:
        super().__init__(credential, scope)
        self._loopback = loopback

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """See BearerTokenCredentialPolicy."""
        watch().check()
        if self._loopback:
            request.context.options["enforce_https"] = False
        super().on_request(request)


def policies(credential: TokenCredential, scope: str, *, loopback: bool) -> list[Any]:
    """A pipeline's own; they may not be shared by two."""
    return [
        RequestIdPolicy(),
        HeadersPolicy({"Accept": "application/json"}),
        UserAgentPolicy("cloudpc"),
        ContentDecodePolicy(),
        Retry(retry_total=RETRIES, retry_status=RETRIES, retry_connect=RETRIES, retry_read=RETRIES),
        Bearer(credential, scope, loopback=loopback),
        CustomHookPolicy(),
        Patience(),
    ]


def transport() -> Transport:
    """One for all clients of a host."""
    return Transport(connection_timeout=CONNECT, read_timeout=READ)
