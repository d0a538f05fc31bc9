"""How a tenant is reached: `cloudpc:graph`. Never a secret: credentials come from where the admin has signed in."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from cloudpc.policy import Part

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("must begin with https:// (http:// only for this machine's loopback)")
    if parts.path not in ("", "/") or parts.query:
        raise ValueError("must be scheme and host alone, for example https://graph.microsoft.us")
    return value.rstrip("/")


class GraphConfig(Part):
    """A tenant of Microsoft Entra. Everything has a default: the public cloud, and whoever is signed in."""

    tenant_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9.-]+$", description="Id or domain; default: the credential's own."
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        default="https://graph.microsoft.com",
        description="Of a national cloud, for example https://graph.microsoft.us.",
    )
    auth: Literal["default", "cli", "environment", "token"] = Field(
        default="default",
        description="default: azure-identity's DefaultAzureCredential. cli: Azure CLI. environment: AZURE_* variables "
        "(workload identity, secret or certificate). token: the value of CLOUDPC_GRAPH_TOKEN.",
    )
