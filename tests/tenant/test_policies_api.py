from __future__ import annotations

from tests.tenant import samples
from tests.tenant.client import Http
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

POLICIES = "/deviceManagement/virtualEndpoint/provisioningPolicies"
CONNECTIONS = "/deviceManagement/virtualEndpoint/onPremisesConnections"


def test_a_policy_has_its_assignments_when_asked(tenant: Tenant, app: Http) -> None:
    id_ = tenant.add_policy(samples.POLICY, "engineering")
    assert "assignments" not in app.get(f"{POLICIES}/{id_}").body
    policy = app.get(f"{POLICIES}/{id_}?$expand=assignments").body
    assert policy["displayName"] == samples.POLICY["displayName"]
    (assignment,) = policy["assignments"]
    assert assignment["target"] == {
        "@odata.type": "#microsoft.graph.cloudPcManagementGroupAssignmentTarget",
        "groupId": guid("group", "engineering"),
    }
    (listed,) = app.get(f"{POLICIES}?$expand=assignments&$select=displayName").body["value"]
    assert listed == {"id": id_, "displayName": policy["displayName"], "assignments": policy["assignments"]}
    assert app.get(f"{POLICIES}/{id_}/assignments").body["value"] == policy["assignments"]
    assert app.get(f"{POLICIES}?$expand=nothing").status == 400
    assert app.get(f"{POLICIES}?$filter=displayName eq 'x'").status == 400
    assert app.get(f"{POLICIES}/nothing").status == 404


def test_connections(tenant: Tenant, app: Http) -> None:
    id_ = tenant.add_connection(samples.CONNECTION)
    assert app.get(CONNECTIONS).ids == [id_]
    assert app.get(f"{CONNECTIONS}/{id_}").body["organizationalUnit"].startswith("OU=Cloud PCs,")


def test_a_policy_that_graph_could_not_have_is_the_tenants_fault(tenant: Tenant, app: Http) -> None:
    for wrong in ({"provisioningType": "leased"}, {"gracePeriod": 3}, {"windowsSetting": {"language": "de-DE"}}):
        id_ = tenant.add_policy({**samples.POLICY, **wrong, "id": None})
        assert app.get(f"{POLICIES}/{id_}").status == 500
        assert len(tenant.violations) == 1
        tenant.violations.clear()
