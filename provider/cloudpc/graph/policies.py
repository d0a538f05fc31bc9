"""Windows 365's provisioning policies of a tenant, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudpc.graph.client import Graph, Session
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Call

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation


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
    # otherwise the kinds that Graph has got since are all called unknownFutureValue
    configuration.headers.add("Prefer", "include-unknown-enum-members")
    following: RequestConfiguration[Any] = RequestConfiguration(headers=configuration.headers)
    builder = session.client.device_management.virtual_endpoint.provisioning_policies
    request = builder.to_get_request_information(configuration)
    found: list[object] = []
    seen: set[str] = set()
    while True:
        page = await _page(session, request)
        values, link = page.get("value"), page.get("@odata.nextLink")
        if not isinstance(values, list):
            raise GraphError(f"an answer without a list to {Call.READ_POLICIES.value.request}", "emptyAnswer")
        found += values
        if not link:
            return found
        endpoint = session.scope.removesuffix(".default")
        if not isinstance(link, str) or not link.startswith(endpoint) or link in seen:
            # a token goes along: nowhere but where it is for
            raise GraphError("a next page of policies that leads elsewhere or nowhere", "badNextLink")
        seen.add(link)
        request = builder.with_url(link).to_get_request_information(following)


async def _page(session: Session, request: RequestInformation) -> dict[str, Any]:
    """As bytes: the SDK's models make None of each value that is newer than they are, a policy's kind among them."""
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError

    adapter = session.client.request_adapter
    errors: dict[str, Any] = {"XXX": ODataError}
    body: bytes = await session.required(
        Call.READ_POLICIES, lambda: adapter.send_primitive_async(request, "bytes", errors)
    )  # fmt: skip
    try:
        page = json.loads(body)
    except ValueError:
        page = None
    if not isinstance(page, dict):
        raise GraphError(f"an answer to {Call.READ_POLICIES.value.request} that is no JSON object", "unreadable")
    return page
