"""Who has no Cloud PC, and why: what `cloudpc list --all` shows besides."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cloudpc.cli.context import Project
from cloudpc.cli.output import err
from cloudpc.model.cloud_pc import Status
from cloudpc.model.directory import DirectoryError, ServicePlan, Snapshot, User
from cloudpc.model.errors import ErrorCode
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.operations.records import StackRecord
from cloudpc.rules import entitlement, ownership
from cloudpc.rules.entitlement import Entitlement, NotOwed, NotProvisioned
from cloudpc.rules.ownership import PolicyFacts


@dataclass(frozen=True)
class _Directory:
    """A directory, and the policies that work with it."""

    snapshot: Snapshot
    policies: dict[str, ProvisioningPolicy]

    def owed(self) -> Iterator[tuple[str, Entitlement]]:
        """What each of the policies owes, whoever serves the user."""
        for policy_id, policy in self.policies.items():
            for owed in entitlement.entitled(policy, self.snapshot):
                yield policy_id, owed


def rows(project: Project, stacks: Sequence[StackRecord], present: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row, as `cloudpc list --json` has them, for each who has none, and for each policy that is ignored for a user.

    Policies whose file is wrong or whose directory can't be read are left out, and reported.

    Args:
        project: where the policies are.
        stacks: what state has.
        present: the rows of those who have one.
    """
    directories, files = _directories(project), project.policy_ids()
    facts = [stack.facts(stack.assigned if stack.policy in files else {}) for stack in stacks]
    ignored = _ignored(directories, facts)
    return [*_without(directories, present, ignored, {stack.policy for stack in stacks}), *ignored]


def _directories(project: Project) -> list[_Directory]:
    """Of the policies that have a valid file."""
    from cloudpc.configuration import reading

    found: dict[str, _Directory] = {}
    for policy_id in project.policy_ids():
        try:
            inputs = reading.read_policy_and_directory(policy_id, project.values(policy_id), project.directories)
        except InvalidConfigurationError as error:
            err.print(f"left out: {policy_id}, whose configuration is wrong: {error.problems[0]}")
            continue
        except DirectoryError as error:
            err.print(f"left out: {policy_id}: {error}")
            continue
        found.setdefault(inputs.directory, _Directory(inputs.snapshot, {})).policies[policy_id] = inputs.policy
    return list(found.values())


def _without(
    directories: Sequence[_Directory],
    present: Sequence[dict[str, Any]],
    ignored: Sequence[dict[str, Any]],
    with_stack: Collection[str],
) -> list[dict[str, Any]]:
    """Users who have no Cloud PC."""
    not_theirs = {(row["policy"], row["userId"], row["servicePlan"]) for row in ignored}
    have = {(row["userId"], row["servicePlan"]) for row in present}
    served = {user for user, _ in have}
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for directory in directories:
        for none in entitlement.not_provisioned(directory.policies, directory.snapshot):
            plan = none.service_plan
            found[none.user.id, plan.id if plan else None] = _not_provisioned(none)
        for policy_id, owed in directory.owed():
            if (policy_id, owed.user.id, owed.service_plan.id) not in not_theirs:
                why = NotOwed.NOT_RUN_YET if policy_id in with_stack else NotOwed.POLICY_WITHOUT_STACK
                row = _not_provisioned(NotProvisioned(owed.user, owed.service_plan, (policy_id,), why))
                found.setdefault((owed.user.id, owed.service_plan.id), row)
    return [
        row for (user, plan), row in found.items() if (user, plan) not in have and not (plan is None and user in served)
    ]


def _ignored(directories: Sequence[_Directory], facts: Sequence[PolicyFacts]) -> list[dict[str, Any]]:
    """Policies that target a user whom another one serves, and which: the first assigned wins (rule 2)."""
    present = {(policy.policy_id, key) for policy in facts for key in policy.cloud_pcs}
    held = ownership.held(facts)
    found = []
    for directory in directories:
        serving = ownership.owners(facts, directory.snapshot)
        for policy_id, owed in directory.owed():
            if (policy_id, owed.key) in present:
                continue  # its own row says so
            if why := _why_ignored(policy_id, serving.get(owed.user.id, policy_id), held.get(owed.key, policy_id)):
                found.append(_row(owed.user, owed.service_plan, policy_id, ErrorCode.OTHER_POLICY_FIRST, why))
    return found


def _why_ignored(policy_id: str, serves: str, still_has: str) -> str:
    """Why, in words; empty if it is not ignored.

    Args:
        policy_id: a policy that targets the user.
        serves: the one that serves the user.
        still_has: the one that still has the user's Cloud PC of this service plan.
    """
    if serves != policy_id:
        return f"ignored for this user, whom {serves} serves: the first assigned wins"
    if still_has != policy_id:
        return f"waits for the end of the Cloud PC that {still_has} still has"
    return ""


def _not_provisioned(none: NotProvisioned) -> dict[str, Any]:
    return _row(none.user, none.service_plan, none.policy_id, none.code, none.message)


def _row(
    user: User, plan: ServicePlan | None, policy: str | None, code: ErrorCode | NotOwed, message: str
) -> dict[str, Any]:
    return {
        "userPrincipalName": user.user_principal_name,
        "userId": user.id,
        "servicePlan": plan.id if plan else None,
        "servicePlanName": plan.display_name if plan else None,
        "policy": policy,
        "deviceName": None,
        "displayName": None,
        "status": Status.NOT_PROVISIONED.value,
        "statusDetail": {"code": code.value, "message": message},
        "host": None,
        "connection": None,
        "powerState": None,
        "desiredPowerState": None,
        "pausedBecause": None,
        "billedWhileOff": False,
        "lastModifiedDateTime": None,
        "gracePeriodEndDateTime": None,
        "why": None,
        "leftovers": [],
    }
