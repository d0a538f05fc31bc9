"""Whatever is asked: an answer or a refusal, never a fault of the tenant's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from tests.tenant import samples
from tests.tenant.client import Http
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

SNAPSHOT = Snapshot(
    {"u": User("u", "u@contoso.example", "U", service_plans=("LAB",))},
    {"g": Group("g", "G", frozenset({"u"}))},
    {"LAB": ServicePlan("LAB", "Lab", 1, 1, 8)},
)
IDS = ["{device}", "{managed}", guid("user", "u"), guid("group", "g"), samples.POLICY["id"], "u@contoso.example", "x"]
PATHS = [
    "/groups", "/groups/*", "/groups/*/members", "/groups/*/members/graph.user", "/groups/*/members/graph.group",
    "/users", "/users/*", "/users/*/licenseDetails", "/users/*/authentication/temporaryAccessPassMethods",
    "/subscribedSkus", "/organization", "/devices", "/devices/*", "/devices(deviceId='*')",
    "/devices/*/registeredOwners", "/devices/*/registeredOwners/$ref", "/devices/*/registeredUsers/*/$ref",
    "/directory/deletedItems/graph.device", "/directory/deletedItems/*", "/deviceManagement/managedDevices",
    "/deviceManagement/managedDevices/*", "/deviceManagement/virtualEndpoint/provisioningPolicies",
    "/deviceManagement/virtualEndpoint/provisioningPolicies/*",
    "/deviceManagement/virtualEndpoint/provisioningPolicies/*/assignments",
]  # fmt: skip
METHODS = {
    "/devices": "GET POST", "/devices/*": "GET PATCH DELETE", "/devices(deviceId='*')": "GET PATCH DELETE",
    "/devices/*/registeredOwners/$ref": "POST", "/devices/*/registeredUsers/*/$ref": "DELETE",
    "/users/*/authentication/temporaryAccessPassMethods": "GET POST",
    "/deviceManagement/managedDevices/*": "GET DELETE",
}  # fmt: skip
NAMES = ["displayName", "id", "accountEnabled", "deviceId", "physicalIds", "assignedLicenses", "@odata.id", "x",
         "lifetimeInMinutes", "startDateTime", "alternativeSecurityIds", "operatingSystem"]  # fmt: skip
_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2)
)
_bodies = st.one_of(st.none(), _values, st.dictionaries(st.sampled_from(NAMES), _values, max_size=4))
_queries = st.dictionaries(
    st.sampled_from(["$select", "$top", "$count", "$expand", "$filter", "$skiptoken", "$skip"]),
    st.one_of(
        st.sampled_from([*NAMES, "1", "true", "assignments", "registeredOwners", "displayName eq 'x'", "1-1"]),
        st.text(st.characters(min_codepoint=32, exclude_characters="&#?", exclude_categories=["Cs"]), max_size=6),
    ),
    max_size=2,
)


@pytest.fixture(scope="module")
def running() -> Iterator[Tenant]:
    with Tenant(SNAPSHOT) as tenant:
        yield tenant


@given(data=st.data(), path=st.sampled_from(PATHS), query=_queries, body=_bodies)
def test_any_request_is_answered_or_refused(
    running: Tenant, data: st.DataObject, path: str, query: Any, body: Any
) -> None:
    running.devices.clear()
    running.managed_devices.clear()
    running.add_policy(samples.POLICY, "g")
    device = running.guest_joined("CPC-1", user="u")
    ids = [id_.format(device=device["id"], managed=next(iter(running.managed_devices))) for id_ in IDS]
    method = data.draw(st.sampled_from(METHODS.get(path, "GET").split()))
    address = re.sub(r"\*", lambda _: data.draw(st.sampled_from(ids)), path)
    options = "&".join(f"{name}={value}" for name, value in query.items())
    with Http(running, running.admin_token) as client:
        got = client(
            method, f"{address}?{options}" if options else address, body if method in ("POST", "PATCH") else None
        )
    assert got.status in (200, 201, 204, 400, 404)
    assert not running.violations
