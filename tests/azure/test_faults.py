"""Faults on demand, and what a subscription as a whole refuses."""

from __future__ import annotations

import re
import threading
import time
from http.client import HTTPException
from typing import Any

import pytest

from tests.azure import contract
from tests.azure.arm import FakeArm
from tests.azure.client import Http, nic_body
from tests.azure.errors import KNOWN, ArmFault

NO_ANSWER = (HTTPException, OSError)


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_every_code_can_be_had(arm: FakeArm, http: Http, code: str) -> None:
    arm.fail("NetworkInterfaces_List", code)
    got = http.get("networkInterfaces")
    assert (got.status, got.code, got.message) == (*KNOWN[code][:1], code, KNOWN[code][1])
    assert http.get("networkInterfaces").status == 200


def test_a_fault_strikes_what_it_was_meant_for(arm: FakeArm, http: Http) -> None:
    fault = arm.fail("Network*_CreateOrUpdate", "InternalServerError", times=2, skip=1, path="*/n?")
    statuses = [http.put(f"networkInterfaces/{name}", nic_body(arm)).status for name in ("n1", "x", "n2", "n3", "n4")]
    assert statuses == [201, 201, 500, 500, 201]
    assert fault.hits == 2
    arm.fail("*", "ServerTimeout", times=None, retry_after=7)
    got = http.get("networkInterfaces")
    assert (got.status, got.headers["retry-after"]) == (503, "7")
    arm.faults.clear()
    assert http.get("networkInterfaces").status == 200


def test_an_own_error_with_details(arm: FakeArm, http: Http) -> None:
    detail = {"code": "AllocationFailed", "message": "inside"}
    arm.fail("NetworkInterfaces_List", ArmFault("DeploymentFailed", "outside", 409, details=[detail]))
    assert http.get("networkInterfaces").body["error"]["details"] == [detail]


@pytest.mark.parametrize(("when", "there"), [("before", []), ("after", ["nic"])])
def test_an_answer_that_is_lost(arm: FakeArm, http: Http, when: Any, there: list[str]) -> None:
    arm.drop("NetworkInterfaces_CreateOrUpdate", when=when)
    with pytest.raises(NO_ANSWER):
        http.put("networkInterfaces/nic", nic_body(arm))
    assert arm.left["networkInterfaces"] == there
    assert arm.log[-1].status == 0
    with Http(arm) as again:
        assert again.get("networkInterfaces").status == 200


@pytest.mark.parametrize(("when", "there"), [("before", ["n1"]), ("after", ["n1", "n2"])])
def test_a_power_cut_ends_everything_until_it_is_restored(arm: FakeArm, when: Any, there: list[str]) -> None:
    killed = threading.Event()
    cut = arm.cut_power(2, when, killed.set)
    for name in ("n1", "n2", "n3"):
        with Http(arm) as client:
            if name == "n1":
                assert client.put(f"networkInterfaces/{name}", nic_body(arm)).status == 201
                continue
            with pytest.raises(NO_ANSWER):
                client.put(f"networkInterfaces/{name}", nic_body(arm))
    assert cut.happened.is_set()
    assert killed.is_set()
    assert arm.left["networkInterfaces"] == there
    assert [r.status for r in arm.log] == [201, 0, 0]
    arm.restore_power()
    with Http(arm) as client:
        assert client.get("networkInterfaces").status == 200


# ---- rights


def test_rights_are_asked_for_and_enforced(arm: FakeArm, http: Http) -> None:
    arm.permissions = [{"actions": ["*/read", "Microsoft.Network/networkInterfaces/*"], "notActions": ["*/delete"]}]
    path = f"{arm.account.group_id}/providers/Microsoft.Authorization/permissions"
    assert http.get(path).body["value"] == arm.permissions
    got = http.put("networkInterfaces/nic", nic_body(arm))
    assert (got.code, got.status) == ("LinkedAuthorizationFailed", 403)
    assert "subnets/join/action" in got.message
    arm.permissions[0]["actions"].append("Microsoft.Network/virtualNetworks/subnets/join/action")
    assert http.put("networkInterfaces/nic", nic_body(arm)).status == 201
    got = http.delete("networkInterfaces/nic")
    assert (got.code, got.status) == ("AuthorizationFailed", 403)
    assert "'Microsoft.Network/networkInterfaces/delete'" in got.message
    assert http.vm().code == "AuthorizationFailed"


def test_a_right_for_each_request(arm: FakeArm, http: Http) -> None:
    http.made()
    http("POST", "virtualMachines/vm/start")
    http.get("virtualMachines/vm/instanceView")
    http.get(f"{arm.account.subscription_id}/providers/Microsoft.Compute/locations/westeurope/usages")
    http.get(arm.account.group_id)
    http.get(f"{arm.account.subscription_id}/providers/Microsoft.Compute")
    http.get(f"{arm.account.subnet_id}")
    http.get(f"{arm.account.id('virtualMachines', 'vm')}/providers/Microsoft.Resources/tags/default")
    assert {r.action for r in arm.log if r.operation != "poll"} == {
        "Microsoft.Network/networkInterfaces/write", "Microsoft.Compute/virtualMachines/write",
        "Microsoft.Compute/virtualMachines/start/action", "Microsoft.Compute/virtualMachines/instanceView/read",
        "Microsoft.Compute/locations/usages/read", "Microsoft.Resources/subscriptions/resourceGroups/read",
        "Microsoft.Resources/subscriptions/providers/read", "Microsoft.Network/virtualNetworks/subnets/read",
        "Microsoft.Resources/tags/read",
    }  # fmt: skip


def test_a_role_that_is_taken_away(arm: FakeArm, http: Http) -> None:
    arm.revoked_at = 2
    assert http.get("networkInterfaces").status == 200
    assert http.get("networkInterfaces").code == "AuthorizationFailed"


def test_whoever_follows_an_operation_needs_the_right_to(arm: FakeArm, http: Http) -> None:
    where = http.put("networkInterfaces/nic", nic_body(arm)).headers["azure-asyncoperation"]
    arm.permissions = [{"actions": ["Microsoft.Network/networkInterfaces/*"]}]
    got = http.get(where)
    assert (got.status, "'Microsoft.Network/locations/operations/read'" in got.message) == (403, True)
    arm.permissions[0]["actions"].append("Microsoft.Network/locations/operations/read")
    assert http.get(where).body["status"] == "Succeeded"


# ---- tokens


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "AuthenticationFailed"),
        ("opaque", "InvalidAuthenticationToken"),
        ("a.b.c", "InvalidAuthenticationToken"),
    ],
)
def test_tokens_that_are_none(arm: FakeArm, token: str | None, code: str) -> None:
    with Http(arm, token) as client:
        got = client.get("networkInterfaces")
        assert (got.status, got.code) == (401, code)
        assert "authorization_uri" in got.headers["www-authenticate"]


def test_tokens_of_others_and_old_ones(arm: FakeArm) -> None:
    from tests.azure import tokens

    graph = tokens.issue(arm.account.tenant, arm.clock.now(), 60, "https://graph.microsoft.com")
    for token, code in (
        (arm.token(tenant="0"), "InvalidAuthenticationTokenTenant"),
        (graph, "InvalidAuthenticationTokenAudience"),
        (arm.token(-1), "ExpiredAuthenticationToken"),
    ):
        with Http(arm, token) as client:
            assert client.get("networkInterfaces").code == code


def test_a_token_that_ends(arm: FakeArm) -> None:
    with Http(arm, arm.token(60)) as client:
        assert client.get("networkInterfaces").status == 200
        arm.clock.advance(61)
        assert client.get("networkInterfaces").code == "ExpiredAuthenticationToken"
    with Http(arm) as client:
        arm.clock.advance(2)
        arm.expire_tokens()
        assert client.get("networkInterfaces").code == "ExpiredAuthenticationToken"
        client.token = arm.token()
        assert client.get("networkInterfaces").status == 200


# ---- the subscription


def test_a_wrong_subscription_group_or_path(arm: FakeArm, http: Http) -> None:
    other = arm.account.group_id.replace(arm.account.subscription, "0" * 8)
    assert http.get(other).code == "SubscriptionNotFound"
    got = http.get(arm.account.group_id.replace("rg-cloudpc", "rg-other"))
    assert (got.code, got.status) == ("ResourceGroupNotFound", 404)
    assert http.get(arm.account.group_id).body["properties"]["provisioningState"] == "Succeeded"
    assert http.get(f"{arm.account.subscription_id}/nothing?api-version=1").status == 404
    assert arm.violations
    arm.violations.clear()


def test_the_api_version_must_be_the_contracts(arm: FakeArm, http: Http) -> None:
    path = arm.account.id("virtualMachines", "vm")
    assert http.get(f"{path}?api-version=2020-01-01").code == "NoRegisteredProviderFound"
    assert "api-version" in arm.violations.pop()
    assert http.get(f"{path}?api-version").code == "NoRegisteredProviderFound"
    arm.violations.clear()


def test_a_provider_that_nobody_registered(arm: FakeArm, http: Http) -> None:
    arm.registered["Microsoft.Compute"] = "NotRegistered"
    provider = http.get(f"{arm.account.subscription_id}/providers/Microsoft.Compute").body
    assert provider["registrationState"] == "NotRegistered"
    http.nic()
    got = http.vm()
    assert (got.code, got.status) == ("MissingSubscriptionRegistration", 409)
    assert "'Microsoft.Compute'" in got.message


@pytest.mark.parametrize(("level", "written"), [("CanNotDelete", 201), ("ReadOnly", 409)])
def test_locks(arm: FakeArm, http: Http, level: Any, written: int) -> None:
    http.made()
    arm.locks[arm.account.group_id] = level
    got = http.delete("virtualMachines/vm")
    assert (got.code, got.status) == ("ScopeLocked", 409)
    assert f"'{arm.account.group_id}'" in got.message
    assert http.put("networkInterfaces/new", nic_body(arm)).status == written
    assert http.get("virtualMachines/vm").status == 200
    del arm.locks[arm.account.group_id]
    arm.locks[arm.account.id("disks", "nic-os")] = level
    assert http.delete("disks/nic-os").code == "ScopeLocked"
    assert http.delete("virtualMachines/vm").status == 202


def test_azure_policy(arm: FakeArm, http: Http) -> None:
    arm.policies["Tags, please"] = lambda kind, body: (
        kind == "Microsoft.Compute/virtualMachines" and "costCenter" not in body["tags"]
    )
    http.nic()
    got = http.vm()
    assert (got.code, got.status) == ("RequestDisallowedByPolicy", 403)
    (info,) = got.body["error"]["additionalInfo"]
    assert info["info"]["policyDefinitionDisplayName"] == "Tags, please"


def test_everything_is_in_the_log(arm: FakeArm, http: Http) -> None:
    http.nic()
    put = arm.log[0]
    assert (put.number, put.method, put.status, put.operation) == (1, "PUT", 201, "NetworkInterfaces_CreateOrUpdate")
    assert put.body["tags"] == {"cloudpc-machine": "m"}
    assert re.match(r" *1 201 PUT Microsoft.Network/networkInterfaces/nic \[NetworkInterfaces", str(put))
    assert arm.count("NetworkInterfaces_*") == 1
    assert arm.count(status=404) == 0


def test_all_operations_of_the_contracts_are_answered(arm: FakeArm) -> None:
    from tests.azure import arm as module

    unused = {"PublicIPAddresses_CreateOrUpdate", "PublicIPAddresses_Get", "PublicIPAddresses_Delete"}
    assert set(contract.operations()) - set(module._ROUTES) == unused


def test_a_disabled_subscription_and_a_group_on_its_way_out(arm: FakeArm, http: Http) -> None:
    arm.disabled = True
    got = http.put("networkInterfaces/nic", nic_body(arm))
    assert (got.code, got.status) == ("ReadOnlyDisabledSubscription", 409)
    assert http.get("networkInterfaces").status == 200
    arm.disabled = False
    arm.resources.get(arm.account.group_id).properties["provisioningState"] = "Deleting"
    got = http.put("networkInterfaces/nic", nic_body(arm))
    assert (got.code, got.status) == ("ResourceGroupBeingDeleted", 409)


def test_a_late_answer(arm: FakeArm, http: Http) -> None:
    arm.slow("NetworkInterfaces_List", seconds=0.3)
    begun = time.monotonic()
    http.get("networkInterfaces")
    assert time.monotonic() - begun >= 0.3
