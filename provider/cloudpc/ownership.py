"""Which provisioning policy serves a user. Pure.

Windows 365 "Provisioning": where several policies target a user, the first *assigned* wins; all of a user's Cloud PCs
come from one policy. Every stack computes the same answer from the same facts (design rule 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cloudpc.cloud_pc import RecordedCloudPC, Status
from cloudpc.directory.interface import Snapshot


@dataclass(frozen=True)
class PolicyFacts:
    """What is known of a policy that has run, or runs now for the first time."""

    policy_id: str
    assigned: Mapping[str, datetime]
    """Its groups' ids, with the time each assignment was first seen."""
    cloud_pcs: Mapping[str, RecordedCloudPC]
    """By key, as state has them."""


def owners(policies: Iterable[PolicyFacts], snapshot: Snapshot) -> dict[str, str]:
    """The policy that serves each user, by user id; who is in no policy's group and has no Cloud PC is left out.

    It is the one that already has a Cloud PC of the user that is not on its way out; else the one assigned first to a
    group that the user is in; ties by policy id.
    """
    known = sorted(policies, key=lambda policy: policy.policy_id, reverse=True)
    first: dict[str, tuple[datetime, str]] = {}
    for policy in known:
        for group_id, seen in policy.assigned.items():
            group, rank = snapshot.groups.get(group_id), (seen, policy.policy_id)
            for user_id in group.members if group else ():
                if user_id not in first or rank < first[user_id]:
                    first[user_id] = rank
    serving = {user_id: policy_id for user_id, (_, policy_id) in first.items()}
    for policy in known:
        for recorded in policy.cloud_pcs.values():
            if not recorded.is_leaving and recorded.status is not Status.NOT_PROVISIONED:
                serving[recorded.user_id] = policy.policy_id
    return serving


def leaving(policies: Iterable[PolicyFacts]) -> dict[str, str]:
    """Cloud PCs in grace or not yet removed whole, by key, with their policy: nobody else makes one meanwhile."""
    return {
        key: policy.policy_id
        for policy in policies
        for key, recorded in policy.cloud_pcs.items()
        if recorded.is_leaving and not recorded.is_gone
    }
