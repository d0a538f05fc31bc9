from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model.directory import Group, Snapshot, User
from tests.tenant.client import Http
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

ENGINEERING = guid("group", "engineering")
ALICE, BOB, DAVE = (guid("user", f"u-{name}") for name in ("alice", "bob", "dave"))
MEMBERS = f"/groups/{ENGINEERING}/members/graph.user"


def test_groups_by_id_and_by_name(app: Http) -> None:
    assert app.get(f"/groups/{ENGINEERING}").body["displayName"] == "Engineering"
    assert app.get("/groups?$filter=displayName eq 'engineering'").ids == [ENGINEERING]
    assert app.get("/groups?$filter=displayName eq 'O''Neill''s sales'").ids == [guid("group", "sales")]
    assert app.get("/groups?$filter=displayName eq 'nobody'").ids == []
    assert app.get(f"/groups/{uuid4()}").code == "Request_ResourceNotFound"


def test_several_groups_of_one_name(tenant: Tenant, app: Http) -> None:
    other = tenant.add_group("Engineering", ["u-carol"])
    assert app.get("/groups?$filter=displayName eq 'Engineering'").ids == [ENGINEERING, other]


def test_members_with_what_decides_about_a_licence(tenant: Tenant, app: Http) -> None:
    tenant.add_sku("BUNDLE", ["CPC_E_2C_4GB_128GB", "OTHER"])
    tenant.give_licence("u-bob", "BUNDLE", disabled_plans=["CPC_1"])
    got = app.get(f"{MEMBERS}?$select=id,accountEnabled,assignedLicenses")
    members = {item["id"]: item for item in got.body["value"]}
    assert members.keys() == {ALICE, BOB, DAVE}
    assert [members[i]["accountEnabled"] for i in (ALICE, BOB, DAVE)] == [True, True, False]
    skus = {sku["skuPartNumber"]: sku for sku in app.get("/subscribedSkus").body["value"]}
    assert members[ALICE]["assignedLicenses"] == [{"skuId": skus["LAB_1C_0.5GB_8GB"]["skuId"], "disabledPlans": []}]
    assert members[BOB]["assignedLicenses"] == [
        {"skuId": "226ca751-f0a4-4232-9be5-73c02a92555e", "disabledPlans": []},
        {"skuId": skus["BUNDLE"]["skuId"], "disabledPlans": ["545e3611-3af8-49a5-9a0a-b7867968f4b0"]},
    ]
    assert skus["CPC_E_2C_4GB_128GB"]["servicePlans"][0]["servicePlanName"] == "CPC_1"
    assert skus["LAB_1C_0.5GB_8GB"]["consumedUnits"] == 2
    statuses = [
        plan["provisioningStatus"]
        for detail in app.get(f"/users/{BOB}/licenseDetails").body["value"]
        for plan in detail["servicePlans"]
    ]
    assert statuses == ["Success", "Disabled", "Success"]


def test_without_select_a_user_has_the_default_properties_alone(app: Http) -> None:
    for path in (MEMBERS, "/users"):
        assert "accountEnabled" not in app.get(path).body["value"][0]
        assert "assignedLicenses" not in app.get(path).body["value"][0]


def test_direct_members_are_told_by_type(tenant: Tenant, app: Http) -> None:
    tenant.nest("sales", "engineering")
    direct = app.get(f"/groups/{ENGINEERING}/members").body["value"]
    assert {item["@odata.type"] for item in direct} == {"#microsoft.graph.user", "#microsoft.graph.group"}
    assert set(app.get(MEMBERS).ids) == {ALICE, BOB, DAVE}
    assert set(app.get(MEMBERS.replace("graph.", "microsoft.graph.")).ids) == {ALICE, BOB, DAVE}
    assert app.get(MEMBERS.replace("graph.user", "graph.group")).ids == [guid("group", "sales")]
    carol = guid("user", "u-carol")
    assert set(app.get(f"/groups/{ENGINEERING}/transitiveMembers/graph.user").ids) == {ALICE, BOB, DAVE, carol}


def test_changes_show_at_once(tenant: Tenant, app: Http) -> None:
    tenant.join("u-carol", "engineering")
    tenant.leave("u-alice", "Engineering".lower())
    tenant.delete_user("u-dave")
    tenant.disable("u-bob")
    tenant.take_licence("u-bob", "CPC_E_2C_4GB_128GB")
    tenant.rename_user("u-bob", display_name="Robert")
    tenant.rename_group("engineering", "Builders")
    got = app.get(f"{MEMBERS}?$select=id,displayName,accountEnabled,assignedLicenses")
    assert set(got.ids) == {BOB, guid("user", "u-carol")}
    bob = next(item for item in got.body["value"] if item["id"] == BOB)
    assert (bob["displayName"], bob["accountEnabled"], bob["assignedLicenses"]) == ("Robert", False, [])
    assert app.get("/groups?$filter=displayName eq 'Builders'").ids == [ENGINEERING]
    assert app.get(f"/users/{DAVE}").status == 404
    tenant.delete_group("engineering")
    assert app.get(MEMBERS).status == 404


def test_own_plans_and_those_of_windows_365_become_licences(tenant: Tenant, app: Http) -> None:
    own = str(uuid4())
    for plan in (own, "CPC_E_2C_8GB_128GB", "3efff3fe-528a-4fc5-b1ba-845802cc764f", "LAB_1C_0.5GB_8GB"):
        tenant.give_licence("u-carol", plan)
    skus = {sku["skuId"]: sku for sku in app.get("/subscribedSkus").body["value"]}
    carol = app.get("/users/carol@contoso.example?$select=assignedLicenses").body["assignedLicenses"]
    plans = [
        (plan["servicePlanId"], plan["servicePlanName"]) for a in carol for plan in skus[a["skuId"]]["servicePlans"]
    ]
    assert plans == [
        (own, own),
        ("3efff3fe-528a-4fc5-b1ba-845802cc764f", "CPC_2"),
        (guid("servicePlan", "LAB_1C_0.5GB_8GB"), "LAB_1C_0.5GB_8GB"),
    ]
    assert own not in skus
    tenant.take_licence("u-carol", own)
    assert len(app.get("/users/carol@contoso.example?$select=assignedLicenses").body["assignedLicenses"]) == 2


def test_users_by_id_name_and_list(app: Http) -> None:
    assert app.get(f"/users/{ALICE}?$select=id,accountEnabled").body["accountEnabled"] is True
    assert app.get("/users/Alice@contoso.example").body["id"] == ALICE
    assert app.get(f"/users?$filter=id in ('{ALICE}','{BOB}')").ids == [ALICE, BOB]
    sixteen = ",".join(f"'{uuid4()}'" for _ in range(16))
    assert app.get(f"/users?$filter=id in ({sixteen})").code == "Request_UnsupportedQuery"


def test_the_organization(tenant: Tenant, app: Http) -> None:
    (own,) = app.get("/organization").body["value"]
    assert own["id"] == tenant.tenant_id
    assert own["verifiedDomains"][0]["name"] == "contoso.example"


@pytest.mark.parametrize(
    "path",
    [
        "/groups?$filter=displayName ne 'x'", "/groups?$filter=visibility eq 'x'", "/groups?$orderby=displayName",
        "/groups?$skip=1", "/groups?$search=x", "/groups?filter=displayName eq 'x'", "/groups?$select=nothing",
        "/groups?$top=0", "/groups?$top=1000", "/groups?$top=x", "/groups?$top=1&$top=2", "/groups?$count=x",
        "/groups?$skiptoken=x", "/groups?$skiptoken=9-1", f"{MEMBERS}?$filter=accountEnabled eq true",
        "/subscribedSkus?$filter=skuId eq 'x'", "/subscribedSkus?$top=1", "/nothing", "/groups/x/nothing",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(app: Http, path: str) -> None:
    refused = app.get(path)
    assert refused.status == 400
    assert refused.body["error"]["message"]


def test_another_version_is_no_graph(app: Http, tenant: Tenant) -> None:
    assert app.get(f"{tenant.endpoint}/beta/groups").status == 400


def test_what_is_in_graph_but_not_here_is_told_and_remembered(tenant: Tenant, app: Http) -> None:
    assert app.get("/groups/delta()").status == 501
    assert len(tenant.violations) == 1
    tenant.violations.clear()


@given(count=st.integers(0, 25), top=st.integers(1, 30), empty=st.booleans())
def test_pages_have_each_member_once(count: int, top: int, empty: bool) -> None:
    users = {f"u{i}": User(f"u{i}", f"u{i}@contoso.example", f"U {i}") for i in range(count)}
    group = Group("all", "All", frozenset(users))
    with Tenant(Snapshot(users, {"all": group}), check=False) as tenant, Http(tenant, tenant.token) as client:
        if empty:
            tenant.faults.empty_page()
        path = f"/groups/{guid('group', 'all')}/members/graph.user?$top={top}&$select=id&$count=true"
        pages = client.pages(path, ConsistencyLevel="eventual")
        found = [id_ for page in pages for id_ in page.ids]
        assert sorted(found) == sorted(guid("user", id_) for id_ in users)
        assert all(len(page.ids) <= top for page in pages)
        if empty:
            assert pages[0].ids == []
        else:
            assert len(pages) == max(1, -(-count // top))
            assert pages[0].body["@odata.count"] == count
            assert "@odata.count" not in client.get(path).body


def test_who_leaves_while_pages_are_read_is_not_met_twice(tenant: Tenant, app: Http) -> None:
    first = app.get(f"{MEMBERS}?$top=2")
    tenant.leave(first.ids[0], "engineering")
    second = app.get(first.body["@odata.nextLink"])
    assert set(first.ids + second.ids) == {ALICE, BOB, DAVE}
    assert "@odata.nextLink" not in second.body


def test_the_file_is_read_again_when_it_has_changed(directory_file: Path) -> None:
    problems: list[str] = []
    with Tenant(directory_file, follow=True) as tenant, Http(tenant, tenant.token) as client:
        tenant.on_bad_file = problems.append
        device = tenant.guest_joined("CPC-1")
        assert len(client.get(MEMBERS).ids) == 3
        text = directory_file.read_text()
        directory_file.write_text(text.replace("[u-alice, u-bob, u-dave]", "[u-alice]"))
        assert client.get(MEMBERS).ids == [ALICE]
        directory_file.write_text(text.replace("[u-alice, u-bob, u-dave]", "[u-nobody]"))
        assert client.get(MEMBERS).ids == [ALICE]
        assert "u-nobody" in problems[0]
        directory_file.unlink()
        assert client.get(MEMBERS).ids == [ALICE]
        assert client.get("/devices").ids == [device["id"]]
        assert len(problems) == 1
