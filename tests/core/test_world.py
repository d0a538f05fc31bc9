"""Random histories of people, policies, runs and clocks: the rules of docs/rules.md hold after each step."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cloudpc.model.cloud_pc import USABLE, Status
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.end_grace import END_GRACE, AnotherEnd
from cloudpc.rules.actions.power import POWER_OFF, POWER_ON, RESTART
from cloudpc.rules.actions.reasons import Ignored
from cloudpc.rules.actions.rename import RENAME, DisplayName
from cloudpc.rules.actions.reprovision import REPROVISION, GenerationIsOver
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.actions.troubleshoot import TROUBLESHOOT
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL
from cloudpc.rules.asked import generation_of
from cloudpc.rules.lifecycle import next_step
from cloudpc.rules.notices import UnknownKey
from cloudpc.rules.ownership import owners
from cloudpc.rules.step import Step
from tests.fakes.added_action.sign_out import SignOut

from . import make
from .world import PLANS, STEPS_TAKEN, WITH_MACHINE, World

USERS, GROUPS, POLICIES = ["u1", "u2", "u3"], ["g1", "g2"], ["a", "b", "c"]
_OUTCOMES = st.sampled_from(
    [Status.PROVISIONED] * 2 + [Status.PROVISIONED_WITH_WARNINGS] * 2 + [Status.FAILED, Status.PENDING_PROVISION]
)
STEPS = int(os.environ.get("CLOUDPC_WORLD_STEPS", "10000"))
"""Of all histories together; `make world` plays a million."""
_STEPS_EACH = 40
_SIGN_OUT = SignOut()
"""A remote action that the rules do not know by name."""
_ON_MACHINE = [UPDATE_KERNEL, POWER_OFF, RESTART, POWER_ON, TROUBLESHOOT, RENAME, _SIGN_OUT]

users, groups, policies = (st.sampled_from(names) for names in (USERS, GROUPS, POLICIES))


class Histories(RuleBasedStateMachine):
    """Each rule is something people, clocks or runs do."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(USERS, GROUPS, POLICIES)
        self.raced = False
        """Two first runs at once may give a user Cloud PCs of two policies; the rules then end one of them."""
        for user in USERS:  # a world in which something happens from the first step on
            self.world.licence(user, ("small",))
            self.world.members["g1"].add(user)
        self.world.assign("a", "g1")
        first = iter([Status.PROVISIONED_WITH_WARNINGS])
        self.world.run("a", lambda: next(first, Status.PROVISIONED))

    # ---- people

    @rule(user=users, group=groups)
    def join(self, user: str, group: str) -> None:
        self.world.members[group].add(user)

    @rule(user=users, group=groups)
    def leave(self, user: str, group: str) -> None:
        self.world.members[group].discard(user)

    @rule(user=users, plans=st.lists(st.sampled_from(PLANS), unique=True))
    def license(self, user: str, plans: list[str]) -> None:
        if user in self.world.users:
            self.world.licence(user, tuple(plans))

    @rule(user=users)
    def rename(self, user: str) -> None:
        if user in self.world.users:
            known = self.world.users[user]
            self.world.users[user] = replace(known, user_principal_name=f"x.{known.user_principal_name}"[:100])

    @rule(user=users)
    def remove_or_bring_back(self, user: str) -> None:
        if self.world.users.pop(user, None) is None:
            self.world.users[user] = make.user(user, "small")

    # ---- admins

    @rule(policy=policies, assigned=st.lists(groups, unique=True))
    def assign(self, policy: str, assigned: list[str]) -> None:
        self.world.assign(policy, *assigned)

    @rule(policy=policies, locale=st.sampled_from(["de-DE", "fr-FR"]), name=st.sampled_from(["One", "Two"]))
    def edit(self, policy: str, locale: str, name: str) -> None:
        before, _ = self.world.plan(policy)
        stack = self.world.stacks[policy]
        stack.locale, stack.template = locale, "PC-%RAND:6%"
        stack.file = stack.file.model_copy(update={"display_name": name})
        after, _ = self.world.plan(policy)
        existing = {k for k, pc in stack.cloud_pcs.items() if pc.status in WITH_MACHINE or pc.status is Status.FAILED}
        asked = {key for action in (REPROVISION, RETRY, *_ON_MACHINE) for key in stack.actions[action.name]}
        kept = existing - asked
        assert [d for d in before.desired if d.key in kept] == [d for d in after.desired if d.key in kept]

    @rule(policy=policies, hours=st.sampled_from([0, 1, 168]))
    def set_grace_period(self, policy: str, hours: int) -> None:
        stack = self.world.stacks[policy]
        stack.file = stack.file.model_copy(update={"grace_period_in_hours": hours})

    @rule(policy=policies, data=st.data(), what=st.sampled_from([REPROVISION, REPROVISION, RETRY, *_ON_MACHINE]))
    def ask(self, policy: str, data: st.DataObject, what: Action) -> None:
        stack = self.world.stacks[policy]
        key = data.draw(st.sampled_from(sorted(stack.cloud_pcs) or ["u1/small", "u2/big"]))
        recorded = stack.cloud_pcs.get(key)
        now = 0 if recorded is None else what.count(recorded)
        stack.actions[what.name][key] = _asked(what, max(generation_of(stack.actions[what.name].get(key)), now) + 1)

    @rule(policy=policies, data=st.data())
    def retry_or_act_on_all(self, policy: str, data: st.DataObject) -> None:
        actions, cloud_pcs = self.world.stacks[policy].actions, self.world.stacks[policy].cloud_pcs.items()
        actions["retry"] |= {key: pc.retry + 1 for key, pc in cloud_pcs if pc.failed_extras}
        for action in data.draw(
            st.lists(st.sampled_from([REPROVISION, *_ON_MACHINE]), min_size=1, max_size=3, unique=True)
        ):
            actions[action.name] |= {key: _asked(action, action.count(pc) + 1) for key, pc in cloud_pcs}
        self.world.run(policy, lambda: data.draw(_OUTCOMES))

    @rule(policy=policies, data=st.data(), what=st.sampled_from([REPROVISION, RETRY, *_ON_MACHINE]))
    def ask_and_run(self, policy: str, data: st.DataObject, what: Action) -> None:
        """As the commands do."""
        self.ask(policy, data, what)
        self.world.run(policy, lambda: data.draw(_OUTCOMES))

    @rule(user=users)
    def leave_and_return(self, user: str) -> None:
        """Each noticed by a run of every policy."""
        groups, self.world.members = self.world.members, {g: m - {user} for g, m in self.world.members.items()}
        self.up_of_all()
        self.world.members = groups
        self.up_of_all()

    @rule(policy=policies, data=st.data(), hours=st.sampled_from([0, 0, 0, 1]))
    def end_grace(self, policy: str, data: st.DataObject, hours: float) -> None:
        """As the command writes it, or with a time that is not the end of this grace period."""
        stack = self.world.stacks[policy]
        ends = {key: pc.grace_period_end_date_time for key, pc in stack.cloud_pcs.items()}
        if keys := sorted(key for key, end in ends.items() if end is not None):
            key = data.draw(st.sampled_from(keys))
            stack.actions["endGrace"][key] = (ends[key] or self.world.now) + timedelta(hours=hours)

    @rule(user=users, plan=st.sampled_from(PLANS))
    def turn_off(self, user: str, plan: str) -> None:
        self.world.off |= {key for key in (f"{user}/{plan}", f"{user}/small") if key in self.world.machines}

    @rule(user=users, plan=st.sampled_from(PLANS))
    def undefine(self, user: str, plan: str) -> None:
        self.world.take_away(f"{user}/{plan}")

    @rule(user=users, plan=st.sampled_from(PLANS))
    def define_again(self, user: str, plan: str) -> None:
        self.world.give_back(f"{user}/{plan}")

    @rule(hours=st.sampled_from([0.1, 1, 24, 200, -2]))
    def clock(self, hours: float) -> None:
        self.world.pass_time(hours)

    # ---- runs

    @rule(policy=policies, data=st.data(), silent=st.sampled_from([False, False, True]))
    def up(self, policy: str, data: st.DataObject, silent: bool) -> None:
        self.world.silent = silent
        self.world.run(policy, lambda: data.draw(_OUTCOMES))
        self.world.silent = False

    @rule(policy=policies, data=st.data())
    def up_with_refresh(self, policy: str, data: st.DataObject) -> None:
        """Planned of what state said before."""
        self.world.refreshing = self.world.silent = True
        self.world.run(policy, lambda: data.draw(_OUTCOMES))
        self.world.refreshing = self.world.silent = False

    @rule()
    def up_of_all(self) -> None:
        for policy in POLICIES:
            self.world.run(policy)

    @rule(policy=policies)
    def refresh(self, policy: str) -> None:
        self.world.refresh(policy)

    @rule(policy=policies, data=st.data(), after=st.integers(0, 6))
    def up_that_is_killed(self, policy: str, data: st.DataObject, after: int) -> None:
        plan, assigned = self.world.plan(policy)
        run = self.world.steps(policy, plan, assigned, lambda: data.draw(_OUTCOMES))
        for _ in range(after):
            if next(run, "over") == "over":
                break

    @rule(two=st.lists(policies, min_size=2, max_size=2, unique=True), data=st.data())
    def two_at_once(self, two: list[str], data: st.DataObject) -> None:
        before, self.world.racing = self._policies_by_user(), True
        runs = []
        for policy in two:
            plan, assigned = self.world.plan(policy)
            runs.append(self.world.steps(policy, plan, assigned, lambda: data.draw(_OUTCOMES)))
        while runs:
            run = data.draw(st.sampled_from(runs))
            if next(run, "over") == "over":
                runs.remove(run)
        after = self._policies_by_user()
        self.raced |= any(len(after[user]) > 1 >= len(before[user]) for user in after)

    # ---- what must hold

    def _policies_by_user(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {user: set() for user in USERS}
        for stack in self.world.stacks.values():
            for pc in stack.cloud_pcs.values():
                if pc.status in USABLE:
                    found[pc.user_id].add(stack.policy_id)
        return found

    @invariant()
    def one_cloud_pc_per_user_and_plan_over_all_policies(self) -> None:
        held = Counter(
            key for s in self.world.stacks.values() for key, pc in s.cloud_pcs.items() if pc.status in WITH_MACHINE
        )
        assert not [key for key, count in held.items() if count > 1]

    @invariant()
    def what_state_has_is_there_and_of_its_generation(self) -> None:
        for stack in self.world.stacks.values():
            for key, pc in stack.cloud_pcs.items():
                machine = self.world.machines.get(key)
                if pc.status in WITH_MACHINE:
                    machine = machine or self.world.undefined.get(key)
                    assert machine is not None
                    assert (machine.policy_id, machine.generation) == (stack.policy_id, pc.generation)
                elif (pc.status is Status.FAILED and not pc.is_lost) or pc.is_gone:
                    assert machine is None or machine.policy_id != stack.policy_id

    @invariant()
    def a_user_is_served_by_one_policy(self) -> None:
        if not self.raced:
            assert not [user for user, serving in self._policies_by_user().items() if len(serving) > 1]

    @invariant()
    def every_stack_gives_the_same_answer(self) -> None:
        facts = [stack.facts for stack in self.world.stacks.values() if stack.has_run]
        answers = owners(facts, self.world.snapshot)
        assert answers == owners(list(reversed(facts)), self.world.snapshot)
        for user, serving in self._policies_by_user().items():
            if len(serving) == 1:
                assert answers[user] in serving, "who has a Cloud PC that is not in grace keeps its policy"

    @invariant()
    def what_is_kept_off_is_started_by_no_run(self) -> None:
        for policy, stack in self.world.stacks.items():
            plan, _ = self.world.plan(policy)
            for desired in plan.desired:
                recorded = stack.cloud_pcs.get(desired.key)
                if recorded is not None and recorded.is_kept_off:
                    assert next_step(recorded, desired) is not Step.START

    @invariant()
    def device_names_are_given_once(self) -> None:
        for stack in self.world.stacks.values():
            names = [pc.device_name.lower() for pc in stack.cloud_pcs.values()]
            assert len(names) == len(set(names))

    @invariant()
    def nothing_is_told_where_nothing_happens(self) -> None:
        for policy, stack in self.world.stacks.items():
            plan, _ = self.world.plan(policy)
            with self.world.looking(policy):
                seen = dict(stack.cloud_pcs)
            doing = {d.key for d in plan.desired if d.key not in seen or next_step(seen[d.key], d) is not Step.NONE}
            doing |= {key for key, pc in seen.items() if pc.is_gone}  # their entries go
            of_cloud_pcs = [n for n in plan.notices if not isinstance(n.reason, UnknownKey)]
            ignored = (Ignored, AnotherEnd, GenerationIsOver)
            told = {notice.key for notice in of_cloud_pcs if not isinstance(notice.reason, ignored)}
            for notice in of_cloud_pcs:
                user = self.world.users.get(notice.key.partition("/")[0])
                assert user is None or notice.message.startswith(f"{user.user_principal_name} ("), "the present name"
            told -= {k for k, pc in seen.items() if pc.status is Status.FAILED}
            assert told <= doing

    def teardown(self) -> None:
        """Left alone, with everything entitled taken away and time passed, every world becomes empty."""
        for policy in POLICIES:
            self.world.assign(policy)
        for _ in range(5):
            self.world.pass_time(200)
            for policy in POLICIES:
                self.world.run(policy)
        assert self.world.machines == {}
        assert [stack.cloud_pcs for stack in self.world.stacks.values()] == [{}, {}, {}]


def _asked(what: Action, generation: int) -> int | DisplayName:
    return DisplayName(generation=generation, displayName=f"{generation}") if what is RENAME else generation


@pytest.fixture(autouse=True)
def sign_out() -> Iterator[None]:
    ACTIONS.append(_SIGN_OUT)
    yield
    ACTIONS.remove(_SIGN_OUT)


def test_histories() -> None:
    STEPS_TAKEN.clear()
    histories = settings(max_examples=max(1, STEPS // _STEPS_EACH), stateful_step_count=_STEPS_EACH)
    run_state_machine_as_test(Histories, settings=histories)  # type: ignore[no-untyped-call]
    steps = {*Step, *ACTIONS} - {Step.NONE, END_GRACE}
    # how often depends on what else is imported, whose constants hypothesis tries, too: a few thousand say little
    least = STEPS // 2500 if STEPS > 100_000 else 1
    rare = {step: STEPS_TAKEN[step] for step in steps if STEPS_TAKEN[step] < least}
    assert not rare, "what hardly ever happens is not tested"
