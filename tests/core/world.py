"""A small world for the lifecycle: people, policies, stacks of state, one hypervisor and a clock.

A run of a stack is what a run of Pulumi is: it plans from what state and directory say now, and then records one
resource after the other, any of which may be the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cloudpc.iac import outputs
from cloudpc.model.cloud_pc import (
    USABLE,
    WAITING,
    DesiredCloudPC,
    RecordedCloudPC,
    Status,
)
from cloudpc.model.directory import Group, Snapshot
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Warned
from cloudpc.model.machines import PowerState
from cloudpc.model.outcome import Outcome
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules import findings, lifecycle, transitions
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.on_machine import OnMachine
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.lifecycle import Reconciliation, makes_machine, next_step
from cloudpc.rules.ownership import PolicyFacts
from cloudpc.rules.step import Step

from . import make, oracle

PLANS = ["small", "big"]
STEPS_TAKEN: Counter[Step | Action] = Counter()
"""Over all histories, to see that each kind of them is played."""
WITH_MACHINE = USABLE | {Status.IN_GRACE_PERIOD}


@dataclass
class Stack:
    """What state has of one policy."""

    policy_id: str
    file: ProvisioningPolicy
    actions: dict[str, dict[str, Any]] = field(default_factory=lambda: {action.name: {} for action in ACTIONS})
    template: str = "CPC-%USERNAME:5%-%RAND:5%"
    locale: str = "en-US"
    has_run: bool = False
    assigned: dict[str, datetime] = field(default_factory=dict)
    cloud_pcs: dict[str, RecordedCloudPC] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    taken_away: dict[str, Sequence[str]] = field(default_factory=dict)

    @property
    def facts(self) -> PolicyFacts:
        return PolicyFacts(self.policy_id, dict(self.assigned), dict(self.cloud_pcs), dict(self.generations))


@dataclass(frozen=True)
class Machine:
    """What the hypervisor has: the key is its identity, whoever made it."""

    policy_id: str
    generation: int


class World:
    """Stacks by policy id; the directory; the hypervisor's machines by key; the time."""

    def __init__(self, users: list[str], groups: list[str], policies: list[str]) -> None:
        self.now = make.NOW
        self.users = {u: make.user(u) for u in users}
        self.members: dict[str, set[str]] = {g: set() for g in groups}
        self.stacks = {p: Stack(p, make.policy()) for p in policies}
        self.machines: dict[str, Machine] = {}
        self.undefined: dict[str, Machine] = {}
        """Machines that somebody has taken from the hypervisor, and may give back."""
        self.refreshing = False
        """Whether runs look at each machine before they do something about it (`up --refresh`)."""
        self.silent = False
        """Whether the host does not answer when a run looks at all its machines (`cloudpc.operations.overview`)."""
        self.off: set[str] = set()
        """Keys of machines that somebody has turned off."""
        self.ends_allowed: dict[str, datetime] = {}
        """When each Cloud PC that is in grace may end."""
        self.racing = False
        """Whether two policies have ever run at once: then it is the hypervisor who refuses the second."""

    @property
    def snapshot(self) -> Snapshot:
        groups = {g: Group(g, g.title(), frozenset(m & self.users.keys())) for g, m in self.members.items()}
        return Snapshot(dict(self.users), groups, {p: make.plan(p) for p in PLANS})

    def licence(self, user: str, plans: tuple[str, ...]) -> None:
        self.users[user] = replace(self.users[user], service_plans=plans)

    def assign(self, policy_id: str, *groups: str) -> None:
        stack = self.stacks[policy_id]
        hours = stack.file.grace_period_in_hours
        stack.file = make.policy(*groups, gracePeriodInHours=hours, displayName=stack.file.display_name)

    def take_away(self, key: str) -> None:
        if key in self.machines:
            self.undefined[key] = self.machines.pop(key)

    def give_back(self, key: str) -> None:
        """As long as some policy means this very machine; one that none does is for `cloudpc doctor`, not for a run."""
        machine = self.undefined.pop(key, None)
        if machine is None or key in self.machines:
            return
        meant = self.stacks[machine.policy_id].cloud_pcs.get(key)
        has_it = meant is not None and (meant.is_lost or meant.status in WITH_MACHINE)
        if meant is not None and has_it and meant.generation == machine.generation:
            self.machines[key] = machine

    # ---- runs

    def refresh(self, policy_id: str) -> None:
        stack = self.stacks[policy_id]
        for key, recorded in stack.cloud_pcs.items():
            stack.cloud_pcs[key] = self._seen(policy_id, recorded)

    @contextmanager
    def looking(self, policy_id: str) -> Iterator[None]:
        """State as a run plans with it: as its look at the machines has found them; that is not recorded yet."""
        stack = self.stacks[policy_id]
        recorded = dict(stack.cloud_pcs)
        if not self.silent:
            self.refresh(policy_id)
        yield
        stack.cloud_pcs = recorded

    def _seen(self, policy_id: str, recorded: RecordedCloudPC) -> RecordedCloudPC:
        """What a refresh makes of it: cloudpc.operations.look.as_seen."""
        is_there = self.machines.get(recorded.key) == Machine(policy_id, recorded.generation)
        if recorded.status in WITH_MACHINE and not is_there:
            return findings.lost(recorded, "gone", self.now)
        if recorded.is_lost and is_there:
            recorded = findings.found_again(recorded, self.now)
        off = is_there and recorded.key in self.off
        return findings.powered(recorded, PowerState.STOPPED if off else PowerState.RUNNING)

    def plan(self, policy_id: str) -> tuple[Reconciliation, dict[str, datetime]]:
        """What a run of this policy decides now, and its assignments with the time they were first seen."""
        with self.looking(policy_id):
            return self._plan(policy_id)

    def _plan(self, policy_id: str) -> tuple[Reconciliation, dict[str, datetime]]:
        stack, snapshot = self.stacks[policy_id], self.snapshot
        groups = [a.target.group_id for a in stack.file.assignments]
        assigned = {g: stack.assigned.get(g, self.now) for g in groups}
        today = make.today(
            policy_id=policy_id,
            naming_template=stack.template,
            settings=make.settings(locale=stack.locale, provisioning_policy_name=stack.file.display_name),
            grace_period_in_hours=stack.file.grace_period_in_hours,
            actions=stack.actions,
        )
        siblings = [s.facts for s in self.stacks.values() if s.policy_id != policy_id and s.has_run]
        plan = lifecycle.plan(
            stack.file, snapshot, replace(stack.facts, assigned=assigned), siblings, today, self.now,
            formerly_assigned={g: g.title() for g in stack.assigned}, taken_away=dict(stack.taken_away),
        )  # fmt: skip
        oracle.check(self, policy_id, assigned, plan)
        keys = [d.key for d in plan.desired]
        assert len(keys) == len(set(keys)), "keys are unique"
        return plan, assigned

    def run(self, policy_id: str, outcome: Callable[[], Status] = lambda: Status.PROVISIONED) -> Reconciliation:
        """A whole run."""
        plan, assigned = self.plan(policy_id)
        for _ in self.steps(policy_id, plan, assigned, outcome):
            pass
        return plan

    def steps(
        self, policy_id: str, plan: Reconciliation, assigned: dict[str, datetime], outcome: Callable[[], Status]
    ) -> Iterator[None]:
        """A run, resource by resource; whoever stops asking has killed it."""
        stack = self.stacks[policy_id]
        for key, pc in stack.cloud_pcs.items():
            if pc.is_gone:
                stack.generations[key] = max(stack.generations.get(key, 0), pc.generation)
        stack.has_run, stack.assigned, stack.taken_away = True, dict(assigned), dict(plan.taken_away)
        yield
        for desired in plan.desired:
            through_inputs = DesiredCloudPC.model_validate(make.through_pulumi(inputs(desired)))
            before = stack.cloud_pcs.get(desired.key)
            if before is not None and (self.refreshing or not self.silent):
                before = stack.cloud_pcs[desired.key] = self._seen(policy_id, before)
            step = Step.PROVISION if before is None else next_step(before, through_inputs)
            if step is not Step.NONE:
                self._take(stack, step, before, through_inputs, outcome)
            yield
        for key in [k for k, pc in stack.cloud_pcs.items() if pc.is_gone and k not in {d.key for d in plan.desired}]:
            del stack.cloud_pcs[key]  # the engine's delete comes last
            yield

    def _take(
        self,
        stack: Stack,
        step: Step | Action,
        before: RecordedCloudPC | None,
        desired: DesiredCloudPC,
        outcome: Callable[[], Status],
    ) -> None:
        key = desired.key
        STEPS_TAKEN[step] += 1
        if before is None or makes_machine(before, desired):
            if step is REPROVISION:
                assert before is not None
                assert desired.generation > max(before.generation, before.waived_generation)
                assert before.status is not Status.IN_GRACE_PERIOD, "who comes back has nothing rebuilt"
                self.undefined.pop(key, None)
                self._remove(stack, key)
            if before is not None and before.status not in WAITING:
                asked_for = desired.generation > before.generation or desired.retry > before.retry
                assert asked_for, "what exists or has failed is made again only if somebody asks for it"
                assert step is REPROVISION or not before.is_lost, "what is lost is made again only by a reprovision"
            found = self.machines.get(key)
            if found is not None and found.policy_id != stack.policy_id:
                assert self.racing, "another policy's Cloud PC is waited for"
                self._record(stack, transitions.provisioned(desired, REFUSED, self.now, before))
                return
            status = outcome()
            if status in USABLE:
                self.off.discard(key)
                self.machines[key] = Machine(stack.policy_id, desired.generation)
            self._record(stack, transitions.provisioned(desired, _outcome(status), self.now, before))
            return
        if isinstance(step, Action):
            assert before.status in USABLE
            is_there = self.machines.get(key) == Machine(stack.policy_id, before.generation)
            power = getattr(step, "power", "running")
            if power is not None:
                (self.off.discard if power == "running" else self.off.add)(key)
            came = outcome() if is_there else Status.FAILED
            self._record(stack, self._on_the_machine(step, before, desired, came))
            return
        match step:
            case Step.BEGIN_GRACE:
                assert before.status_if_there in USABLE
                end = desired.grace_period_end_date_time
                assert end is not None
                self.ends_allowed[key] = end
                self._record(stack, transitions.grace_begun(before, desired, self.now))
            case Step.RESTORE:
                self._record(stack, transitions.restored(before, desired, self.now))
            case Step.START:
                assert key in self.off or key not in self.machines
                self.off.discard(key)
                self._record(stack, transitions.started(before, "was off, started", self.now))
            case Step.END:
                if before.status_if_there in WITH_MACHINE:  # data of a lost one may be there
                    asked = stack.actions["endGrace"].get(key) == before.grace_period_end_date_time
                    assert before.status_if_there is Status.IN_GRACE_PERIOD, "nothing ends without a grace period"
                    assert asked or self.now >= self.ends_allowed[key], "nothing ends before its grace is over"
                left = () if outcome() is not Status.FAILED else ("its machine on local: away",)
                if not left:
                    self._remove(stack, key)
                    self.undefined.pop(key, None)
                self._record(stack, transitions.ended(before, desired, left, self.now))

    def _on_the_machine(
        self, step: Action, before: RecordedCloudPC, desired: DesiredCloudPC, came: Status
    ) -> RecordedCloudPC:
        """Only what was done is recorded; what could not be done is asked for again."""
        if came in (Status.FAILED, Status.PENDING_PROVISION):
            return before
        if step is RETRY:
            assert desired.retry > before.retry
            assert before.failed_extras
            return transitions.set_up_again(before, desired, _outcome(came).warnings, self.now)
        assert isinstance(step, OnMachine)
        assert step.count(desired) > step.count(before)
        return transitions.acted(step.after(before, desired), "done", self.now)

    def _remove(self, stack: Stack, key: str) -> None:
        found = self.machines.get(key)
        if found is not None and found.policy_id == stack.policy_id:
            del self.machines[key]

    def _record(self, stack: Stack, pc: RecordedCloudPC) -> None:
        before = stack.cloud_pcs.get(pc.key)
        written = outputs.written(pc, outputs.written(before) if before else None)
        stack.cloud_pcs[pc.key] = outputs.read(make.through_pulumi(written))

    def pass_time(self, hours: float) -> None:
        self.now += timedelta(hours=hours)


def _outcome(status: Status) -> Outcome:
    warned = (Warned(ErrorCode.LOCALE_FAILED, "no such locale"),)
    return Outcome(status, 1, "local", warnings=warned if status is Status.PROVISIONED_WITH_WARNINGS else ())


REFUSED = _outcome(Status.NOT_PROVISIONED)


def inputs(desired: DesiredCloudPC) -> dict[str, Any]:
    """As they go to the engine."""
    return desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)
