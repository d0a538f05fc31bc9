"""Runs against a tenant: who is entitled, devices, their end, and what happens when Graph does not answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.model.directory import User
from tests.support.project import PLAN, UP, Project, user
from tests.support.waiting import wait_until
from tests.tenant.faults import Fault
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

pytestmark = pytest.mark.engine

_PLAN = guid("servicePlan", PLAN["id"])
_ALICE, _BOB = (guid("user", name) for name in ("alice", "bob"))


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    file = tmp_path / "tenant.yaml"
    users = [user("alice"), user("bob")]
    groups = [
        {"id": "everybody", "displayName": "Everybody", "members": ["alice", "bob"]},
        {"id": "sales", "displayName": "Sales", "members": []},
    ]
    file.write_text(yaml.safe_dump({"users": users, "groups": groups, "servicePlans": [PLAN]}))
    with Tenant(file) as running:
        yield running
    assert not running.violations


@pytest.fixture
def project(new_project: Callable[[str], Project], tenant: Tenant) -> Project:
    made = new_project("a project")
    made.env["CLOUDPC_GRAPH_TOKEN"] = tenant.admin_token
    made.policy()
    _in(tenant, made)
    made.init()
    return made


def _in(tenant: Tenant, project: Project, name: str = "demo", group: str = "Everybody", **values: Any) -> None:
    """Move a policy from the embedded directory into the tenant."""
    path = project.policy(name, assignments=[{"target": {"groupId": group}}], gracePeriodInHours=0)
    content = yaml.safe_load(path.read_text())
    content["config"] |= {
        "cloudpc:directory": {"kind": "graph", "servicePlans": [{**PLAN, "id": _PLAN, "displayName": "Lab"}]},
        "cloudpc:graph": {"endpoint": tenant.endpoint, "auth": "token"},
        "cloudpc:devices": {"registration": "record"},
        **{f"cloudpc:{key}": value for key, value in values.items()},
    }
    path.write_text(yaml.safe_dump(content))


def _devices(tenant: Tenant, project: Project) -> dict[str, dict[str, Any]]:
    """The tenant's devices, by the user whose Cloud PC has that name."""
    names = {outputs["deviceName"]: user_id for user_id, outputs in project.state().items()}
    return {names[name]: device for name in names for device in tenant.devices_named(name)}


def test_from_joining_the_group_to_nothing_left(project: Project, tenant: Tenant) -> None:
    ran = project.up()
    assert "alice@contoso.example: provisioned on host" in ran.output, "ids say nothing to people"
    listed = project.cloudpc("list").output
    assert "Lab" in listed
    assert _PLAN not in listed
    state = project.state()
    assert {id_: pc["status"] for id_, pc in state.items()} == {_ALICE: "provisioned", _BOB: "provisioned"}
    devices = _devices(tenant, project)
    for id_, pc in state.items():
        assert devices[id_]["id"] == pc["device"]["id"]
        assert "[OrderID]:Demo" in devices[id_]["physicalIds"]
    calls = len(tenant.requests)
    again = project.up()
    assert "unchanged" in again.output
    assert not [r for r in tenant.requests[calls:] if r.method != "GET"], "a run without changes writes nothing"

    tenant.leave("alice", "everybody")
    assert "alice@contoso.example (Lab): grace until" in project.up().output
    assert project.statuses()[_ALICE] == "inGracePeriod"
    assert "left group Everybody" in project.state()[_ALICE]["why"], "still in the directory"
    assert _ALICE in _devices(tenant, project), "it keeps working"
    project.up()
    ended = project.state()[_ALICE]
    assert ended["status"] == "deprovisioning"
    assert "device" not in ended
    assert set(_devices(tenant, project)) == {_BOB}
    assert set(project.machines()) == {_BOB}
    project.up()
    assert set(project.state()) == {_BOB}
    assert project.leaks() == []


def test_a_device_that_can_not_be_removed_now_is_removed_later(project: Project, tenant: Tenant) -> None:
    project.up()
    tenant.delete_user("alice")
    project.up()
    refused = Fault("error", "PATCH", "/devices/*", left=None, status=403, code="Authorization_RequestDenied")
    fault = tenant.faults.add(refused)
    project.up()
    stuck = project.state()[_ALICE]
    assert stuck["status"] == "deprovisioning"
    assert stuck["leftovers"][0].startswith("its device: ")
    assert stuck["device"], "what is to be removed is remembered"
    assert set(project.machines()) == {_BOB}
    assert project.statuses()[_BOB] == "provisioned", "nobody else is held up"
    fault.left = 0
    project.up()
    assert "leftovers" not in project.state()[_ALICE]
    assert set(_devices(tenant, project)) == {_BOB}
    project.up()
    assert set(project.state()) == {_BOB}


def test_reprovision_is_a_new_device(project: Project, tenant: Tenant) -> None:
    project.up()
    before = project.state()[_ALICE]
    ran = project.cloudpc("reprovision", "alice", "--yes")
    assert ran.code == 0, ran
    after = project.state()[_ALICE]
    assert after["device"]["deviceId"] != before["device"]["deviceId"]
    assert tenant.devices_named(before["deviceName"]) == []
    assert len(tenant.devices_named(after["deviceName"])) == 1


def test_a_failed_one_leaves_no_device(project: Project, tenant: Tenant) -> None:
    project.host(faults=[{"call": "set_password", "user": _ALICE, "fault": "error", "retriable": False}])
    project.up()
    assert project.statuses() == {_ALICE: "failed", _BOB: "provisioned"}
    assert set(_devices(tenant, project)) == {_BOB}
    assert tenant.count("POST", "/devices", 201) == 2


def test_a_killed_run_registers_nobody_twice(project: Project, tenant: Tenant) -> None:
    project.host(faults=[{"call": "set_password", "user": _ALICE, "fault": "kill", "times": 1}])
    killed = project.pulumi(*UP, "demo")
    assert killed.code != 0, killed
    wait_until(lambda: not project.processes(), 60, "something outlived the run")
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
    assert set(project.statuses().values()) == {"provisioned"}
    devices = _devices(tenant, project)
    assert set(devices) == {_ALICE, _BOB}
    assert tenant.count("POST", "/devices", 201) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", path="/groups*", left=None, status=403, code="Authorization_RequestDenied"),
        Fault("error", path="/subscribedSkus", left=None, status=500),
        Fault("drop before", path="/groups/*/members*", left=None),
    ],
    ids=["refused", "broken", "dropped"],
)
def test_a_directory_that_can_not_be_read_stops_the_run(project: Project, tenant: Tenant, fault: Fault) -> None:
    project.up()
    before = project.state()
    tenant.faults.add(fault)
    ran = project.pulumi(*UP, "demo")
    assert ran.code != 0, ran
    assert "the directory can't be read" in ran.output
    assert "Traceback" not in ran.output
    if fault.status == 403:
        assert "GroupMember.Read.All" in ran.output
    assert project.state() == before
    assert set(project.machines()) == {_ALICE, _BOB}
    told = project.cloudpc("up", "demo")
    assert told.code == 1, told
    assert "the directory can't be read" in told.output


def test_a_group_that_is_not_there(project: Project, tenant: Tenant) -> None:
    _in(tenant, project, group="Nobody's")
    ran = project.cloudpc("policy", "validate", "demo")
    assert ran.code == 2, ran
    assert 'assignments[0].target.groupId: is not a group of the tenant (found "Nobody\'s")' in ran.output


def test_the_tenant_is_listed_once_for_all_policies(project: Project, tenant: Tenant) -> None:
    tenant.join("bob", "sales")
    tenant.leave("bob", "everybody")
    _in(tenant, project, "second", "Sales")
    ran = project.cloudpc("up")
    assert ran.code == 0, ran
    assert set(project.statuses("second")) == {_BOB}
    assert tenant.count("GET", "/subscribedSkus") == 1
    assert tenant.count("GET", "/groups/*/members/graph.user") == 2
    tenant.requests.clear()
    ran = project.cloudpc("up")
    assert ran.code == 0, ran
    assert tenant.count("GET", "/groups/*/members/graph.user") == 2
    assert json.loads(project.cloudpc("list", "--json").output)[0]["status"] == "provisioned"


def test_a_pass_is_a_secret_and_shown_with_the_credentials(project: Project, tenant: Tenant) -> None:
    _in(tenant, project, credentials={"kind": "temporaryAccessPass", "lifetimeInMinutes": 60})
    ran = project.up()
    shown = json.loads(project.cloudpc("credentials", "alice", "--json").output)
    value = shown["temporaryAccessPass"]["temporaryAccessPass"]
    assert value
    assert value not in ran.output
    assert value not in (project.root / "state" / ".pulumi" / "stacks" / "cloudpc" / "demo.json").read_text()
    assert value in project.cloudpc("credentials", "alice").output


def test_doctor_removes_nothing_of_cloud_pcs_whose_state_is_elsewhere(
    project: Project, tenant: Tenant, tmp_path: Path
) -> None:
    project.up()
    devices = _devices(tenant, project)
    assert set(devices) == {_ALICE, _BOB}
    tenant.devices[devices[_BOB]["id"]]["physicalIds"] = [
        text.replace("/1", "/7") if text.startswith("[CloudPC]") else text for text in devices[_BOB]["physicalIds"]
    ]
    (tmp_path / "elsewhere").mkdir()
    ran = project.cloudpc(
        "doctor", "--remove-leftovers", "--yes", "--json", PULUMI_BACKEND_URL=f"file://{tmp_path}/elsewhere"
    )
    assert ran.code == 0, ran
    assert set(_devices(tenant, project)) == {_ALICE, _BOB}
    assert set(project.machines()) == {_ALICE, _BOB}
    [unknown] = [f for f in json.loads(ran.output) if "belongs to no known Cloud PC" in f["detail"]]
    assert devices[_BOB]["displayName"] in unknown["detail"], "Alice's has its machine"
    assert "`cloudpc adopt`" in unknown["hint"]

    ran = project.cloudpc("doctor", "--remove-leftovers", "--yes")
    assert ran.code == 0, ran
    assert set(_devices(tenant, project)) == {_ALICE}, "with its state, what belongs to none is removed"


def test_a_tenant_that_can_not_be_read_holds_up_only_its_own_policies(project: Project, tenant: Tenant) -> None:
    project.directory(1)
    _in(tenant, project, "beside", "Sales")
    project.policy("local")
    tenant.faults.add(Fault("error", path="/subscribedSkus", left=None, status=403, code="Authorization_RequestDenied"))
    ran = project.cloudpc("up")
    assert ran.code == 1, ran
    assert set(project.statuses("local").values()) == {"provisioned"}
    assert not project.state()
    assert "left out: beside, demo: the directory can't be read" in ran.output.splitlines()[-1]
    assert "LicenseAssignment.Read.All is missing" in ran.output
    assert tenant.count("GET", "/subscribedSkus") == 1, "once for both"
    assert "Traceback" not in ran.output

    project.directory(2)
    running = project.start_cloudpc("run", "--every", "1h")
    wait_until(lambda: len(project.machines()) == 2, 60, "the other policy was held up")
    running.terminate()
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    assert "Z left out: beside, demo: the directory can't be read" in output


def test_a_group_s_name_that_becomes_another_s_moves_nobody(project: Project, tenant: Tenant) -> None:
    project.up()
    everybody, sales = guid("group", "everybody"), guid("group", "sales")
    tenant.rename_group("everybody", "All of us")
    assert "unchanged" in project.up().output, "the group that the policy has had under the name"
    assert project.cloudpc("policy", "validate").code == 0
    assert project.cloudpc("list", "--outdated").code == 0

    tenant.rename_group("sales", "Everybody")
    before = project.state()
    for refused in (project.up(code=1).output, project.cloudpc("up").output):
        assert (
            f"was the name of the group {everybody}, which is called 'All of us' now, and is that of {sales}" in refused
        )
        assert f"write the id {everybody} to stay with that group, or {sales} to change" in refused
    assert project.state() == before
    told = project.cloudpc("policy", "validate")
    assert (told.code, f"is that of {sales}" in told.output) == (2, True), told

    _in(tenant, project, group=everybody)
    assert "unchanged" in project.up().output
    _in(tenant, project, group=sales)
    assert "the policy is no longer assigned to All of us" in project.up().output
    assert set(project.statuses().values()) == {"inGracePeriod"}


def test_who_makes_a_group_of_the_same_name_changes_and_stops_nothing(project: Project, tenant: Tenant) -> None:
    project.up()
    tenant.add_group("Everybody", ["alice"])
    for ran in (project.up(), project.cloudpc("policy", "validate")):
        assert ran.code == 0, ran
    assert set(project.statuses().values()) == {"provisioned"}


def test_a_name_that_is_another_s_by_now_costs_nobody_a_cloud_pc(project: Project, tenant: Tenant) -> None:
    project.up()
    file, name = project.root / "stacks" / "Pulumi.demo.yaml", "alice@contoso.example"
    before = file.read_text()
    tenant.rename_user("alice", principal_name="smith@contoso.example")
    tenant.add_user(User("new", name, "Alice the second"))
    for written in (name, "ALICE"):
        refused = project.cloudpc("reprovision", written, "--yes")
        assert refused.code == 2, refused
        assert f"was {name} at the last run, who is called smith@contoso.example now" in refused.output
        assert f"or write the user's id, {guid('user', 'alice')}" in refused.output
    assert file.read_text() == before
    ran = project.cloudpc("reprovision", guid("user", "alice"), "--yes", "--write-only")
    assert ran.code == 0, ran


def test_a_group_made_again_under_its_name_is_another_one(project: Project, tenant: Tenant) -> None:
    project.up()
    tenant.delete_group("everybody")
    made = tenant.add_group("Everybody", ["alice"])
    refused = project.up(code=1).output
    assert f"was the name of the group {guid('group', 'everybody')}, which is gone, and is that of {made}" in refused
    assert f"write the id {made} to change" in refused
    assert set(project.statuses().values()) == {"provisioned"}
