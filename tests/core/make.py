"""Valid things of the core, to be varied by tests."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from cloudpc.guests.linux.names import account_name
from cloudpc.model.cloud_pc import NetworkChoice, PolicySettings
from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules.today import Today, Traces

MINIMAL_POLICY: dict[str, Any] = {
    "displayName": "Lab",
    "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "automatic"}],
    "imageId": "micro",
}
INSTALLATION = "0123456789abcdef"
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def policy_values(**changes: Any) -> dict[str, Any]:
    """A minimal policy as it stands in a file, with some fields set; None leaves one out."""
    values = {**copy.deepcopy(MINIMAL_POLICY), **changes}
    return {name: value for name, value in values.items() if value is not None}


def policy(*groups: str, **changes: Any) -> ProvisioningPolicy:
    """A valid policy assigned to these groups."""
    assignments = [{"target": {"groupId": group}} for group in groups]
    return ProvisioningPolicy.model_validate(policy_values(assignments=assignments, **changes))


def user(user_id: str, *plans: str, **changes: Any) -> User:
    """A user who is licensed for these plans."""
    values = {"user_principal_name": f"{user_id}@contoso.example", "display_name": user_id.title(), **changes}
    return User(user_id, service_plans=plans, **values)


def plan(plan_id: str = "small") -> ServicePlan:
    """A small service plan."""
    return ServicePlan(plan_id, plan_id.title(), 1, 0.5, 8)


def settings(**changes: Any) -> PolicySettings:
    """What a policy says new Cloud PCs are made like."""
    values: dict[str, Any] = {
        "provisioning_policy_name": "Lab", "image_type": "gallery", "image_id": "micro", "image_digest": "ab" * 32,
        "networks": (NetworkChoice(kind="hosted"),), "locale": "en-US", "time_zone": "UTC",
        "local_admin_enabled": False, "first_boot_in_seconds": 60, "set_up_in_seconds": 60,
    }  # fmt: skip
    return PolicySettings(**{**values, **changes})


def today(**changes: Any) -> Today:
    """A policy as it is now."""
    values = {"policy_id": "lab", "installation": INSTALLATION, "naming_template": "CPC-%USERNAME:5%-%RAND:5%"}
    return Today(**{**values, "settings": settings(), "account_name": account_name, **changes})


def asked(
    reprovision: Mapping[str, int] | None = None,
    retry: Mapping[str, int] | None = None,
    end_grace: Mapping[str, datetime] | None = None,
    update_kernel: Mapping[str, int] | None = None,
) -> Traces:
    """`cloudpc:actions`."""
    return {
        "reprovision": reprovision or {},
        "retry": retry or {},
        "endGrace": end_grace or {},
        "updateKernel": update_kernel or {},
    }


def through_pulumi(value: Any) -> Any:
    """What comes back of a value that went through Pulumi: JSON, in which every number is a float."""
    return json.loads(json.dumps(value), parse_int=float)


# ---- directories at random: few names, so that they meet

_USERS = [f"u{i}" for i in range(5)]
_GROUPS = [f"g{i}" for i in range(4)]
_PLANS = [f"p{i}" for i in range(3)]


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Directories as Graph could give them: members that are no users, plans that are no Cloud PCs', duplicates."""
    users = {
        user_id: user(
            user_id,
            *draw(st.lists(st.sampled_from([*_PLANS, "office"]), max_size=4)),
            account_enabled=draw(st.booleans()),
        )
        for user_id in draw(st.lists(st.sampled_from(_USERS), unique=True))
    }
    groups = {
        group_id: Group(group_id, draw(st.sampled_from(["A", "B"])), draw(st.frozensets(st.sampled_from(_USERS))))
        for group_id in draw(st.lists(st.sampled_from(_GROUPS), unique=True))
    }
    return Snapshot(users, groups, {plan_id: plan(plan_id) for plan_id in _PLANS})


def policies() -> st.SearchStrategy[dict[str, ProvisioningPolicy]]:
    """Policies that are assigned to some groups, by id or displayName."""
    assigned = st.lists(st.sampled_from([*_GROUPS, "A", "B", "nowhere"]), unique=True)
    return st.dictionaries(st.sampled_from(["one", "two", "three"]), assigned.map(lambda groups: policy(*groups)))
