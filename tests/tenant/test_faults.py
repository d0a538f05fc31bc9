from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest

from tests.tenant import tokens
from tests.tenant.client import Http
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Logged, Tenant
from tests.tenant.test_devices_api import new_device

MEMBERS = f"/groups/{guid('group', 'engineering')}/members/graph.user"


def test_errors_for_a_path_and_a_number_of_times(tenant: Tenant, app: Http) -> None:
    throttled = tenant.faults.throttle("/groups*", times=2, retry_after=7)
    tenant.faults.unavailable("/users*", skip=1)
    tenant.faults.unavailable("/users*", status=504, skip=1)
    got = [app.get("/groups") for _ in range(3)]
    assert [g.status for g in got] == [429, 429, 200]
    assert got[0].headers["retry-after"] == "7"
    assert got[0].code == "TooManyRequests"
    assert [app.get("/users").status for _ in range(4)] == [200, 503, 504, 200]
    assert throttled.hits == 2
    assert tenant.count("GET", "/groups", 429) == 2
    assert tenant.count("GET", "/groups") == 3


def test_deletion_of_devices_alone_is_refused(tenant: Tenant, app: Http) -> None:
    tenant.faults.refuse_deletion()
    device = tenant.guest_joined("CPC-1")
    for path in (f"/devices/{device['id']}", f"/devices(deviceId='{device['deviceId']}')"):
        assert app("DELETE", path).code == "Authorization_RequestDenied"
        assert app("PATCH", path, {"accountEnabled": False}).status == 204
    (managed,) = tenant.managed_devices
    assert app("DELETE", f"/deviceManagement/managedDevices/{managed}").status == 204
    tenant.faults.clear()
    assert app("DELETE", f"/devices/{device['id']}").status == 204


def test_an_empty_page_hides_nothing(tenant: Tenant, app: Http) -> None:
    tenant.faults.empty_page("/groups/*")
    pages = app.pages(f"{MEMBERS}?$select=id")
    assert [len(page.ids) for page in pages] == [0, 3]
    tenant.faults.empty_page("/groups")
    pages = app.pages("/groups?$filter=displayName eq 'Engineering'")
    assert [page.ids for page in pages] == [[], [guid("group", "engineering")]]


@pytest.mark.parametrize(("when", "registered"), [("before", 0), ("after", 1)])
def test_a_dropped_connection(tenant: Tenant, admin: Http, when: str, registered: int) -> None:
    tenant.faults.drop("/devices", when="before" if when == "before" else "after", method="POST")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        admin("POST", "/devices", new_device())
    assert len(tenant.devices) == registered
    assert tenant.requests[-1] == Logged("POST", "/devices", "", 0)
    assert admin.get("/devices?$filter=displayName eq 'CPC-1'").status == 200


def test_a_token_that_expires_midway(tenant: Tenant, app: Http) -> None:
    tenant.faults.expire_token("/groups/*", skip=1)
    assert app.get(MEMBERS).status == 200
    for _ in range(2):
        expired = app.get(MEMBERS)
        assert (expired.status, expired.code) == (401, "InvalidAuthenticationToken")
    app.token = tenant.tokens.issue()
    assert app.get(MEMBERS).status == 200


def test_a_slow_answer_holds_up_nobody_else(tenant: Tenant, app: Http) -> None:
    slow = tenant.faults.slow("/groups", seconds=60)
    with Http(tenant, tenant.token) as waiting:
        failed: list[Exception] = []

        def wait() -> None:
            try:
                waiting.get("/groups")
            except (http.client.HTTPException, OSError) as error:
                failed.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        assert slow.struck.wait(30)
        assert app.get("/users").status == 200
        assert thread.is_alive()
        # the end of the tenant is the end of all who wait for it
        tenant.close()
        thread.join(10)
        assert not thread.is_alive()


def test_a_fault_of_the_tenant_itself_is_remembered(tenant: Tenant, app: Http) -> None:
    tenant.devices["broken"] = {}
    assert app.get("/devices?$select=displayName&$filter=displayName eq 'x'").status == 200
    assert app("DELETE", "/devices/broken").status == 500
    assert len(tenant.violations) == 1
    tenant.violations.clear()


def test_a_connection_stays_open(tenant: Tenant, app: Http) -> None:
    app.get("/groups")
    first = app.connection.sock.getsockname()
    app.get(f"/users/{guid('user', 'u-nobody')}")
    app("POST", "/devices", {})
    assert app.connection.sock.getsockname() == first


@pytest.mark.parametrize("authorization", [None, "", "nonsense"])
def test_without_a_token_there_is_nothing(tenant: Tenant, authorization: str | None) -> None:
    with Http(tenant, authorization) as client:
        got = client.get("/groups")
    assert (got.status, got.code) == (401, "InvalidAuthenticationToken")
    assert "www-authenticate" in got.headers


@pytest.mark.parametrize(
    ("method", "path", "enough"),
    [
        ("GET", "/groups", tokens.GROUP_NAMES),
        ("GET", MEMBERS, tokens.MEMBERS),
        ("GET", "/users", tokens.USERS),
        ("GET", "/subscribedSkus", tokens.SKUS),
        ("GET", "/devices", tokens.DEVICES),
        ("GET", "/deviceManagement/managedDevices", tokens.MANAGED),
        ("GET", "/deviceManagement/virtualEndpoint/provisioningPolicies", tokens.CLOUD_PCS),
    ],
)
def test_each_permission_alone_is_enough_and_no_other(
    tenant: Tenant, method: str, path: str, enough: tuple[str, ...]
) -> None:
    for permission in tokens.EVERYTHING:
        with Http(tenant, tenant.tokens.issue("delegated", [permission])) as client:
            assert client(method, path).status == (200 if permission in enough else 403)


def test_members_without_the_right_to_read_users_are_empty_but_there(tenant: Tenant) -> None:
    with Http(tenant, tenant.tokens.issue(permissions=["GroupMember.Read.All"])) as client:
        members = client.get(f"{MEMBERS}?$select=id,accountEnabled,assignedLicenses").body["value"]
    assert len(members) == 3
    assert all((m["accountEnabled"], m["assignedLicenses"]) == (None, []) for m in members)


def test_a_tenant_that_accepts_one_kind_of_tokens(directory_file: Path) -> None:
    only: tuple[tokens.Kind, ...] = ("delegated",)
    with Tenant(directory_file, allowed=only) as other, Http(other, other.token) as client:
        assert client.get("/groups").status == 403
        client.token = other.admin_token
        assert client.get("/groups").status == 200
