"""How a host in Azure is signed in to, and where its Azure Resource Manager is."""

from __future__ import annotations

from typing import Final

from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.microsoft import clouds
from cloudpc.microsoft.clouds import Cloud
from cloudpc.microsoft.sign_in import SignIn

TOKEN_VARIABLE: Final = "CLOUDPC_AZURE_TOKEN"  # noqa: S105 - a variable's name


def cloud_of(config: AzureHostConfig) -> Cloud:
    """The cloud that a host is in."""
    return clouds.named(config.cloud) if config.cloud else clouds.PUBLIC


def sign_in(config: AzureHostConfig) -> SignIn:
    """How one signs in to the tenant of a host's subscription."""
    return SignIn(
        auth=config.auth,
        tenant_id=config.tenant_id,
        host=cloud_of(config).sign_in,
        token_variable=TOKEN_VARIABLE,
        fields=f"{{}} of the host {config.name}",
        service="this Azure",
        service_field=f"cloud of the host {config.name}",
    )
