"""What Windows 365 promises about whom a policy serves, said anew in the simplest words, to check plans against.

Independent of cloudpc.rules.ownership and cloudpc.rules.entitlement on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.rules.lifecycle import Reconciliation, next_step
from cloudpc.rules.step import Step

if TYPE_CHECKING:
    from .world import World


def check(world: World, policy_id: str, assigned: Mapping[str, datetime], plan: Reconciliation) -> None:
    """Each new one is owed to its user by this policy; none is taken that is owed; who returns has it back."""
    for desired in plan.desired:
        recorded = world.stacks[policy_id].cloud_pcs.get(desired.key)
        owed = _targets(world, assigned, desired.user_id) and _licensed(world, desired)
        others = [pc for name, pc in _of_user(world, desired.user_id) if name != policy_id]
        served_elsewhere = any(pc.status in USABLE for pc in others)
        if recorded is None:
            assert owed, "nobody gets what they are not entitled to"
            assert not any(pc.key == desired.key for pc in others if _may_have_data(pc)), "one at a time"
            assert _is_first(world, policy_id, assigned, desired.user_id), "the first assigned wins"
            continue
        step = next_step(recorded, desired)
        if step is Step.BEGIN_GRACE:
            assert not owed or served_elsewhere, "what is owed is not taken away"
        by_directory = not owed and _still_assigned_to_all(world, policy_id, assigned)
        assert (desired.key in plan.lost_by_directory) <= (step is Step.BEGIN_GRACE), "they enter grace now"
        if step is Step.BEGIN_GRACE and by_directory:
            assert desired.key in plan.lost_by_directory, "nobody has changed the policy"
        if step is Step.BEGIN_GRACE and not assigned:
            assert desired.key not in plan.lost_by_directory or desired.user_id not in world.users
        if step is Step.RESTORE:
            assert owed, "who is not entitled gets nothing back"
        in_use = any(_counts(pc) and not pc.is_leaving for pc in others)
        if recorded.status is Status.IN_GRACE_PERIOD and owed and not in_use and _alone(world, policy_id, desired):
            assert step is Step.RESTORE, "who returns in time has it back"


def _still_assigned_to_all(world: World, policy_id: str, assigned: Mapping[str, datetime]) -> bool:
    """Nothing was taken away, nor half of it by a run that was killed."""
    stack = world.stacks[policy_id]
    return bool(assigned) and not stack.assigned.keys() - assigned.keys() and not stack.taken_away


def _counts(pc: RecordedCloudPC) -> bool:
    return pc.status is not Status.NOT_PROVISIONED


def _may_have_data(pc: RecordedCloudPC) -> bool:
    return pc.status in USABLE | {Status.IN_GRACE_PERIOD} or pc.is_lost or bool(pc.leftovers)


def _of_user(world: World, user_id: str) -> list[tuple[str, RecordedCloudPC]]:
    return [
        (name, pc) for name, stack in world.stacks.items() for pc in stack.cloud_pcs.values() if pc.user_id == user_id
    ]


def _targets(world: World, assigned: Mapping[str, datetime], user_id: str) -> bool:
    return user_id in world.users and any(user_id in world.members[group] for group in assigned)


def _licensed(world: World, desired: DesiredCloudPC) -> bool:
    return desired.service_plan.id in world.users[desired.user_id].service_plans


def _is_first(world: World, policy_id: str, assigned: Mapping[str, datetime], user_id: str) -> bool:
    """Unless the user has one of some policy already, which is that policy's then."""
    if any(_counts(pc) and not pc.is_gone for _, pc in _of_user(world, user_id)):
        return True
    return all(
        _since(world, assigned, user_id) <= _since(world, stack.assigned, user_id)
        for name, stack in world.stacks.items()
        if name != policy_id and stack.has_run and _targets(world, stack.assigned, user_id)
    )


def _since(world: World, assigned: Mapping[str, datetime], user_id: str) -> datetime:
    return min(seen for group, seen in assigned.items() if user_id in world.members[group])


def _alone(world: World, policy_id: str, desired: DesiredCloudPC) -> bool:
    """No other policy keeps one of the user in its grace period."""
    return not any(
        pc.status is Status.IN_GRACE_PERIOD and name != policy_id for name, pc in _of_user(world, desired.user_id)
    )
