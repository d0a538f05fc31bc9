"""Windows Cloud PCs in the fake Azure join the fake tenant: Entra and Intune, from their first day to their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.azure.account import Account
from tests.azure.arm import FakeArm
from tests.azure.entra import NO_WAY_OUT
from tests.azure.windows_answers import Answers
from tests.support.azure import entry, policy
from tests.support.project import Project, user
from tests.support.web_tokens import unsigned
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

pytestmark = pytest.mark.engine

NOTHING: dict[str, list[str]] = {"virtualMachines": [], "networkInterfaces": [], "disks": []}
WINDOWS = "microsoftwindowsdesktop_windows-ent-cpc_win11-24H2-ent-cpc"
BIG_ENOUGH = "CPC_E_2C_8GB_128GB"
"""Windows has 127 GB."""
ALICE, BOB = (guid("user", name) for name in ("alice", "bob"))


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    file = tmp_path / "tenant.yaml"
    users = [user("alice", BIG_ENOUGH), user("bob", BIG_ENOUGH)]
    groups = [{"id": "everybody", "displayName": "Everybody", "members": ["alice", "bob"]}]
    file.write_text(yaml.safe_dump({"users": users, "groups": groups}))
    with Tenant(file) as running:
        yield running
    assert not running.violations


@pytest.fixture
def azure(tenant: Tenant) -> Iterator[FakeArm]:
    with FakeArm(account=Account(tenant=tenant.tenant_id)) as arm:
        arm.table.otherwise = Answers(arm)
        arm.entra.belongs_to(tenant)
        arm.clock.speed = 100  # one that is made again within seconds would be throttled
        yield arm
    assert not arm.violations


@pytest.fixture
def project(new_project: Callable[[str], Project], tenant: Tenant, azure: FakeArm) -> Project:
    made = new_project("a project")
    # one that says its tenant, as Microsoft's do
    token = tenant.tokens.issue("delegated", text=unsigned({"tid": tenant.tenant_id}))
    made.env |= {"CLOUDPC_GRAPH_TOKEN": token, "CLOUDPC_AZURE_TOKEN": azure.token(10**6)}
    _policy(made, tenant, azure)
    made.init()
    return made


def _policy(project: Project, tenant: Tenant, azure: FakeArm, **changes: Any) -> None:
    assignments = [{"target": {"groupId": "Everybody"}}]
    policy(project, entry(azure), imageId=WINDOWS, assignments=assignments, gracePeriodInHours=0, **changes)
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"] |= {
        "cloudpc:directory": {"kind": "graph"},
        "cloudpc:graph": {"endpoint": tenant.endpoint, "auth": "token"},
        "cloudpc:devices": {"registration": "adopt"},
    }
    path.write_text(yaml.safe_dump(content))


def test_from_the_first_day_to_nothing_left(project: Project, tenant: Tenant, azure: FakeArm) -> None:
    ran = project.up()
    state = project.state()
    assert {id_: pc["status"] for id_, pc in state.items()} == {ALICE: "provisioned", BOB: "provisioned"}, ran
    assert len(tenant.devices) == len(tenant.managed_devices) == 2
    for pc in state.values():
        (device,) = tenant.devices_named(pc["deviceName"])
        assert device["deviceId"] == pc["device"]["deviceId"]
        assert device["physicalIds"][0].startswith("[AzureResourceId]:")
    writes = [r for r in azure.log if r.method != "GET"]
    assert "4 unchanged" in project.up().output
    assert [r for r in azure.log if r.method != "GET"] == writes

    ran = project.cloudpc("reprovision", "alice", "--yes")
    assert ran.code == 0, ran
    after = project.state()[ALICE]
    assert after["device"]["deviceId"] != state[ALICE]["device"]["deviceId"]
    assert tenant.devices_named(state[ALICE]["deviceName"]) == []
    assert len(tenant.devices) == 2

    tenant.leave("alice", "everybody")
    tenant.leave("bob", "everybody")
    project.up()
    project.up()
    assert azure.left == NOTHING
    assert not tenant.devices
    assert not tenant.managed_devices


def test_a_join_that_fails_leaves_nothing(project: Project, tenant: Tenant, azure: FakeArm) -> None:
    azure.entra.exit_code = NO_WAY_OUT
    ran = project.up()
    assert set(project.statuses().values()) == {"failed"}
    assert "it can't reach Microsoft Entra (-2145648607)" in ran.output
    assert "enterpriseregistration.windows.net" in ran.output
    assert azure.left == NOTHING
    assert not tenant.devices
    azure.entra.exit_code = None
    ran = project.cloudpc("reprovision", "alice", "bob", "--yes")
    assert set(project.statuses().values()) == {"provisioned"}, ran


def test_hosts_of_another_tenant_are_refused_before_anything_is_made(
    project: Project, tenant: Tenant, azure: FakeArm
) -> None:
    with FakeArm() as other:
        other.table.otherwise = Answers(other)
        project.env["CLOUDPC_AZURE_TOKEN"] = other.token()
        _policy(project, tenant, other)
        ran = project.up()
        assert set(project.statuses().values()) == {"pendingProvision"}, ran
        assert other.left == NOTHING
        assert tenant.tenant_id in ran.output
