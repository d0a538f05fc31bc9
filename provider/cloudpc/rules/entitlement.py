"""Who is owed which Cloud PC, and why somebody is owed none. Pure.

Windows 365 "Provisioning": a user needs a licence *and* membership in a group that a policy is assigned to; one Cloud
PC per user and licence; groups are not nested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from cloudpc.model.identity import key_of
from cloudpc.model.policy import ProvisioningPolicy


@dataclass(frozen=True)
class Entitlement:
    """One Cloud PC that a policy owes a user."""

    user: User
    service_plan: ServicePlan

    @property
    def key(self) -> str:
        """Identity of the Cloud PC within the installation: `<user id>/<service plan id>`."""
        return key_of(self.user.id, self.service_plan.id)


class NotOwed(StrEnum):
    """Why somebody has no Cloud PC although nothing is wrong (`statusDetail.code` of `notProvisioned`).

    docs/errors.md has a section for each, as for each `ErrorCode`.
    """

    LICENCE_WITHOUT_POLICY = "licenceWithoutPolicy"
    POLICY_WITHOUT_LICENCE = "policyWithoutLicence"
    ACCOUNT_DISABLED = "accountDisabled"
    NOT_RUN_YET = "notRunYet"
    """Entitled: the policy's next run makes it."""
    POLICY_WITHOUT_STACK = "policyWithoutStack"
    """Entitled under a policy that has never run, or was removed by `cloudpc down`."""


@dataclass(frozen=True)
class NotProvisioned:
    """A user who is owed no Cloud PC, of one service plan or of any."""

    user: User
    service_plan: ServicePlan | None
    policy_ids: tuple[str, ...]
    """The policies that are assigned to a group of the user's."""
    code: NotOwed

    @property
    def policy_id(self) -> str | None:
        """The first of them."""
        return self.policy_ids[0] if self.policy_ids else None

    @property
    def message(self) -> str:
        """For people."""
        match self.code:
            case NotOwed.LICENCE_WITHOUT_POLICY:
                return "licensed, but in no group that a provisioning policy is assigned to"
            case NotOwed.POLICY_WITHOUT_LICENCE:
                return f"in a group of {', '.join(self.policy_ids)}, but without a licence for a Cloud PC"
            case NotOwed.ACCOUNT_DISABLED:
                return "the user's account is disabled"
            case NotOwed.NOT_RUN_YET:
                return f"entitled; the next run of {self.policy_id} makes one"
            case NotOwed.POLICY_WITHOUT_STACK:
                policy = self.policy_id
                return f"entitled, but {policy} has never run, or was taken down; `cloudpc up {policy}` makes one"


class Lost(StrEnum):
    """What a user has lost that a Cloud PC needs; the first that is missing."""

    DIRECTORY_ENTRY = "directoryEntry"
    ENABLED_ACCOUNT = "enabledAccount"
    ASSIGNMENT = "assignment"
    """Somebody has taken the policy's assignment to the user's group away."""
    ANY_ASSIGNMENT = "anyAssignment"
    """The policy is assigned to no group."""
    MEMBERSHIP = "membership"
    LICENCE = "licence"
    POLICY = "policy"
    """Another one serves the user."""


_BY_DIRECTORY = frozenset({Lost.DIRECTORY_ENTRY, Lost.ENABLED_ACCOUNT, Lost.MEMBERSHIP, Lost.LICENCE})


@dataclass(frozen=True)
class Loss:
    """Why a user is no longer entitled to a Cloud PC."""

    lost: Lost
    names: tuple[str, ...] = ()
    """Of the groups, or of the service plan."""
    gone: tuple[str, ...] = ()
    """Names of groups that the user may have been in, and that the directory no longer has."""
    taken_away: tuple[str, ...] = ()
    """Ids of the groups whose assignment somebody has taken away."""

    @property
    def by_directory(self) -> bool:
        """Whether the directory says so (people, groups, licences); otherwise somebody changed the policy."""
        return self.lost in _BY_DIRECTORY

    def __str__(self) -> str:
        match self.lost:
            case Lost.DIRECTORY_ENTRY:
                return "the user is no longer in the directory"
            case Lost.ENABLED_ACCOUNT:
                return "the account is disabled"
            case Lost.ASSIGNMENT:
                return f"the policy is no longer assigned to {', '.join(self.names)}"
            case Lost.ANY_ASSIGNMENT:
                return "the policy is assigned to no group"
            case Lost.MEMBERSHIP:
                or_in = f", or was in {', '.join(self.gone)}, which the directory no longer has" if self.gone else ""
                return f"left {' and '.join(f'group {name}' for name in self.names)}{or_in}"
            case Lost.LICENCE:
                return f"no longer has a licence for {', '.join(self.names)}"
            case Lost.POLICY:
                return "another policy serves the user"


def loss(
    policy: ProvisioningPolicy,
    snapshot: Snapshot,
    user_id: str,
    plan_id: str,
    formerly_assigned: Mapping[str, str] | None = None,
) -> Loss:
    """Why this policy no longer owes this user a Cloud PC of this plan.

    Args:
        policy: as it is now.
        snapshot: the directory as it is now.
        user_id: the user.
        plan_id: the service plan.
        formerly_assigned: the groups that the policy was assigned to before: ids, and how they are called.
    """
    user, groups = snapshot.users.get(user_id), assigned_groups(policy, snapshot)
    if user is None:
        return Loss(Lost.DIRECTORY_ENTRY)
    if not user.account_enabled:
        return Loss(Lost.ENABLED_ACCOUNT)
    if not any(user_id in group.members for group in groups):
        return _not_in_any(groups, snapshot, user_id, formerly_assigned or {})
    if plan_id not in user.service_plans:
        return Loss(Lost.LICENCE, (plan_id,))
    return Loss(Lost.POLICY)


def _not_in_any(groups: list[Group], snapshot: Snapshot, user_id: str, former: Mapping[str, str]) -> Loss:
    """The reason for somebody who is in none of the policy's groups."""
    before = [snapshot.groups[g] for g in former if g in snapshot.groups]
    if taken_away := [g for g in before if g not in groups and user_id in g.members]:
        names = tuple(group.display_name for group in taken_away)
        return Loss(Lost.ASSIGNMENT, names, taken_away=tuple(group.id for group in taken_away))
    if not groups:
        return Loss(Lost.ANY_ASSIGNMENT)
    gone = tuple(name for id_, name in former.items() if id_ not in snapshot.groups)
    return Loss(Lost.MEMBERSHIP, tuple(group.display_name for group in groups), gone)


def assigned_groups(policy: ProvisioningPolicy, snapshot: Snapshot) -> list[Group]:
    """Groups the policy is assigned to, as far as the directory has exactly one of each name."""
    found = (snapshot.find_groups(a.target.group_id) for a in policy.assignments)
    return [matches[0] for matches in found if len(matches) == 1]


def names_written(policy: ProvisioningPolicy, snapshot: Snapshot) -> dict[str, str]:
    """Names by which the policy has its groups, by their ids; of those that it has by id, what they are called now."""
    written = {}
    for reference in (assignment.target.group_id for assignment in policy.assignments):
        for group in snapshot.find_groups(reference):
            by_id = reference.lower() == group.id.lower()
            written[group.id] = group.display_name if by_id else reference
    return written


def _members(policy: ProvisioningPolicy, snapshot: Snapshot) -> list[User]:
    ids = {member for group in assigned_groups(policy, snapshot) for member in group.members}
    return sorted((snapshot.users[i] for i in ids if i in snapshot.users), key=lambda user: user.id)


def _licensed(user: User, snapshot: Snapshot) -> list[ServicePlan]:
    """The user's service plans of Cloud PCs, each once: licences bring other plans too, and may bring one twice."""
    return [snapshot.service_plans[p] for p in dict.fromkeys(user.service_plans) if p in snapshot.service_plans]


def entitled(policy: ProvisioningPolicy, snapshot: Snapshot) -> list[Entitlement]:
    """The Cloud PCs that a policy owes: each enabled member of its groups, once for each licensed service plan."""
    return [
        Entitlement(user, plan)
        for user in _members(policy, snapshot)
        if user.account_enabled
        for plan in _licensed(user, snapshot)
    ]


def not_provisioned(policies: Mapping[str, ProvisioningPolicy], snapshot: Snapshot) -> list[NotProvisioned]:
    """Everyone who has a licence without a policy or a policy without a licence, over all policies."""
    return list(_not_provisioned(policies, snapshot))


def _not_provisioned(policies: Mapping[str, ProvisioningPolicy], snapshot: Snapshot) -> Iterator[NotProvisioned]:
    targeted: dict[str, list[str]] = {}
    for policy_id, policy in policies.items():
        for user in _members(policy, snapshot):
            targeted.setdefault(user.id, []).append(policy_id)
    for user in sorted(snapshot.users.values(), key=lambda user: user.id):
        policy_ids, plans = tuple(sorted(targeted.get(user.id, []))), _licensed(user, snapshot)
        if not user.account_enabled and (plans or policy_ids):
            yield NotProvisioned(user, None, policy_ids, NotOwed.ACCOUNT_DISABLED)
        elif plans and not policy_ids:
            for plan in plans:
                yield NotProvisioned(user, plan, (), NotOwed.LICENCE_WITHOUT_POLICY)
        elif policy_ids and not plans:
            yield NotProvisioned(user, None, policy_ids, NotOwed.POLICY_WITHOUT_LICENCE)
