"""What only a tenant has: faults on the way, groups in groups, bundles of licences, missing permissions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.directory.configuration import GraphDirectoryConfig
from cloudpc.directory.graph import GraphDirectory
from cloudpc.graph.client import Session
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.permissions import Call
from cloudpc.model.directory import DirectoryError, Group, Snapshot, User
from tests.directory.sides import configured, user
from tests.tenant.faults import Faults
from tests.tenant.identifiers import guid
from tests.tenant.sign_in import SignIn
from tests.tenant.tenant import Tenant

ENGINEERING = guid("group", "engineering")
MEMBERS = f"/groups/{ENGINEERING}/members/graph.user"
Reached = Callable[..., GraphConfig]


@pytest.fixture
def directory(directory_file: Path, tenant: Tenant, reached: Reached) -> GraphDirectory:
    return GraphDirectory(configured(directory_file), reached(tenant))


@pytest.fixture
def whole(directory: GraphDirectory) -> Snapshot:
    """What is read when nothing goes wrong."""
    snapshot = directory.snapshot([ENGINEERING, "O'Neill's sales"])
    assert len(snapshot.users) == 4
    return snapshot


# ---- faults that pass


@pytest.mark.parametrize(
    "strike",
    [
        lambda f: f.throttle(MEMBERS, times=2, retry_after=1),
        lambda f: f.throttle("/subscribedSkus", times=1, retry_after=0),
        lambda f: f.unavailable(MEMBERS, times=2),
        lambda f: f.unavailable("/groups*", status=504),
        lambda f: f.error(MEMBERS, 500, "InternalServerError"),
        lambda f: f.drop(MEMBERS, when="before"),
        lambda f: f.drop("/groups", when="after"),
        lambda f: f.empty_page(MEMBERS),
        lambda f: f.empty_page("/groups"),
        lambda f: f.empty_page("/groups/*/members/graph.user", times=None),
    ],
)
def test_a_fault_that_passes_changes_nothing(
    tenant: Tenant, directory: GraphDirectory, whole: Snapshot, strike: Callable[[Faults], object]
) -> None:
    fault = strike(tenant.faults)
    assert directory.snapshot([ENGINEERING, "O'Neill's sales"]) == whole
    assert fault.hits  # type: ignore[attr-defined]


def test_a_token_that_expires_on_the_way_is_renewed(
    tenant: Tenant, sign_in: SignIn, directory_file: Path, whole: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sign_in.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    directory = GraphDirectory(configured(directory_file), GraphConfig(endpoint=tenant.endpoint, auth="environment"))
    fault = tenant.faults.expire_token(MEMBERS)
    # azure-identity keeps its token until its end, as it is told; it gives another one from the last five minutes on
    sign_in.lifetime = 60
    assert directory.snapshot([ENGINEERING, "O'Neill's sales"]) == whole
    assert fault.hits == 1


# ---- faults that stay: unknown, never empty


@pytest.mark.parametrize(
    ("strike", "words"),
    [
        (
            lambda f: f.throttle(MEMBERS, times=None, retry_after=600),
            "has throttled GET /groups/{id}/members for too long",
        ),
        (
            lambda f: f.error(MEMBERS, 403, "Authorization_RequestDenied"),
            "the permission GroupMember.Read.All is missing",
        ),
        (lambda f: f.error("/subscribedSkus", 403, "x"), "the permission LicenseAssignment.Read.All is missing"),
        (lambda f: f.error(MEMBERS, 404, "Request_ResourceNotFound"), "GET /groups/{id}/members: not found"),
        (lambda f: f.error("/groups/*", 400, "Request_UnsupportedQuery"), "was refused (400 Request_UnsupportedQuery)"),
        (lambda f: f.expire_token(MEMBERS), "it has expired; put a new one into CLOUDPC_GRAPH_TOKEN"),
    ],
)
def test_a_fault_that_stays_is_an_error(
    tenant: Tenant, directory: GraphDirectory, strike: Callable[[Faults], object], words: str
) -> None:
    strike(tenant.faults)
    with pytest.raises(DirectoryError) as caught:
        directory.snapshot([ENGINEERING])
    assert words in str(caught.value)
    assert tenant.token not in repr(caught.value)


def test_half_a_list_is_no_list(reached: Reached) -> None:
    members = frozenset(f"u{i}" for i in range(1500))
    users = {id_: User(id_, f"{id_}@contoso.example", id_) for id_ in members}
    path = f"/groups/{guid('group', 'g')}/members/graph.user"
    # unchecked: the contract takes a minute for pages of this size
    with Tenant(Snapshot(users, {"g": Group("g", "G", members)}), check=False) as tenant:
        directory = GraphDirectory(GraphDirectoryConfig(kind="graph"), reached(tenant))
        snapshot = directory.snapshot(["G"])
        assert len(snapshot.users) == len(snapshot.find_groups("G")[0].members) == 1500
        assert tenant.count("GET", path) == 2, "pages of 999"

        tenant.faults.error(path, 403, "Authorization_RequestDenied", skip=1)
        with pytest.raises(DirectoryError, match=r"GroupMember\.Read\.All"):
            directory.snapshot(["G"])


def test_who_may_list_members_but_not_read_users_is_told_so(
    tenant: Tenant, directory_file: Path, reached: Reached
) -> None:
    token = tenant.tokens.issue("application", ["GroupMember.Read.All", "LicenseAssignment.Read.All"])
    directory = GraphDirectory(configured(directory_file), reached(tenant, token))
    with pytest.raises(DirectoryError, match=r"the permission User\.Read\.All is missing"):
        directory.snapshot([ENGINEERING])


def test_the_least_permissions_are_enough(
    tenant: Tenant, directory_file: Path, reached: Reached, whole: Snapshot
) -> None:
    least = ["GroupMember.Read.All", "User.Read.All", "LicenseAssignment.Read.All"]
    directory = GraphDirectory(configured(directory_file), reached(tenant, tenant.tokens.issue("application", least)))
    assert directory.snapshot([ENGINEERING, "O'Neill's sales"]) == whole


# ---- groups


def test_several_groups_of_one_name_are_all_found(tenant: Tenant, directory: GraphDirectory) -> None:
    other = tenant.add_group("Engineering", ["u-carol"])
    found = directory.snapshot(["Engineering"]).find_groups("Engineering")
    assert {g.id for g in found} == {ENGINEERING, other}


def test_members_of_a_group_in_a_group_are_none_of_it_and_that_is_told(
    tenant: Tenant, directory: GraphDirectory
) -> None:
    tenant.nest("sales", "engineering")
    snapshot = directory.snapshot([ENGINEERING])
    assert guid("user", "u-carol") not in snapshot.groups[ENGINEERING].members
    [warning] = snapshot.warnings
    assert "the group 'Engineering' has the group \"O'Neill's sales\" in it: only direct members count" in warning


def test_a_user_in_several_groups_is_read_and_kept_once(tenant: Tenant, directory: GraphDirectory) -> None:
    tenant.join("u-alice", "sales")
    snapshot = directory.snapshot(["Engineering", "O'Neill's sales", ENGINEERING])
    assert all(guid("user", "u-alice") in group.members for group in snapshot.groups.values())
    assert tenant.count("GET", MEMBERS) == 1, "asked for by id and by name, listed once"


def test_who_left_is_looked_up_and_who_was_deleted_is_not_there(tenant: Tenant, directory: GraphDirectory) -> None:
    alice, bob = guid("user", "u-alice"), guid("user", "u-bob")
    tenant.leave("u-alice", "engineering")
    tenant.delete_user("u-bob")
    snapshot = directory.snapshot([ENGINEERING], [alice, bob, "u-local", "../groups"])
    assert alice in snapshot.users
    assert bob not in snapshot.users
    assert not tenant.count("GET", "/users/u-local"), "an id of another directory is no userPrincipalName"


def test_an_error_over_one_user_is_not_his_absence(tenant: Tenant, directory: GraphDirectory) -> None:
    tenant.leave("u-alice", "engineering")
    tenant.faults.error("/users/*", 403, "Authorization_RequestDenied")
    with pytest.raises(DirectoryError, match=r"User\.Read\.All"):
        directory.snapshot([ENGINEERING], [guid("user", "u-alice")])


def test_a_group_by_its_id_in_capitals(tenant: Tenant, directory: GraphDirectory) -> None:
    [group] = directory.snapshot([ENGINEERING.upper()]).find_groups(ENGINEERING.upper())
    assert group.id == ENGINEERING
    assert len(group.members) == 3


@pytest.mark.parametrize("reference", [ENGINEERING, "Engineering"])
def test_a_group_with_hidden_membership_is_an_error_of_whoever_means_it(
    tenant: Tenant, directory: GraphDirectory, reference: str
) -> None:
    tenant.groups[ENGINEERING]["visibility"] = "HiddenMembership"
    snapshot = directory.snapshot([reference, "O'Neill's sales"])
    assert snapshot.hidden_groups == {ENGINEERING: "Engineering"}
    assert not tenant.count("GET", MEMBERS), "what is seen of them says nothing"
    assert len(snapshot.find_groups("O'Neill's sales")) == 1
    with pytest.raises(DirectoryError, match="visibility HiddenMembership"):
        snapshot.find_groups(reference)


# ---- licences


@pytest.mark.parametrize(
    ("field", "value"), [("servicePlans", None), ("capabilityStatus", None), ("capabilityStatus", ""), ("skuId", None)]
)
def test_a_subscription_that_is_not_told_whole_is_unknown_and_not_without_licences(
    directory_file: Path, reached: Reached, field: str, value: object
) -> None:
    # unchecked: the contract knows no such answer
    with Tenant(directory_file, check=False) as tenant:
        tenant.skus[guid("sku", "CPC_E_2C_4GB_128GB")][field] = value
        directory = GraphDirectory(configured(directory_file), reached(tenant))
        with pytest.raises(DirectoryError, match=f"an object without {field}"):
            directory.snapshot([ENGINEERING])


def test_ids_of_licences_are_the_same_in_capitals(directory_file: Path, reached: Reached) -> None:
    with Tenant(directory_file, check=False) as tenant:
        tenant.add_sku("BUNDLE", ["CPC_1", "CPC_2"])
        tenant.give_licence("u-carol", "BUNDLE", disabled_plans=["CPC_1"])
        for licence in tenant.users[guid("user", "u-carol")]["assignedLicenses"]:
            licence["disabledPlans"] = [plan.upper() for plan in licence["disabledPlans"]]
        sku = tenant.skus[guid("sku", "BUNDLE")]
        sku["skuId"] = sku["skuId"].upper()
        directory = GraphDirectory(configured(directory_file), reached(tenant))
        carol = user("u-carol", directory.snapshot(["O'Neill's sales"]))
        assert carol.service_plans == (guid("servicePlan", "CPC_2"),)


def test_subscriptions_without_a_list_are_unknown(directory: GraphDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Session.json

    async def without(self: Session, call: Call, *arguments: Any) -> dict[str, Any]:
        return {} if call is Call.READ_SKUS else await original(self, call, *arguments)

    monkeypatch.setattr(Session, "json", without)
    with pytest.raises(DirectoryError, match="an answer without a list to GET /subscribedSkus"):
        directory.snapshot([ENGINEERING])


def test_disabled_plans_of_a_bundle_give_nothing(tenant: Tenant, directory: GraphDirectory) -> None:
    tenant.add_sku("BUNDLE", ["CPC_E_2C_4GB_128GB", "CPC_2", "EXCHANGE"])
    tenant.give_licence("u-carol", "BUNDLE", disabled_plans=["CPC_1"])
    snapshot = directory.snapshot(["O'Neill's sales"])
    assert user("u-carol", snapshot).service_plans == (guid("servicePlan", "CPC_2"),)


def test_a_plan_disabled_in_one_licence_counts_by_another(tenant: Tenant, directory: GraphDirectory) -> None:
    tenant.add_sku("BUNDLE", ["CPC_1"])
    tenant.give_licence("u-carol", "BUNDLE", disabled_plans=["CPC_1"])
    tenant.give_licence("u-carol", "CPC_E_2C_4GB_128GB")
    assert user("u-carol", directory.snapshot(["O'Neill's sales"])).service_plans == (guid("servicePlan", "CPC_1"),)


def test_licences_of_a_suspended_subscription_give_nothing_and_that_is_told(
    tenant: Tenant, directory: GraphDirectory
) -> None:
    sku = tenant.skus[guid("sku", "CPC_E_2C_4GB_128GB")]
    for status in ("Warning", "enabled", "WARNING"):  # a subscription's own time of grace
        sku["capabilityStatus"] = status
        assert user("u-bob", directory.snapshot([ENGINEERING])).service_plans
    sku["capabilityStatus"] = "Suspended"
    snapshot = directory.snapshot([ENGINEERING])
    assert user("u-bob", snapshot).service_plans == ()
    assert snapshot.warnings == ("the subscription CPC_E_2C_4GB_128GB is Suspended: its licences give no Cloud PC",)


def test_a_configured_plan_that_nobody_sells_is_told(tenant: Tenant, reached: Reached) -> None:
    entry = {"id": guid("servicePlan", "TYPO"), "vCpuCount": 1, "ramInGB": 1, "storageInGB": 8}
    config = GraphDirectoryConfig.model_validate({"kind": "graph", "servicePlans": [entry]})
    [warning] = GraphDirectory(config, reached(tenant)).snapshot([]).warnings
    assert warning == f"no subscription of the tenant has the service plan {entry['id']} of cloudpc:directory"


def test_a_tenant_that_insists_on_advanced_queries_for_casts(tenant: Tenant, directory: GraphDirectory) -> None:
    tenant.insists_on_advanced_casts = True
    tenant.add_group("Big", [tenant.add_user(User(f"u-{i}", f"u{i}@contoso.example", f"U {i}")) for i in range(1200)])
    snapshot = directory.snapshot([ENGINEERING, "Big"])
    assert snapshot.find_groups(ENGINEERING)[0].members
    assert len(snapshot.find_groups("Big")[0].members) == 1200, "of all pages"


def test_a_cloud_pc_s_plan_of_no_known_size_is_told_with_where_to_add_it(
    tenant: Tenant, directory: GraphDirectory, reached: Reached
) -> None:
    plan = "CPC_E_16C_64GB_1TB"
    tenant.add_sku(plan, [plan, "EXCHANGE"])
    assert directory.snapshot([ENGINEERING]).warnings == (), "nobody has it"
    tenant.give_licence("u-alice", plan)
    tenant.give_licence("u-bob", plan)
    snapshot = directory.snapshot([ENGINEERING])
    [warning] = snapshot.warnings
    id_ = guid("servicePlan", plan)
    entry = f"id: {id_}, displayName: {plan}, vCpuCount: 16, ramInGB: 64, storageInGB: 1024"
    assert warning == (
        f"users have the licence {plan}, whose service plan {plan} ({id_}) is a Cloud PC's by its "
        f"name, but its size is not known here, so it gives none; add {{{entry}}} to servicePlans of cloudpc:directory"
    )
    assert guid("servicePlan", plan) not in user("u-alice", snapshot).service_plans

    values = {"kind": "graph", "servicePlans": [yaml.safe_load("{" + entry + "}")]}
    known = GraphDirectory(GraphDirectoryConfig.model_validate(values), reached(tenant)).snapshot([ENGINEERING])
    assert guid("servicePlan", plan) in user("u-alice", known).service_plans
    assert known.warnings == ()


def test_a_plan_without_a_size_that_is_disabled_or_not_sold_any_more_is_not_told(
    tenant: Tenant, directory: GraphDirectory
) -> None:
    tenant.add_sku("BUNDLE", ["CPC_SS_9"])
    tenant.give_licence("u-alice", "BUNDLE", disabled_plans=["CPC_SS_9"])
    assert directory.snapshot([ENGINEERING]).warnings == ()
    tenant.give_licence("u-alice", "BUNDLE")
    [warning] = directory.snapshot([ENGINEERING]).warnings
    assert "vCpuCount: …, ramInGB: …, storageInGB: …" in warning
    tenant.skus[guid("sku", "BUNDLE")]["capabilityStatus"] = "Suspended"
    assert directory.snapshot([ENGINEERING]).warnings == (
        "the subscription BUNDLE is Suspended: its licences give no Cloud PC",
    )
