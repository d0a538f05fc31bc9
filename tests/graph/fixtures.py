"""How tests reach the fake tenant: `from tests.graph.fixtures import reached`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.credentials import TOKEN_VARIABLE
from tests.tenant.tenant import Tenant


def jwt(**claims: Any) -> str:
    """A token that says something of itself."""
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({}, claims)) + ".s"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Callable[..., GraphConfig]:
    """Makes a configuration that reaches a tenant: `reached(tenant)`, `reached(tenant, tenant.admin_token)`."""

    def config(tenant: Tenant, token: str | None = None) -> GraphConfig:
        monkeypatch.setenv(TOKEN_VARIABLE, token or tenant.token)
        # loopback must not go through a proxy, whatever the environment of the tests says
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        return GraphConfig(endpoint=tenant.endpoint, auth="token")

    return config
