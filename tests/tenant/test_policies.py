"""The tenant's provisioning policies, read as `cloudpc policy import --all` does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloudpc.configuration.policy_import import convert
from cloudpc.graph.client import Graph
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.errors import GraphError
from cloudpc.graph.policies import provisioning_policies
from tests.tenant.faults import Fault
from tests.tenant.fixtures import directory_file, tenant
from tests.tenant.samples import CONNECTION, POLICY
from tests.tenant.tenant import Tenant

__all__ = ["directory_file", "tenant"]


@pytest.fixture
def graph(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    monkeypatch.setenv("CLOUDPC_GRAPH_TOKEN", tenant.token)
    made = Graph(GraphConfig(endpoint=tenant.endpoint, auth="token"))
    yield made
    made.close()


def test_all_are_read_with_their_assignments_and_converted(tenant: Tenant, graph: Graph) -> None:
    assert provisioning_policies(graph) == []
    tenant.add_policy(POLICY, "engineering")
    group = next(id_ for id_, group in tenant.groups.items() if group["displayName"] == "Engineering")
    [policy] = provisioning_policies(graph)
    imported = convert(policy, "the tenant")
    assert imported.policy["assignments"] == [{"target": {"groupId": group}}]
    assert imported.policy["domainJoinConfigurations"] == [
        {"domainJoinType": "azureADJoin", "regionName": "automatic"},
        {"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": CONNECTION["id"]},
    ]
    assert [remark.field for remark in imported.remarks if not remark.decide] == [
        "domainJoinConfigurations[0].regionGroup", "enableSingleSignOn",
    ]  # fmt: skip


def test_pages_are_followed_also_an_empty_one(tenant: Tenant, graph: Graph) -> None:
    for number in range(30):
        tenant.add_policy({**POLICY, "id": f"p{number}", "displayName": f"Policy {number}"})
    fault = tenant.faults.add(Fault("empty page", path="*/provisioningPolicies"))
    found = provisioning_policies(graph)
    assert fault.hits == 1
    assert {policy["id"] for policy in found} == {f"p{number}" for number in range(30)}  # type: ignore[index]


def test_a_missing_permission_is_named(tenant: Tenant, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPC_GRAPH_TOKEN", tenant.tokens.issue("application", permissions=["User.Read.All"]))
    with pytest.raises(GraphError, match=r"CloudPC\.Read\.All"):
        provisioning_policies(graph)
