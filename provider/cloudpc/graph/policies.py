"""Windows 365's provisioning policies of a tenant, as JSON."""

from __future__ import annotations

from typing import Any

from cloudpc.graph.client import Graph, Session
from cloudpc.graph.permissions import Call


def provisioning_policies(graph: Graph) -> list[object]:
    """All of them, with their assignments, just as Graph says them.

    Raises:
        GraphError: they can't be read, or not all.
    """
    return graph.run(_read)


async def _read(session: Session) -> list[object]:
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.device_management.virtual_endpoint.provisioning_policies import (
        provisioning_policies_request_builder as sdk,
    )

    query = sdk.ProvisioningPoliciesRequestBuilder.ProvisioningPoliciesRequestBuilderGetQueryParameters(
        expand=["assignments"]
    )
    configuration: RequestConfiguration[Any] = RequestConfiguration(query_parameters=query)
    # otherwise all kinds that Graph has added since are called unknownFutureValue
    configuration.headers.add("Prefer", "include-unknown-enum-members")
    builder = session.client.device_management.virtual_endpoint.provisioning_policies
    return [policy async for page in session.pages(Call.READ_POLICIES, builder, configuration) for policy in page]
