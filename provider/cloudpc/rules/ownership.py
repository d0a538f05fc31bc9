"""Which provisioning policy serves a user. Pure.

Windows 365 "Provisioning": where several policies target a user, the first *assigned* wins; all of a user's Cloud PCs
come from one policy. "Grace period": who is entitled again in time has it back as it was. Every stack computes the
same answer from the same facts (rule 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import IntEnum
from typing import Protocol

from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.directory import Snapshot

_NEVER = datetime.max.replace(tzinfo=UTC)


class Held(Protocol):
    """What other policies need to know of a Cloud PC; see RecordedCloudPC."""

    @property
    def user_id(self) -> str: ...  # noqa: D102
    @property
    def device_name(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> Status: ...  # noqa: D102
    @property
    def generation(self) -> int: ...  # noqa: D102
    @property
    def has_machine(self) -> bool: ...  # noqa: D102
    @property
    def is_leaving(self) -> bool: ...  # noqa: D102
    @property
    def is_gone(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Holding:
    """That, and no more."""

    user_id: str
    device_name: str
    status: Status
    generation: int
    has_machine: bool
    is_leaving: bool
    is_gone: bool

    @classmethod
    def of(cls, pc: Held) -> Holding:
        """What is needed of this one."""
        return cls(**{each.name: getattr(pc, each.name) for each in fields(cls)})


@dataclass(frozen=True)
class PolicyFacts:
    """What is known of a policy that has run, or runs now for the first time."""

    policy_id: str
    assigned: Mapping[str, datetime]
    """Its groups' ids, with the time each assignment was first seen."""
    cloud_pcs: Mapping[str, Held]
    """By key, as state has them."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """The last generation of those that are gone, by key, as far as they are remembered."""


@dataclass(frozen=True)
class OwnFacts(PolicyFacts):
    """The same of the policy that is run: all is known of its Cloud PCs."""

    cloud_pcs: Mapping[str, RecordedCloudPC]


class _Claim(IntEnum):
    """What a policy has of a user, the strongest first."""

    HAS = 0
    """A Cloud PC with a machine, that is not on its way out."""
    HAD = 1
    """One in its grace period, of a user who is in the policy's groups (again): restored, with the data on it."""
    TRIES = 2
    """One that waits, or has failed: there is no data on it."""
    TARGETS = 3


def owners(policies: Iterable[PolicyFacts], snapshot: Snapshot) -> dict[str, str]:
    """The policy that serves each user, by user id; who is in no policy's group and has no Cloud PC is left out.

    It is the one with the strongest claim; among several the one assigned first to a group that the user is in; ties
    by policy id.
    """
    best: dict[str, tuple[_Claim, datetime, str]] = {}
    for policy in policies:
        seen = _first_seen(policy, snapshot)
        claims = dict.fromkeys(seen, _Claim.TARGETS)
        for recorded in policy.cloud_pcs.values():
            user = recorded.user_id
            claim = _claim(recorded, targeted=user in seen)
            if claim is not None:
                claims[user] = min(claim, claims.get(user, claim))
        for user, claim in claims.items():
            rank = (claim, seen.get(user, _NEVER), policy.policy_id)
            best[user] = min(rank, best.get(user, rank))
    return {user: policy_id for user, (_, _, policy_id) in best.items()}


def _claim(recorded: Held, *, targeted: bool) -> _Claim | None:
    if recorded.is_leaving:
        return _Claim.HAD if targeted and recorded.status is Status.IN_GRACE_PERIOD else None
    if recorded.has_machine:
        return _Claim.HAS
    return None if recorded.status is Status.NOT_PROVISIONED else _Claim.TRIES


def _first_seen(policy: PolicyFacts, snapshot: Snapshot) -> dict[str, datetime]:
    """When the policy was first assigned to a group that a user is in, by user id."""
    first: dict[str, datetime] = {}
    for group_id, seen in policy.assigned.items():
        group = snapshot.groups.get(group_id)
        for user in group.members if group else ():
            first[user] = min(seen, first.get(user, seen))
    return first


def last_generations(policies: Iterable[PolicyFacts]) -> dict[str, int]:
    """The highest generation there has been of each Cloud PC, by key: device names and ids come from it, each once."""
    last: dict[str, int] = {}
    for policy in policies:
        present = {
            key: pc.generation for key, pc in policy.cloud_pcs.items() if pc.status is not Status.NOT_PROVISIONED
        }
        for key, generation in (*policy.ended.items(), *present.items()):
            last[key] = max(generation, last.get(key, 0))
    return last


def held(policies: Iterable[PolicyFacts]) -> dict[str, str]:
    """Cloud PCs with a machine, or not removed whole yet, by key, with their policy: nobody else makes one then."""
    return {
        key: policy.policy_id
        for policy in policies
        for key, recorded in policy.cloud_pcs.items()
        if recorded.has_machine or (recorded.is_leaving and not recorded.is_gone)
    }
