from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.contracts import Request
from tests.tenant.client import Http
from tests.tenant.contract import Contract
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant
from tests.tenant.test_devices_api import new_device

ALICE = guid("user", "u-alice")


@pytest.mark.parametrize("wrong", [{"accountEnabled": "yes"}, {"nothing": 1}, {"assignedLicenses": [{"skuId": "x"}]}])
def test_an_answer_of_ours_that_graph_would_not_give_is_remembered(
    tenant: Tenant, app: Http, wrong: dict[str, Any]
) -> None:
    tenant.users[ALICE].update(wrong)
    (name,) = wrong
    query = f"?$select={name}" if name != "nothing" else ""
    if name == "nothing":
        tenant.devices["d"] = {"id": "d", "displayName": "d", **wrong}
    path = "/devices/d" if name == "nothing" else f"/users/{ALICE}{query}"
    assert app.get(path).status == 500
    assert [name in violation or "skuId" in violation for violation in tenant.violations] == [True]
    tenant.violations.clear()


def test_without_checks_anything_goes(directory_file: Path) -> None:
    with Tenant(directory_file, check=False) as tenant, Http(tenant, tenant.admin_token) as client:
        assert client("POST", "/devices", new_device(nothing=1)).status == 400  # the directory's own rules stay
        tenant.users[ALICE]["accountEnabled"] = "yes"
        assert client.get(f"/users/{ALICE}?$select=accountEnabled").status == 200
        assert not tenant.violations


def test_what_a_subtype_has_is_known() -> None:
    target = {"@odata.type": "#microsoft.graph.cloudPcManagementGroupAssignmentTarget", "groupId": "g"}
    path = "/v1.0/deviceManagement/virtualEndpoint/provisioningPolicies/p/assignments"
    request = Request("GET", path, {}, {})
    contract = Contract()

    def problems(target: dict[str, str]) -> list[str]:
        import json

        return contract.response_problems(request, 200, json.dumps({"value": [{"id": "a", "target": target}]}).encode())

    assert problems(target) == []
    assert problems({**target, "group": "g"})
    assert problems({"groupId": "g"})


def test_errors_are_checked_like_all_else() -> None:
    contract = Contract()
    request = Request("GET", "/v1.0/groups", {}, {})
    assert contract.response_problems(request, 404, b'{"error": {"code": "x", "message": "y"}}') == []
    assert contract.response_problems(request, 404, b'{"error": {"code": "x"}}')
    assert contract.response_problems(request, 204, b"{}")


def test_errors_never_hold_what_was_sent() -> None:
    body = b'{"accountEnabled": "a secret"}'
    (problem,) = Contract().request_problems(Request("PATCH", "/v1.0/devices/x", {}, {}, body))
    assert "accountEnabled" in problem
    assert "secret" not in problem
