"""One suite for both directories: whatever a policy relies on, it gets from a file as from a tenant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudpc.directory.local import LocalDirectory
from cloudpc.graph.configuration import GraphConfig
from tests.directory.sides import Side, user
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

LAB = "LAB_1C_0.5GB_8GB"
EVERYBODY = ("u-alice", "u-bob", "u-carol", "u-dave")


@pytest.fixture(params=["file", "graph"])
def side(
    request: pytest.FixtureRequest, directory_file: Path, tenant: Tenant, reached: Callable[[Tenant], GraphConfig]
) -> Side:
    return Side(request.param, directory_file, reached(tenant))


def test_groups_by_name_with_all_that_decides(side: Side) -> None:
    snapshot = side.snapshot(["Engineering"])
    [group] = snapshot.find_groups("Engineering")
    assert group.id == guid("group", "engineering")
    assert group.members == {guid("user", u) for u in ("u-alice", "u-bob", "u-dave")}
    alice, dave = user("u-alice", snapshot), user("u-dave", snapshot)
    assert (alice.user_principal_name, alice.display_name) == ("alice@contoso.example", "Alice")
    assert alice.service_plans == dave.service_plans == (guid("servicePlan", LAB),)
    assert (alice.account_enabled, dave.account_enabled) == (True, False)
    plan = snapshot.service_plans[alice.service_plans[0]]
    assert (plan.vcpu_count, plan.ram_in_gb, plan.storage_in_gb) == (1, 0.5, 8)
    assert snapshot.warnings == ()


def test_a_licence_of_windows_365_by_its_service_plan(side: Side) -> None:
    bob = user("u-bob", side.snapshot(["engineering"]))
    assert bob.service_plans == ("545e3611-3af8-49a5-9a0a-b7867968f4b0",), "CPC_E_2C_4GB_128GB has the plan CPC_1"


def test_groups_by_id_and_a_name_with_a_quote(side: Side) -> None:
    snapshot = side.snapshot(["engineering", "O'Neill's sales"])
    assert [g.display_name for g in snapshot.find_groups(guid("group", "engineering"))] == ["Engineering"]
    [sales] = snapshot.find_groups("O'Neill's sales")
    assert sales.members == {guid("user", "u-carol")}
    assert user("u-carol", snapshot).service_plans == ()


@pytest.mark.parametrize(
    "reference", ["Nobody", "engineering ", "ENGINEERING", "a' or 'a' eq 'a", "x/../y?$top=1&z", "ß%27"]
)
def test_no_such_group_is_none_and_no_error(side: Side, reference: str) -> None:
    assert side.snapshot([reference]).find_groups(reference) == []


def test_who_left_all_groups_is_still_in_the_directory(side: Side) -> None:
    snapshot = side.snapshot(["engineering"], ["u-carol", "u-nobody"])
    assert user("u-carol", snapshot).account_enabled
    assert guid("user", "u-nobody") not in snapshot.users


_users = st.lists(
    st.fixed_dictionaries(
        {
            "displayName": st.sampled_from(["", "Zoë Ünal", "O'Neill", 'a "b" <c> & d', "名前"]),
            "accountEnabled": st.booleans(),
            "servicePlans": st.lists(st.sampled_from([LAB, "BIG", "CPC_E_2C_4GB_128GB", "CPC_2"]), max_size=4),
        }
    ),
    max_size=5,
)
_groups = st.lists(
    st.tuples(
        st.sampled_from(["Eng", "eng", "O'Neill's", "a%20b", "x&y=z", "名前", "#1 + 2"]), st.sets(st.integers(0, 4))
    ),
    max_size=4,
)


def _file(users: list[dict[str, Any]], groups: list[tuple[str, set[int]]]) -> dict[str, Any]:
    plan = {"vCpuCount": 2, "ramInGB": 1.5, "storageInGB": 16}
    return {
        "users": [{"id": f"u{i}", "userPrincipalName": f"u{i}@contoso.example", **u} for i, u in enumerate(users)],
        "groups": [
            {"id": f"g{i}", "displayName": name, "members": [f"u{m}" for m in sorted(members) if m < len(users)]}
            for i, (name, members) in enumerate(groups)
        ],
        "servicePlans": [{"id": LAB, **plan}, {"id": "BIG", "displayName": "Big", **plan}],
    }


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(users=_users, groups=_groups, named=st.booleans())
def test_equal_snapshots(
    users: list[dict[str, Any]], groups: list[tuple[str, set[int]]], named: bool,
    tmp_path: Path, tenant: Tenant, reached: Callable[[Tenant], GraphConfig],
) -> None:  # fmt: skip
    content = _file(users, groups)
    file = tmp_path / "random.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    tenant.fill(LocalDirectory(file, file.name).snapshot([]))
    config = reached(tenant)
    references = [g["displayName"] if named else g["id"] for g in content["groups"]]
    everybody = [u["id"] for u in content["users"]]
    read = [Side(kind, file, config).snapshot(references, everybody) for kind in ("file", "graph")]
    assert read[0] == read[1]
    for reference in references:
        found = [sorted(snapshot.find_groups(reference), key=lambda g: g.id) for snapshot in read]
        assert found[0] == found[1]
