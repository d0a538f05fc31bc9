"""What becomes of each Cloud PC: previous state, entitlements and the clock in, desired Cloud PCs out. Pure and total.

The rules are those of docs/rules.md. Sources: Windows 365 "Provisioning", "Device management overview", "Grace period".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cloudpc.model.cloud_pc import USABLE, WAITING, WITH_MACHINE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.directory import Snapshot
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules import entitlement, grace, ownership, staying
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action
from cloudpc.rules.anew import Anew
from cloudpc.rules.decision import Decision
from cloudpc.rules.entitlement import Entitlement, Loss
from cloudpc.rules.kept import as_it_is
from cloudpc.rules.notices import New, NewByNextRun, Notice, NotRemovedWhole, UnknownKey
from cloudpc.rules.ownership import OwnFacts, PolicyFacts
from cloudpc.rules.step import Step
from cloudpc.rules.today import Today


def next_step(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> Step | Action[Any]:
    """Total: every pair has an answer. A policy edit alone is none, since kept ones are asked to be what they are."""
    if desired.desired_status is Status.DEPROVISIONING:
        # one that works never ends without its grace: a refresh has found it well after the run was planned
        return Step.NONE if recorded.is_gone or recorded.status in USABLE else Step.END
    if recorded.status is Status.DEPROVISIONING:
        return Step.NONE  # what has ended is not restored
    if desired.desired_status is Status.IN_GRACE_PERIOD:
        return Step.BEGIN_GRACE if recorded.status_if_there in USABLE else _stay(recorded)
    return _next_of_one_that_stays(recorded, desired)


def _next_of_one_that_stays(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> Step | Action[Any]:
    """In order of precedence, which is that of `staying.decide`."""
    if recorded.status is Status.IN_GRACE_PERIOD:
        return Step.RESTORE  # and nothing else, whatever was asked for meanwhile: somebody's data is on it
    for action in ACTIONS:
        if action.is_due(recorded, desired):
            return action
    if recorded.status_if_there is Status.IN_GRACE_PERIOD:
        return Step.RESTORE
    return Step.PROVISION if recorded.status in WAITING else _stay(recorded)


def _stay(recorded: RecordedCloudPC) -> Step:
    return Step.START if recorded.stands_still else Step.NONE


def makes_machine(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
    """Whether its user is given another machine than the one that state knows."""
    step = next_step(recorded, desired)
    return step is Step.PROVISION or (isinstance(step, Action) and step.makes_machine(recorded))


@dataclass(frozen=True)
class Reconciliation:
    """The desired Cloud PCs of one policy, and what to tell about them."""

    desired: tuple[DesiredCloudPC, ...]
    notices: tuple[Notice, ...]
    lost_by_directory: tuple[str, ...] = ()
    """Keys of those that enter grace now because of the directory: many at once are more likely its fault."""
    taken_away: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids of the groups whose assignment was taken away, by key: a later run must not blame the directory."""


def plan(
    policy: ProvisioningPolicy,
    snapshot: Snapshot,
    own: OwnFacts,
    siblings: Iterable[PolicyFacts],
    today: Today,
    now: datetime,
    *,
    formerly_assigned: Mapping[str, str] | None = None,
    taken_away: Mapping[str, Sequence[str]] | None = None,
) -> Reconciliation:
    """What one run of one policy makes of the world: whose users are its own, who is owed what, what becomes of each.

    Args:
        policy: as it is now.
        snapshot: the directory as it is now.
        own: this policy's assignments now, and its Cloud PCs as state has them.
        siblings: what state has of the other policies that have run.
        today: what new Cloud PCs are made with.
        now: with a time zone.
        formerly_assigned: the groups that this policy's last run was assigned to: ids, and how they are called.
        taken_away: what the last run made of that, which may have been killed before it recorded anything else.
    """
    siblings, former, before = list(siblings), dict(formerly_assigned or {}), taken_away or {}
    previous = {key: _named_as_now(recorded, snapshot) for key, recorded in own.cloud_pcs.items()}
    owed = _owed(policy, snapshot, own, siblings, previous)
    keys = {entitled.key for entitled in owed}
    lost = {
        key: entitlement.loss(
            policy,
            snapshot,
            pc.user_id,
            pc.service_plan.id,
            dict.fromkeys(before.get(key, ()), "another group") | former,
        )
        for key, pc in previous.items()
        if key not in keys
    }
    last = ownership.last_generations([own, *siblings])
    names = [pc.device_name for policy in siblings for pc in policy.cloud_pcs.values()]
    plan = reconcile(previous, owed, lost, today, now, last, remembered=own.ended.keys(), names_elsewhere=names)
    # a group that has left the directory since makes no difference to what was taken away: nothing is to be told of it
    groups = {key: why.taken_away or tuple(before.get(key, ())) for key, why in lost.items()}
    return replace(plan, taken_away={k: ids for k, ids in groups.items() if ids and not previous[k].is_gone})


def _owed(
    policy: ProvisioningPolicy,
    snapshot: Snapshot,
    own: PolicyFacts,
    siblings: list[PolicyFacts],
    previous: Mapping[str, RecordedCloudPC],
) -> list[Entitlement]:
    """What this policy owes: to users that are its own, and what no other policy still has."""
    serving, elsewhere = ownership.owners([own, *siblings], snapshot), ownership.held(siblings)
    kept = {key for key, pc in previous.items() if pc.status in WITH_MACHINE}
    return [
        entitled
        for entitled in entitlement.entitled(policy, snapshot)
        # what is left of another policy's entry keeps us from making one, not from keeping the one its user works on
        if serving[entitled.user.id] == own.policy_id and (entitled.key not in elsewhere or entitled.key in kept)
    ]


def _named_as_now(recorded: RecordedCloudPC, snapshot: Snapshot) -> RecordedCloudPC:
    """State has the user's name at its last change; a user who has left the directory keeps that one."""
    user = snapshot.users.get(recorded.user_id)
    return recorded.model_copy(update={"user_principal_name": user.user_principal_name}) if user else recorded


def reconcile(
    previous: Mapping[str, RecordedCloudPC],
    owed: Iterable[Entitlement],
    lost: Mapping[str, Loss],
    today: Today,
    now: datetime,
    last_generations: Mapping[str, int] | None = None,
    remembered: Iterable[str] = (),
    names_elsewhere: Iterable[str] = (),
) -> Reconciliation:
    """Decide for every Cloud PC that is recorded or owed.

    Args:
        previous: what this policy's state remembers, by key.
        owed: what the policy owes now: the user is its own, and no other policy still has one of that plan.
        lost: for each recorded one that is not owed, why (`entitlement.loss`).
        today: the policy as it is now.
        now: with a time zone.
        last_generations: of those there have been, by key, so that a device name is not given again.
        remembered: keys of those that this policy had before: who asked for something of them did not mistype.
        names_elsewhere: device names of other policies' Cloud PCs: no new one is called so.
    """
    entitlements = {e.key: e for e in owed}
    anew = Anew(today, previous.values(), last_generations, names_elsewhere)
    desired: list[DesiredCloudPC] = []
    notices: list[Notice] = []
    by_directory: list[str] = []
    keys = previous.keys() | entitlements.keys()
    for key in sorted(keys):
        recorded = previous.get(key)
        if recorded is not None and recorded.is_gone:  # the engine's delete has nothing left to do
            if key in entitlements:
                notices.append(Notice(key, NewByNextRun(), _who(recorded, recorded)))
            continue
        decision = _decide(recorded, entitlements.get(key), lost.get(key), today, now, anew)
        desired.append(decision.desired)
        who = _who(decision.desired, recorded)
        notices += [Notice(key, reason, who) for reason in decision.told]
        if recorded is not None and grace.begins(recorded, decision.desired) and lost[key].by_directory:
            by_directory.append(key)
    notices += _of_unknown({*keys, *remembered}, today)
    return Reconciliation(tuple(desired), tuple(notices), tuple(by_directory))


def _decide(
    recorded: RecordedCloudPC | None,
    owed: Entitlement | None,
    loss: Loss | None,
    today: Today,
    now: datetime,
    anew: Anew,
) -> Decision:
    if recorded is None:
        assert owed is not None  # noqa: S101 - the key comes from one of the two
        return Decision(anew.first(owed), (New(today.settings.image_id),))
    if recorded.status is Status.DEPROVISIONING:
        return Decision(as_it_is(recorded), (NotRemovedWhole(recorded.leftovers),))
    if owed is None:
        assert loss is not None  # noqa: S101 - there is one for each that is not owed
        return grace.leaving(recorded, loss, today, now)
    return staying.decide(recorded, owed, today, anew)


def _who(desired: DesiredCloudPC, recorded: RecordedCloudPC | None) -> str:
    return f"{desired.user_principal_name} ({(recorded or desired).service_plan.display_name})"


def _of_unknown(known: Set[str], today: Today) -> list[Notice]:
    return [
        Notice(key, UnknownKey(action.name, key))
        for action in ACTIONS
        for key in sorted(today.actions.get(action.name, {}).keys() - known)
    ]
