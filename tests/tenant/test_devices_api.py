from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.tenant.client import Got, Http
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

ALICE, BOB = guid("user", "u-alice"), guid("user", "u-bob")
OWNER = "[OrderId]:installation/u-alice/plan/1"
EVENTUAL = {"ConsistencyLevel": "eventual"}
INTUNE = "/deviceManagement/managedDevices"


def new_device(name: str = "CPC-1", **changes: Any) -> dict[str, Any]:
    return {
        "accountEnabled": True,
        "alternativeSecurityIds": [{"type": 2, "key": "YWJj" + name.encode().hex()}],
        "deviceId": guid("device", name),
        "displayName": name,
        "operatingSystem": "Linux",
        "operatingSystemVersion": "12",
        **changes,
    }


def owner(tenant: Tenant, user: str) -> dict[str, str]:
    return {"@odata.id": f"{tenant.url}/users/{user}"}


def test_a_device_from_registration_to_the_end(tenant: Tenant, admin: Http, app: Http) -> None:
    made = admin("POST", "/devices", new_device(physicalIds=[OWNER]))
    assert made.status == 201
    id_, device_id = made.body["id"], made.body["deviceId"]
    assert device_id == guid("device", "CPC-1") != id_
    by_device_id = f"/devices(deviceId='{device_id}')"
    for path in (f"/devices/{id_}", by_device_id):
        assert app.get(path).body["displayName"] == "CPC-1"
    for filter_ in ("displayName eq 'cpc-1'", f"deviceId eq '{device_id}'"):
        assert app.get(f"/devices?$filter={filter_}").ids == [id_]

    assert admin("POST", f"/devices/{id_}/registeredOwners/$ref", owner(tenant, ALICE)).status == 204
    assert admin("POST", f"/devices/{id_}/registeredUsers/$ref", owner(tenant, BOB)).status == 204
    assert app.get(f"/devices/{id_}/registeredOwners").ids == [ALICE]
    assert app.get(f"/devices/{id_}/registeredUsers").ids == [BOB]
    expanded = app.get(f"/devices/{id_}?$expand=registeredOwners").body["registeredOwners"]
    assert [person["id"] for person in expanded] == [ALICE]

    assert app("PATCH", by_device_id, {"accountEnabled": False}).status == 204
    assert app.get(f"/devices/{id_}").body["accountEnabled"] is False
    assert app("DELETE", by_device_id).status == 204
    assert app("DELETE", f"/devices/{id_}").code == "Request_ResourceNotFound"
    assert app.get("/devices").ids == []
    deleted = app.get("/directory/deletedItems/graph.device").body["value"]
    assert [(d["id"], d["deletedDateTime"] is None) for d in deleted] == [(id_, False)]
    assert app.get(f"/directory/deletedItems/{id_}").status == 200
    later = tenant.clock() + timedelta(days=31)
    tenant.clock = lambda: later
    with Http(tenant, tenant.tokens.issue()) as client:
        assert client.get("/directory/deletedItems/graph.device").ids == []


def test_an_application_can_not_register(tenant: Tenant, app: Http, admin: Http) -> None:
    assert app("POST", "/devices", new_device()).code == "Authorization_RequestDenied"
    assert not tenant.devices
    made = admin("POST", "/devices", new_device()).body["id"]
    assert app("POST", f"/devices/{made}/registeredOwners/$ref", owner(tenant, ALICE)).status == 403


def test_a_second_request_registers_nothing(tenant: Tenant, admin: Http) -> None:
    assert admin("POST", "/devices", new_device()).status == 201
    for again in (
        new_device(),
        new_device(deviceId=guid("device", "CPC-1").upper(), alternativeSecurityIds=[{"type": 2, "key": "b3RoZXI="}]),
        new_device(deviceId=str(uuid4())),
    ):
        refused = admin("POST", "/devices", again)
        assert refused.status == 400
        assert "same value" in refused.body["error"]["message"]
    assert len(tenant.devices) == 1


def test_a_name_can_be_there_twice(tenant: Tenant, admin: Http) -> None:
    tenant.guest_joined("CPC-1")
    assert admin("POST", "/devices", new_device()).status == 201
    assert len(admin.get("/devices?$filter=displayName eq 'CPC-1'").ids) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"deviceId": None}, {"deviceId": "x"}, {"displayName": ""}, {"displayName": 3}, {"alternativeSecurityIds": []},
        {"alternativeSecurityIds": [{"type": "2", "key": "YWJj"}]}, {"operatingSystemVersion": None}, {"nothing": 1},
        {"alternativeSecurityIds": [{"type": 2, "kee": "YWJj"}]}, {"registrationDateTime": "2026-01-01T00:00:00Z"},
        {"id": str(uuid4())}, {"physicalIds": "x"}, {"accountEnabled": "true"},
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_new_device_is_refused(tenant: Tenant, admin: Http, changes: dict[str, Any]) -> None:
    refused = admin("POST", "/devices", new_device(**changes))
    assert refused.status == 400
    assert min(changes) in refused.body["error"]["message"] or "kee" in refused.body["error"]["message"]
    assert not tenant.devices


@pytest.mark.parametrize("change", [{"deviceId": str(uuid4())}, {"nothing": 1}, {"displayName": 1}, {"id": "x"}])
def test_what_can_not_be_changed(tenant: Tenant, app: Http, change: dict[str, Any]) -> None:
    device = tenant.guest_joined("CPC-1")
    before = json.dumps(device)
    assert app("PATCH", f"/devices/{device['id']}", change).status == 400
    assert json.dumps(tenant.devices[device["id"]]) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(tenant: Tenant, admin: Http, body: bytes) -> None:
    assert admin("POST", "/devices", body).status == 400
    assert not tenant.devices


def test_an_owner_must_be_a_user_and_alone(tenant: Tenant, admin: Http) -> None:
    path = f"/devices/{admin('POST', '/devices', new_device()).body['id']}"
    assert admin("POST", f"{path}/registeredOwners/$ref", owner(tenant, str(uuid4()))).status == 404
    assert admin("POST", f"{path}/registeredOwners/$ref", {}).status == 400
    assert admin("POST", f"{path}/registeredOwners/$ref", owner(tenant, ALICE)).status == 204
    for user in (ALICE, BOB):
        assert admin("POST", f"{path}/registeredOwners/$ref", owner(tenant, user)).status == 400
    assert admin("DELETE", f"{path}/registeredOwners/{ALICE}/$ref").status == 204
    assert admin("DELETE", f"{path}/registeredOwners/{ALICE}/$ref").status == 404
    assert admin("POST", f"{path}/registeredOwners/$ref", owner(tenant, BOB)).status == 204


@pytest.mark.parametrize("test", ["startswith(p,'[OrderId]:installation/')", f"p eq '{OWNER}'"])
def test_physical_ids_need_an_advanced_query(admin: Http, test: str) -> None:
    made = admin("POST", "/devices", new_device(physicalIds=[OWNER])).body["id"]
    admin("POST", "/devices", new_device("CPC-2", physicalIds=["[OrderId]:other/u-alice/plan/1"]))
    path = f"/devices?$filter=physicalIds/any(p:{test})"
    for got in (admin.get(path), admin.get(f"{path}&$count=true"), admin.get(path, **EVENTUAL)):
        assert got.code == "Request_UnsupportedQuery"
    got = admin.get(f"{path}&$count=true", **EVENTUAL)
    assert (got.ids, got.body["@odata.count"]) == ([made], 1)


def test_a_guest_that_joined_by_itself_is_in_entra_and_intune(tenant: Tenant, app: Http) -> None:
    tenant.guest_joined("CPC-1", user="u-alice")
    tenant.guest_joined("CPC-2", managed=False)
    (device,) = app.get("/devices?$filter=displayName eq 'CPC-1'").body["value"]
    (managed,) = app.get(f"{INTUNE}?$filter=deviceName eq 'CPC-1'").body["value"]
    assert managed["azureADDeviceId"] == device["deviceId"]
    assert managed["userPrincipalName"] == "alice@contoso.example"
    assert app.get(f"{INTUNE}?$filter=azureADDeviceId eq '{device['deviceId']}'").ids == [managed["id"]]
    assert app.get(f"{INTUNE}?$filter=deviceName eq 'CPC-2'").ids == []
    assert app.get(f"{INTUNE}/{managed['id']}").status == 200
    assert app("DELETE", f"{INTUNE}/{managed['id']}").status == 204
    assert app("DELETE", f"{INTUNE}/{managed['id']}").status == 404
    # Intune's device goes, Entra's stays
    assert app.get(f"/devices/{device['id']}").body["isManaged"] is False
    assert app.get(f"{INTUNE}?$filter=notes eq 'x'").status == 400


def test_devices_outlive_the_process(tenant: Tenant, directory_file: Path) -> None:
    tenant.guest_joined("CPC-1", user="u-alice")
    with Tenant(directory_file) as other:
        other.restore(json.loads(json.dumps(tenant.dump())))
        with Http(other, other.token) as client:
            assert client.get("/devices").ids == list(tenant.devices)
            assert client.get(INTUNE).ids == list(tenant.managed_devices)


PASSES = f"/users/{ALICE}/authentication/temporaryAccessPassMethods"


def _value(got: Got) -> str:
    assert got.status == 201
    return str(got.body["temporaryAccessPass"])


def test_a_pass_is_shown_once_and_a_new_one_takes_its_place(tenant: Tenant, app: Http) -> None:
    assert app.get(PASSES).body["value"] == []
    first = app("POST", PASSES, {"lifetimeInMinutes": 60, "isUsableOnce": True})
    (listed,) = app.get(PASSES).body["value"]
    assert listed["id"] == first.body["id"]
    assert (listed["temporaryAccessPass"], listed["isUsable"]) == (None, True)
    second = app("POST", PASSES, {})
    assert _value(second) != _value(first)
    assert app.get(PASSES).ids == [second.body["id"]]
    assert app.get(f"{PASSES}/{first.body['id']}").status == 404
    now = tenant.clock()
    tenant.clock = lambda: now + timedelta(minutes=59)
    assert app.get(f"{PASSES}/{second.body['id']}").body["isUsable"] is True
    tenant.clock = lambda: now + timedelta(minutes=60)
    app.token = tenant.tokens.issue()
    assert app.get(f"{PASSES}/{second.body['id']}").body["methodUsabilityReason"] == "Expired"
    assert app("DELETE", f"{PASSES}/{second.body['id']}").status == 204
    assert app.get(PASSES).body["value"] == []


@pytest.mark.parametrize(
    "body", [{"lifetimeInMinutes": 5}, {"lifetimeInMinutes": "60"}, {"temporaryAccessPass": "x"}, {"minutes": 60}]
)
def test_a_pass_that_is_refused(tenant: Tenant, app: Http, body: dict[str, Any]) -> None:
    assert app("POST", PASSES, body).status == 400
    assert not tenant.passes


def test_a_tenant_whose_policy_has_no_passes(tenant: Tenant, app: Http) -> None:
    tenant.passes_allowed = False
    assert app("POST", PASSES, {}).status == 400
    assert app("POST", PASSES.replace(ALICE, str(uuid4())), {}).status == 404
