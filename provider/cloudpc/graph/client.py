"""Microsoft Graph for callers on many threads: one event loop, one client, deadlines, retries, errors in words.

The SDK is asynchronous only, and a client belongs to one loop: so there is one, on a thread of its own. Everything
heavy is imported at the first call: importing takes 0.3 s and the first call 1.6 s more.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from cloudpc.graph import permissions, refusals
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.credentials import Tokens
from cloudpc.graph.errors import TIMEOUT, GraphError
from cloudpc.graph.permissions import Call, Permission
from cloudpc.microsoft import clouds
from cloudpc.microsoft.sign_in import UNREACHABLE, proxy_note

if TYPE_CHECKING:
    import httpx
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.graph_service_client import GraphServiceClient

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Requests at a time over all threads: Graph throttles per application and tenant."""
CONNECT_TIMEOUT: Final = 20.0
ANSWER_TIMEOUT: Final = 60.0
"""Seconds for the answer to one request."""
LONGEST_PAUSE: Final = 60.0
"""Seconds; where Graph asks to wait longer before a request is repeated, it is not."""
_RETRIES: Final = 6

_T = TypeVar("_T")


class Graph:
    """A tenant's Graph. Made at no cost; signs in at the first call.

    Args:
        config: which tenant, and how to sign in.
    """

    def __init__(self, config: GraphConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: Session | None = None

    def run(self, work: Callable[[Session], Coroutine[Any, Any, _T]], timeout: float = 300.0) -> _T:
        """Do something that takes one call or many; blocks, from any thread.

        Args:
            work: what to do, on the client's own loop.
            timeout: seconds for all of it, waiting for others included.

        Raises:
            GraphError: it failed, or took longer.
        """
        future = asyncio.run_coroutine_threadsafe(self._work(work), self._started())
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            message = f"{self._host} did not finish within {timeout:.0f} s{proxy_note(self.config.endpoint)}"
            raise GraphError(message, TIMEOUT) from None
        finally:
            future.cancel()  # after Ctrl-C, too; does nothing where it is done

    def missing(self, calls: Iterable[Call]) -> list[Permission] | None:
        """Of what these calls need, what the sign-in was not granted; None where its token does not say.

        Raises:
            GraphError: there is no sign-in.
        """

        async def granted(session: Session) -> frozenset[str] | None:
            await session.tokens.get_token(session.scope)
            return session.tokens.granted()

        found = self.run(granted, timeout=60.0)
        return None if found is None else permissions.missing(found, calls)

    def forget_token(self) -> None:
        """Graph has refused the token: the next call gets another one."""
        if self._session is not None:
            self._session.tokens.forget()

    def close(self) -> None:
        """Release the connections and the thread. Idempotent; a later call starts them again."""
        with self._lock:
            loop, thread, session = self._loop, self._thread, self._session
            self._loop = self._thread = self._session = None
        if loop is None or thread is None:
            return
        if session is not None:
            closing = asyncio.run_coroutine_threadsafe(session.close(), loop)
            with contextlib.suppress(Exception):  # what can't be closed ends with the process
                closing.result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        if not thread.is_alive():
            loop.close()

    @property
    def _host(self) -> str:
        return urlsplit(self.config.endpoint).netloc

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="graph", daemon=True)
                self._thread.start()
            return self._loop

    async def _work(self, work: Callable[[Session], Coroutine[Any, Any, _T]]) -> _T:
        if self._session is None:
            self._session = Session(self.config)  # on the loop, so once
        return await work(self._session)


class Session:
    """Graph as work on the client's loop sees it."""

    def __init__(self, config: GraphConfig) -> None:
        self.tokens = Tokens(config)
        self.scope = f"{config.endpoint}/.default"
        self._config = config
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._not_before = 0.0
        self._http = _http_client(config)
        self.client = _service_client(config, self.tokens, self.scope, self._http)

    async def call(self, call: Call, request: Callable[[], Awaitable[_T | None]]) -> _T | None:
        """One request that may be repeated: throttled, after a lost connection, and once with a new token.

        One policy for all of that instead of the SDK's, which knows nothing of connections, tokens and 500, obeys a
        Retry-After of minutes, and repeats what creates.

        Args:
            call: which one, for messages.
            request: makes it; called again for each repetition.

        Raises:
            GraphError: in words; `is_missing` where there is no such object.
        """
        renewed = False
        for attempt in range(_RETRIES + 1):
            try:
                return await self.once(call, request)
            except GraphError as error:
                if error.status == 401 and not renewed and attempt < _RETRIES:
                    renewed = True
                    self.tokens.forget()
                elif not error.is_transient or attempt == _RETRIES:
                    raise
                else:
                    log.debug("%s: %s; again", call.value.request, error)
                    await self.pause(attempt, error)
        raise AssertionError  # pragma: no cover - the last attempt raises or returns

    async def once(self, call: Call, request: Callable[[], Awaitable[_T | None]]) -> _T | None:
        """One request, repeated by nobody: for what creates. Whoever repeats it looks first what it has done.

        Raises:
            GraphError: in words.
        """
        import httpx
        from kiota_abstractions.api_error import APIError

        async with self._at_once:
            if (wait := self._not_before - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(wait)
            try:
                return await request()
            except APIError as error:
                explained = refusals.explained(error, call.value, self._config)
                if explained.status == 429 and explained.retry_after <= LONGEST_PAUSE:
                    # the whole application is throttled: asking meanwhile only makes that last
                    now = asyncio.get_running_loop().time()
                    self._not_before = max(self._not_before, now + explained.retry_after)
                raise explained from None
            except httpx.TimeoutException:
                message = f"{self._host} did not answer {call.value.request} in time{proxy_note(self._config.endpoint)}"
                raise GraphError(message, TIMEOUT) from None
            except (httpx.TransportError, OSError) as error:
                message = f"{self._host} can't be reached: {str(error) or type(error).__name__}"
                raise GraphError(f"{message}{proxy_note(self._config.endpoint)}", UNREACHABLE) from None
            except GraphError:
                raise
            except Exception as error:  # whatever the SDK raises over a body that is not Graph's
                reason = f"{type(error).__name__}: {refusals.one_line(str(error))}"
                message = f"{self._host} gave an answer to {call.value.request} that can't be read ({reason})"
                raise GraphError(message, "unreadable") from error

    async def required(self, call: Call, request: Callable[[], Awaitable[_T | None]]) -> _T:
        """As `call`, where an empty answer is none.

        Raises:
            GraphError: as above.
        """
        found = await self.call(call, request)
        if found is None:
            raise GraphError(f"{self._host} gave an empty answer to {call.value.request}", "emptyAnswer")
        return found

    async def json(
        self, call: Call, builder: Any, configuration: RequestConfiguration[Any] | None = None
    ) -> dict[str, Any]:
        """Read an object or a page, as Graph says it.

        Not as the SDK's models: making one runs some 1,300 import statements, so that a page of users takes 8 s of
        processor time, and they make None of each value that is newer than they are.

        Args:
            call: which one, for messages.
            builder: the SDK's request builder.
            configuration: of the request.

        Raises:
            GraphError: as above.
        """
        from msgraph.generated.models.o_data_errors.o_data_error import ODataError

        errors: dict[str, Any] = {"XXX": ODataError}
        adapter: Any = self.client.request_adapter
        body: bytes = await self.required(
            call,
            # a new request each time: it keeps the token it was sent with
            lambda: adapter.send_primitive_async(builder.to_get_request_information(configuration), "bytes", errors),
        )
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise GraphError(f"{self._host} gave an answer to {call.value.request} that can't be read", "unreadable")
        return found

    async def pages(
        self, call: Call, builder: Any, configuration: RequestConfiguration[Any]
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """All pages of a list, including empty ones in the middle; each is released before the next is requested.

        Args:
            call: which one, for messages.
            builder: the SDK's request builder of the list.
            configuration: of the first request; the others take its headers.

        Raises:
            GraphError: a page is not to be had. What came before is then not all there is.
        """
        from kiota_abstractions.base_request_configuration import RequestConfiguration

        following: RequestConfiguration[Any] = RequestConfiguration(headers=configuration.headers)
        seen: set[str] = set()
        page = await self.json(call, builder, configuration)
        while True:
            # the SDK's own PageIterator ends at an empty page that has a next link
            values, link = page.get("value"), page.get("@odata.nextLink")
            if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
                raise GraphError(f"{self._host} gave an answer without a list to {call.value.request}", "emptyAnswer")
            page = {}
            yield values
            del values
            if not link:
                return
            if link in seen or not str(link).startswith(f"{self._config.endpoint}/"):
                # it takes a token along, so only to where that belongs
                raise GraphError(f"{self._host} gave a next page that leads elsewhere or nowhere", "badNextLink")
            seen.add(link)
            page = await self.json(call, builder.with_url(link), following)

    async def tenant_id(self) -> str:
        """The tenant that is signed in to; empty where the token doesn't say.

        Raises:
            GraphError: there is no sign-in.
        """
        await self.tokens.get_token(self.scope)
        return self.tokens.tenant_id()

    async def pause(self, attempt: int, error: GraphError) -> None:
        """Wait before a request is repeated. Raises the error given where Graph asks for more than is sane."""
        await asyncio.sleep(pause(attempt, error))

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()
        await self.tokens.close()

    @property
    def _host(self) -> str:
        return urlsplit(self._config.endpoint).netloc


def pause(attempt: int, error: GraphError) -> float:
    """Seconds to wait before a request is repeated: what Graph asks for, else growing, never the same for all who wait.

    Raises:
        GraphError: the one given, where Graph asks for more than is sane.
    """
    if error.retry_after > LONGEST_PAUSE:
        raise error
    return error.retry_after or min(LONGEST_PAUSE, 0.5 * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311


def _http_client(config: GraphConfig) -> httpx.AsyncClient:
    import httpx
    from kiota_http.kiota_client_factory import KiotaClientFactory
    from kiota_http.middleware import ParametersNameDecodingHandler

    client = httpx.AsyncClient(
        timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT, pool=None),
        # the loopback is never behind a proxy; for others the environment's is used
        trust_env=not clouds.is_loopback(config.endpoint),
        follow_redirects=False,  # a token goes only to where it belongs
        http2=True,
        event_hooks={"response": [_check_clock]},
    )
    # the SDK's other middleware is for retries (see Session.call), redirects, /me and telemetry: none is wanted
    return KiotaClientFactory.create_with_custom_middleware([ParametersNameDecodingHandler()], client=client)


async def _check_clock(response: httpx.Response) -> None:
    refusals.check_clock(response.headers)


def _service_client(config: GraphConfig, tokens: Tokens, scope: str, http: httpx.AsyncClient) -> GraphServiceClient:
    from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
    from msgraph.graph_request_adapter import GraphRequestAdapter
    from msgraph.graph_service_client import GraphServiceClient

    authentication = AzureIdentityAuthenticationProvider(
        tokens,
        scopes=[scope],
        allowed_hosts=[urlsplit(config.endpoint).hostname or ""],
    )
    adapter = GraphRequestAdapter(authentication, client=http)
    adapter.base_url = f"{config.endpoint}/v1.0"
    return GraphServiceClient(request_adapter=adapter)
