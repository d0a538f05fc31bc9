"""Clients for the tests of the tenant: plain HTTP, and Microsoft's own SDK."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from tests.tenant.tenant import Tenant

_T = TypeVar("_T")


@dataclass(frozen=True)
class Got:
    """An answer."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """Graph's word for the error."""
        return str(self.body["error"]["code"])

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.body["value"]]


class Http:
    """One connection that stays open. Paths are written in plain; only what separates is left unquoted."""

    def __init__(self, tenant: Tenant, token: str | None) -> None:
        self.token = token
        self.connection = http.client.HTTPConnection(urlsplit(tenant.endpoint).netloc, timeout=30)

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        path = path if path.startswith("http") else "/v1.0" + quote(path, safe="/?&=$(),':%@")
        sent = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        self.connection.request(method, path, data, sent | headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return Got(answer.status, json.loads(text) if text else None, {k.lower(): v for k, v in answer.getheaders()})

    def get(self, path: str, **headers: str) -> Got:
        return self("GET", path, **headers)

    def pages(self, path: str, **headers: str) -> list[Got]:
        """This page and all that follow."""
        found = [self.get(path, **headers)]
        while link := found[-1].body.get("@odata.nextLink"):
            found.append(self.get(link, **headers))
        return found


class Sdk:
    """msgraph-sdk, with a loop of its own on a thread."""

    def __init__(self, tenant: Tenant, token: str, max_retries: int = 3) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client = self.run(self._make(tenant, token, max_retries))

    def __enter__(self) -> Sdk:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.client.request_adapter._http_client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    @staticmethod
    async def _make(tenant: Tenant, token: str, max_retries: int) -> Any:
        from azure.core.credentials import AccessToken
        from kiota_authentication_azure.azure_identity_authentication_provider import (
            AzureIdentityAuthenticationProvider,
        )
        from kiota_http.middleware.options import RetryHandlerOption
        from msgraph.graph_request_adapter import GraphRequestAdapter, options
        from msgraph.graph_service_client import GraphServiceClient
        from msgraph_core import GraphClientFactory  # type: ignore[import-untyped]

        class Static:
            async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
                return AccessToken(token, int(time.time()) + 3600)

            async def close(self) -> None: ...

            async def __aexit__(self, *_: object) -> None: ...

        retry = {RetryHandlerOption.get_key(): RetryHandlerOption(delay=1, max_retries=max_retries)}
        provider = AzureIdentityAuthenticationProvider(
            Static(),  # type: ignore[arg-type]  # all that is asked of a credential
            scopes=["https://graph.microsoft.com/.default"],
            allowed_hosts=["127.0.0.1"],
        )
        http_client = GraphClientFactory.create_with_default_middleware(options={**options, **retry})
        adapter = GraphRequestAdapter(provider, client=http_client)
        adapter.base_url = tenant.url
        return GraphServiceClient(request_adapter=adapter)
