"""How a tenant is reached: `cloudpc:graph`. Never a secret: credentials come from where the admin has signed in."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from cloudpc.microsoft import clouds
from cloudpc.microsoft.auth import Auth
from cloudpc.model.policy import Part
from cloudpc.model.written import Written


class GraphConfig(Part):
    """A tenant of Microsoft Entra. Everything has a default: the public cloud, and whoever is signed in."""

    tenant_id: Annotated[str, Written(r"[A-Za-z0-9.-]+", "a tenant's id or domain")] | None = Field(
        default=None, description="Id or domain; default: the credential's own."
    )
    endpoint: Annotated[str, AfterValidator(clouds.endpoint)] = Field(
        default="https://graph.microsoft.com",
        description="Of a national cloud, for example https://graph.microsoft.us; no other hosts than Microsoft's.",
    )
    auth: Auth = Field(
        default="default",
        description="default: azure-identity's DefaultAzureCredential. cli: Azure CLI. environment: AZURE_* variables "
        "(workload identity, secret or certificate). token: the value of CLOUDPC_GRAPH_TOKEN.",
    )
