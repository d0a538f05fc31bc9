"""The main ways through Graph with Microsoft's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.tenant.client import Sdk
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

# of the SDK's own classes, about each other
pytestmark = [pytest.mark.filterwarnings(f"ignore::DeprecationWarning:{name}") for name in ("msgraph", "kiota")]
ENGINEERING = guid("group", "engineering")


@pytest.fixture
def graph(tenant: Tenant) -> Iterator[Sdk]:
    with Sdk(tenant, tenant.admin_token) as sdk:
        yield sdk


def configured(builder: Any, **query: Any) -> Any:
    from kiota_abstractions.base_request_configuration import RequestConfiguration

    parameters = next(value for name, value in vars(builder).items() if name.endswith("GetQueryParameters"))
    return RequestConfiguration(query_parameters=parameters(**query))


def test_members_of_a_group_page_by_page(tenant: Tenant, graph: Sdk) -> None:
    from msgraph.generated.groups.groups_request_builder import GroupsRequestBuilder
    from msgraph.generated.groups.item.members.graph_user.graph_user_request_builder import GraphUserRequestBuilder

    groups = graph.run(graph.client.groups.get(configured(GroupsRequestBuilder, filter="displayName eq 'Engineering'")))
    (group,) = groups.value
    assert (group.id, group.display_name) == (ENGINEERING, "Engineering")
    tenant.faults.empty_page(f"/groups/{ENGINEERING}/*")
    builder = graph.client.groups.by_group_id(group.id).members.graph_user
    select = ["id", "userPrincipalName", "accountEnabled", "assignedLicenses"]
    page = graph.run(builder.get(configured(GraphUserRequestBuilder, select=select, top=2)))
    users = []
    while True:
        users += page.value
        if not page.odata_next_link:
            break
        page = graph.run(builder.with_url(page.odata_next_link).get())
    assert {user.user_principal_name: user.account_enabled for user in users} == {
        "alice@contoso.example": True, "bob@contoso.example": True, "dave@contoso.example": False,
    }  # fmt: skip
    (licence,) = next(u for u in users if u.id == guid("user", "u-bob")).assigned_licenses
    skus = graph.run(graph.client.subscribed_skus.get())
    plans = {sku.sku_id: [plan.service_plan_id for plan in sku.service_plans] for sku in skus.value}
    assert plans[licence.sku_id] == [UUID(guid("servicePlan", "CPC_E_2C_4GB_128GB"))]
    assert licence.disabled_plans == []
    assert tenant.count("GET", f"/groups/{ENGINEERING}/members/graph.user") == 3


def test_a_device_is_registered_owned_disabled_and_deleted(tenant: Tenant, graph: Sdk) -> None:
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.devices.devices_request_builder import DevicesRequestBuilder
    from msgraph.generated.models.alternative_security_id import AlternativeSecurityId
    from msgraph.generated.models.device import Device
    from msgraph.generated.models.reference_create import ReferenceCreate

    device_id = guid("device", "CPC-1")
    made = graph.run(
        graph.client.devices.post(
            Device(
                account_enabled=True, device_id=device_id, display_name="CPC-1", operating_system="Linux",
                operating_system_version="12", physical_ids=["[OrderId]:installation/x"],
                alternative_security_ids=[AlternativeSecurityId(type=2, key=b"key")],
            )
        )
    )  # fmt: skip
    owner = ReferenceCreate(odata_id=f"{tenant.url}/users/{guid('user', 'u-alice')}")
    graph.run(graph.client.devices.by_device_id(made.id).registered_owners.ref.post(owner))
    owners = graph.run(graph.client.devices.by_device_id(made.id).registered_owners.get())
    assert [o.user_principal_name for o in owners.value] == ["alice@contoso.example"]

    parameters = DevicesRequestBuilder.DevicesRequestBuilderGetQueryParameters(
        filter="physicalIds/any(p:startswith(p,'[OrderId]:installation/'))", count=True
    )
    advanced: Any = RequestConfiguration(query_parameters=parameters)
    advanced.headers.add("ConsistencyLevel", "eventual")
    found = graph.run(graph.client.devices.get(advanced))
    assert [(d.id, d.device_id) for d in found.value] == [(made.id, device_id)]

    graph.run(graph.client.devices_with_device_id(device_id).patch(Device(account_enabled=False)))
    assert tenant.devices[made.id]["accountEnabled"] is False
    graph.run(graph.client.devices.by_device_id(made.id).delete())
    assert not tenant.devices
    assert [d.id for d in graph.run(graph.client.directory.deleted_items.graph_device.get()).value] == [made.id]


def test_an_error_is_an_odata_error(tenant: Tenant, graph: Sdk) -> None:
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError

    with pytest.raises(ODataError) as missing:
        graph.run(graph.client.devices.by_device_id(guid("device", "x")).delete())
    assert missing.value.response_status_code == 404
    assert missing.value.error is not None
    assert missing.value.error.code == "Request_ResourceNotFound"
    assert missing.value.error.inner_error is not None
    assert missing.value.error.inner_error.request_id


def test_the_client_waits_as_it_is_told(tenant: Tenant, graph: Sdk) -> None:
    tenant.faults.throttle("/organization", retry_after=1)
    assert graph.run(graph.client.organization.get()).value[0].id == tenant.tenant_id
    assert [r.status for r in tenant.requests] == [429, 200]


def test_a_pass_and_a_managed_device(tenant: Tenant, graph: Sdk) -> None:
    from msgraph.generated.models.temporary_access_pass_authentication_method import (
        TemporaryAccessPassAuthenticationMethod as Pass,
    )

    methods = graph.client.users.by_user_id(guid("user", "u-alice")).authentication.temporary_access_pass_methods
    made = graph.run(methods.post(Pass(lifetime_in_minutes=60, is_usable_once=False)))
    assert made.temporary_access_pass
    assert [(p.id, p.temporary_access_pass) for p in graph.run(methods.get()).value] == [(made.id, None)]
    tenant.guest_joined("CPC-1")
    (managed,) = graph.run(graph.client.device_management.managed_devices.get()).value
    graph.run(graph.client.device_management.managed_devices.by_managed_device_id(managed.id).delete())
    assert not tenant.managed_devices
