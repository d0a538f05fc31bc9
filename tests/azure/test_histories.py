"""Random histories of two policies over two hosts in Azure: whatever fails and whoever is killed, the rules hold.

`CLOUDPC_AZURE_STEPS` says how many steps are taken, `CLOUDPC_AZURE_SEED` with which history they begin: each is one of
its own, and what has happened is told when something does not hold.
"""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.configuration.parsing import parse_surroundings
from cloudpc.machines.azure import arm as driver_arm
from cloudpc.machines.azure import parts
from cloudpc.machines.azure.names import machine_named_in, name_of
from cloudpc.machines.azure.tags import from_tags
from cloudpc.model import watch
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.directory import Group, Snapshot
from cloudpc.model.tags import Phase
from cloudpc.operations.runtime import Runtime
from cloudpc.operations.steps import Steps
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.provisioning import stages
from cloudpc.rules import lifecycle
from cloudpc.rules.ownership import OwnFacts
from tests.azure.account import Account
from tests.azure.api_network import NETWORK
from tests.azure.arm import FakeArm
from tests.azure.client import Http
from tests.azure.life import PLAN, Lines, is_killed, settings
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.machine import DISK, INTERFACE, KIND, machine_of
from tests.azure.resources import Resource
from tests.core import make
from tests.support.azure import entry

STEPS = int(os.environ.get("CLOUDPC_AZURE_STEPS", "60"))
"""Of all histories together."""
SEED = int(os.environ.get("CLOUDPC_AZURE_SEED", "1"))
_STEPS_EACH = 20
USERS, POLICIES = ["alice", "bob"], ["lab", "office"]
PASSWORD = "CANARY-k7Rq2-wXy9Z"
_READS = {"actions": ["*/read"], "notActions": [], "dataActions": [], "notDataActions": []}
_ALL = {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
_MAKE, _END = "VirtualMachines_CreateOrUpdate", "VirtualMachines_Delete"
_FAULTS = [
    (_MAKE, "AllocationFailed", True), (_MAKE, "SkuNotAvailable", False), (_MAKE, "OSProvisioningTimedOut", True),
    (_MAKE, "ServerTimeout", False), ("*", "InternalServerError", False), ("*", "TooManyRequests", False),
    ("NetworkInterfaces_CreateOrUpdate", "SubnetIsFull", False), ("*_Delete", "AnotherOperationInProgress", False),
    (_END, "InternalExecutionError", True), ("NetworkInterfaces_Delete", "NicReservedForAnotherVm", False),
    ("Disks_Delete", "OperationNotAllowed", False), ("Tags_*", "ServiceUnavailable", False),
    ("VirtualMachineRunCommands_CreateOrUpdate", "Conflict", False), ("*_List*", "GatewayTimeout", False),
]  # fmt: skip
"""Operation, what it is answered, whether only in the end."""


class Policy:
    """A stack: what its runs have recorded, what it is assigned to, what is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: dict[str, RecordedCloudPC] = {}
        self.ended: dict[str, int] = {}
        self.members: set[str] = set()
        self.asked: dict[str, int] = {}
        self.lines = Lines()

    @property
    def group(self) -> str:
        return f"group-{self.name}"

    @property
    def facts(self) -> OwnFacts:
        return OwnFacts(self.name, {self.group: make.NOW}, dict(self.state), dict(self.ended))


class World:
    """Two policies, two hosts, people, and others' things. What is in `_STORIES` happens by chance."""

    def __init__(self, arms: list[FakeArm], folder: Path, chance: random.Random) -> None:
        self.arms = arms
        self.folder = folder
        self.chance = chance
        self.policies = {name: Policy(name) for name in POLICIES}
        self.now = make.NOW
        self.told: list[str] = []
        self.lost_tags: dict[str, dict[str, str]] = {}
        self.given: dict[str, tuple[str, str, int]] = {}
        """Machines that were handed over, by vmId: their name, policy and generation."""
        self.may_go: set[str] = set()
        """vmIds of machines that somebody has deleted from outside."""
        self.others = [copy.deepcopy(self._others(arm)) for arm in arms]
        self.entries = [entry(arm, f"host-{number}") for number, arm in enumerate(arms)]

    # ---- runs

    def up(self, policy: Policy, young: timedelta = timedelta(0)) -> None:
        """As the engine has it done: tidying, then each Cloud PC, recorded and then handed over."""
        with pytest.MonkeyPatch.context() as patched, ExitStack() as stack:
            patched.setattr(parts, "YOUNG", young)
            runtime = self._runtime(stack)
            desired = self._planned(policy)
            for key, pc in list(policy.state.items()):
                if pc.is_gone:
                    policy.ended[key] = max(policy.ended.get(key, 0), pc.generation)
                    del policy.state[key]
            known = {pc.machine_id: pc for pc in policy.state.values()}
            living = {key: pc for key, pc in known.items() if pc.has_machine}
            wanted = [each.machine_id for each in desired if _is_made(policy.state.get(each.key), each)]
            tidy(runtime.hosts, runtime.removal, Meant(make.INSTALLATION, policy.name, living, wanted, list(known)))
            for each in desired:
                self._step(runtime, policy, each)

    def _step(self, runtime: Runtime, policy: Policy, desired: DesiredCloudPC) -> None:
        steps = Steps(runtime, policy.lines, Cancellation(), lambda: self.now)
        recorded = policy.state.get(desired.key)
        made = steps.provision(desired) if recorded is None else steps.update(recorded, desired)
        policy.state[desired.key] = made
        if made.has_machine:
            runtime.hand_over(str(made.machine_id), made.host)

    def refresh(self, policy: Policy) -> None:
        with ExitStack() as stack:
            runtime = self._runtime(stack)
            steps = Steps(runtime, policy.lines, Cancellation(), lambda: self.now)
            for key, recorded in list(policy.state.items()):
                policy.state[key] = steps.refresh(recorded)

    def _planned(self, policy: Policy) -> list[DesiredCloudPC]:
        users = {user: make.user(user, PLAN.id) for user in USERS}
        groups = {p.group: Group(p.group, p.group, frozenset(p.members)) for p in self.policies.values()}
        today = make.today(
            policy_id=policy.name, settings=settings(local_admin_enabled=True),
            actions=make.asked(reprovision=policy.asked),
        )  # fmt: skip
        siblings = [p.facts for p in self.policies.values() if p is not policy]
        plan = lifecycle.plan(
            make.policy(policy.group), Snapshot(users, groups, {PLAN.id: PLAN}), policy.facts, siblings, today, self.now
        )
        return list(plan.desired)

    def _runtime(self, stack: ExitStack) -> Runtime:
        runtime = Runtime(parse_surroundings({"cloudpc:hosts": self.entries}), self.folder, self.told.append)
        for host in runtime.hosts:
            stack.callback(host.close)
        return runtime

    # ---- what happens

    def step(self) -> None:
        """One of them, by chance, and what must hold after it."""
        story = self.chance.choice(_STORIES)
        before = self._asked()
        self.told.append(story.__name__)
        story(self)
        self._holds(before)

    def _policy(self) -> Policy:
        return self.policies[self.chance.choice(POLICIES)]

    def _arm(self) -> FakeArm:
        return self.chance.choice(self.arms)

    def _user(self) -> str:
        return self.chance.choice(USERS)

    def some_run(self) -> None:
        self.up(self._policy(), self.chance.choice([timedelta(0), parts.YOUNG]))

    def killed_run(self) -> None:
        policy, after = self._policy(), self.chance.choice([0, 1, 2, 3, 5, 8, 13, 20, 30, 40])
        self.told.append(f"{policy.name} is killed after {after} requests")
        if is_killed(after, partial(self.up, policy)):
            self._pass(self.chance.choice([0, 1200]))

    def some_refresh(self) -> None:
        self.refresh(self._policy())

    def join(self) -> None:
        self._policy().members.add(self._user())

    def leave(self) -> None:
        self._policy().members.discard(self._user())

    def reprovision(self) -> None:
        policy = self._policy()
        for key in list(policy.state)[: self.chance.randint(1, 2)]:
            policy.asked[key] = policy.state[key].generation + 1
        self.up(policy)

    def days_pass(self) -> None:
        self.now += timedelta(days=self.chance.choice([1, 8]))
        self._pass(1200)

    def minutes_pass(self) -> None:
        self._pass(self.chance.choice([10, 181, 1200]))

    def fault(self) -> None:
        operation, code, late = self.chance.choice(_FAULTS)
        times, skip = self.chance.choice([1, 1, 2, 9, None]), self.chance.choice([0, 0, 1, 3])
        self.told.append(f"{operation}: {code} {times} times after {skip}")
        self._arm().fail(operation, code, times=times, asynchronous=late, skip=skip)

    def lost_answer(self) -> None:
        self._arm().drop("*", when=self.chance.choice(["before", "after"]), times=self.chance.choice([1, 2, 4]),
                         skip=self.chance.randint(0, 20))  # fmt: skip

    def faults_go(self) -> None:
        for arm in self.arms:
            _heal(arm)

    def lists_lag(self) -> None:
        self._arm().delays.lists = self.chance.choice([0, 30, 600])

    def slowness(self) -> None:
        delays = self._arm().delays
        delays.deletion = self.chance.choice([0, 30, 400])
        delays.allocation = delays.provisioning = delays.run_command = self.chance.choice([0, 20])

    def lock(self) -> None:
        arm = self._arm()
        arm.locks[arm.account.group_id] = self.chance.choice(["CanNotDelete", "ReadOnly"])

    def role_revoked(self) -> None:
        arm = self._arm()
        if self.chance.random() < 0.5:
            arm.revoked_at = arm.request_count + self.chance.randint(1, 60)
        else:
            arm.permissions = [_READS]

    def shut_down(self) -> None:
        for _arm, resource in self._machines():
            if machine_of(resource).allocated:
                machine_of(resource).power = self.chance.choice(["stopped", "deallocated"])

    def deleted_from_outside(self) -> None:
        found = list(self._machines())
        if found and self.chance.random() < 0.5:
            arm, resource = self.chance.choice(found)
            self.may_go.add(resource.properties["vmId"])
            _heal(arm)
            with Http(arm) as http:
                http.delete(f"virtualMachines/{resource.name}")

    def tags_vanish(self) -> None:
        found = list(self._machines())
        if found:
            _, resource = self.chance.choice(found)
            if resource.body["tags"] and resource.properties["vmId"] not in self.lost_tags:
                self.lost_tags[resource.properties["vmId"]] = resource.tags
                resource.body["tags"] = {}

    def tags_return(self) -> None:
        for _arm, resource in self._machines():
            if tags := self.lost_tags.pop(resource.properties["vmId"], None):
                resource.body["tags"] = tags

    def _pass(self, seconds: float) -> None:
        for arm in self.arms:
            arm.clock.advance(seconds)

    # ---- what must hold

    def _machines(self) -> Iterator[tuple[FakeArm, Resource]]:
        for arm in self.arms:
            for resource in arm.resources.of(KIND):
                if resource.name not in _OTHERS_NAMES:
                    yield arm, resource

    def _asked(self) -> set[tuple[str, str, int]]:
        """What an end or a reprovision may take now, by the name of its machine, policy and generation: none else."""
        may = set()
        for policy in self.policies.values():
            for pc in policy.state.values():
                may.add((name_of(pc.machine_id), policy.name, pc.generation))
        return may

    def _holds(self, before: set[tuple[str, str, int]]) -> None:
        assert [self._others(arm) for arm in self.arms] == self.others, "something of others was touched"
        there = {r.properties["vmId"]: r for _, r in self._machines()}
        going = {key for key, r in there.items() if r.properties["provisioningState"] == "Deleting"}
        for key in self.given.keys() - (there.keys() - going):
            self._went_rightly(key, *self.given.pop(key), before)
        for key, resource in there.items():
            tag = from_tags(self.lost_tags.get(key) or resource.tags)
            if tag is not None and tag.phase is Phase.HANDED_OVER and key not in going:
                self.given[key] = (resource.name, tag.policy_id, tag.generation)
        names = Counter(name for name, _, _ in self.given.values())
        assert not [name for name, count in names.items() if count > 1], f"somebody has two: {names}"
        held = Counter(pc.user_id for p in self.policies.values() for pc in p.state.values() if pc.status in USABLE)
        assert not [user for user, count in held.items() if count > 1], f"state has two for somebody: {held}"

    def _went_rightly(
        self, key: str, name: str, policy: str, generation: int, before: set[tuple[str, str, int]]
    ) -> None:
        if key in self.may_go:
            return
        assert (name, policy, generation) in before, f"{name} of {policy} went, and state did not know it"
        pc = next((pc for pc in self.policies[policy].state.values() if name_of(pc.machine_id) == name), None)
        ended = pc is None or pc.status is Status.DEPROVISIONING
        key_of = pc.key if pc else ""
        anew = self.policies[policy].asked.get(key_of, 1) > generation
        leaving = pc is not None and pc.user_id not in self.policies[policy].members
        assert ended or anew or leaving, f"{name} of {policy} went, and nobody had asked for it: {pc}"

    @staticmethod
    def _others(arm: FakeArm) -> list[Any]:
        found = [r for kind in (KIND, INTERFACE, DISK) for r in arm.resources.of(kind) if r.name in _OTHERS_NAMES]
        found += arm.resources.of(f"{NETWORK}/subnets")
        found += arm.resources.of(NETWORK) + arm.resources.of(_RULES)
        return [copy.deepcopy((r.id, r.body)) for r in found]

    def no_password_was_told(self) -> None:
        """But in what Azure keeps to itself."""
        for arm in self.arms:
            for request in arm.log:
                if request.body is not None:
                    assert PASSWORD not in json.dumps(_without_protected(request.body)), request.operation
                assert PASSWORD not in f"{request.path}{request.query}{json.dumps(request.answer)}", request.operation

    def ends_well(self) -> None:
        """All faults gone, clean runs: everybody has one; then nobody is owed any, and nothing is left."""
        self.faults_go()
        self.tags_return()
        self._pass(1200)
        self._run_all("after all faults")
        self.now += timedelta(days=8)  # who has changed policies waits for the end of a grace period
        self._run_all("after graces")
        for policy in self.policies.values():
            self.refresh(policy)
            for key, pc in policy.state.items():
                if pc.status is Status.FAILED:
                    policy.asked[key] = pc.generation + 1
        self._run_all("made anew")
        self._pass(1200)
        self._run_all("once more")
        owed = {user for p in self.policies.values() for user in p.members}
        has = Counter(pc.user_id for p in self.policies.values() for pc in p.state.values() if pc.status in USABLE)
        recorded = [pc for p in self.policies.values() for pc in p.state.values()]
        assert set(has) == owed, [(pc.policy_id, pc.key, pc.status, pc.status_detail, pc.events) for pc in recorded]
        meant = sorted(name_of(pc.machine_id) for pc in recorded if pc.has_machine)
        assert sorted(r.name for _, r in self._machines()) == meant
        assert self._parts(INTERFACE) == meant
        assert self._parts(DISK) == meant, "a disk without its machine, or two"
        for policy in self.policies.values():
            policy.members.clear()
        for _ in range(4):
            self.now += timedelta(days=8)
            self._pass(1200)
            self._run_all("nobody is owed any")
        assert [policy.state for policy in self.policies.values()] == [{}, {}]
        left = (self._parts(KIND), self._parts(INTERFACE), self._parts(DISK))
        assert left == ([], [], [])
        self.no_password_was_told()

    def _run_all(self, why: str) -> None:
        for policy in self.policies.values():
            before = self._asked()
            self.told.append(f"{why}: {policy.name}")
            self.up(policy)
            self._holds(before)

    def _parts(self, kind: str) -> list[str]:
        """The machines that these belong to, one for each."""
        names = [r.name for arm in self.arms for r in arm.resources.of(kind) if r.name not in _OTHERS_NAMES]
        return sorted(machine_named_in(name) or name for name in names)


_RULES = "Microsoft.Network/networkSecurityGroups"
_OTHERS_NAMES = {"vm", "nic", "nic-os", "theirs", "cpcabcdefghijkl-zz-nic", "cpcabcdefghijkl-zz-os"}
_STORIES: list[Callable[[World], None]] = [
    *[World.some_run] * 6, *[World.killed_run] * 4, *[World.join] * 3, World.leave, *[World.reprovision] * 2,
    World.some_refresh, World.days_pass, World.minutes_pass, *[World.fault] * 3, World.lost_answer,
    *[World.faults_go] * 3, World.lists_lag, World.slowness, World.lock, World.role_revoked, World.shut_down,
    World.deleted_from_outside, World.tags_vanish, World.tags_return,
]  # fmt: skip


def _heal(arm: FakeArm) -> None:
    arm.faults.clear()
    arm.locks.clear()
    arm.permissions, arm.revoked_at = [_ALL], None
    arm.delays.lists = arm.delays.deletion = arm.delays.allocation = arm.delays.provisioning = 0
    arm.delays.run_command = 0


def _is_made(recorded: RecordedCloudPC | None, desired: DesiredCloudPC) -> bool:
    return recorded is None or lifecycle.makes_machine(recorded, desired)


def _without_protected(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: _without_protected(value) for name, value in body.items() if name != "protectedParameters"}
    return [_without_protected(each) for each in body] if isinstance(body, list) else body


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[FakeArm]], None]:
    """Whoever waits moves the clocks instead: those of the fakes, and that of deadlines."""
    skipped, arms = [0.0], list[FakeArm]()

    def wait(self: Cancellation, seconds: float) -> None:
        self.check()
        skipped[0] += seconds
        for arm in arms:
            arm.clock.advance(seconds)

    real = time.monotonic
    monkeypatch.setattr(Cancellation, "wait", wait)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: real() + skipped[0]))
    monkeypatch.setattr(driver_arm, "_LOOPBACK_INTERVAL", 5.0)
    return arms.extend


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STEPS // _STEPS_EACH)))
def test_history(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Callable[[list[FakeArm]], None]
) -> None:
    with world(tmp_path, monkeypatch, quick, seed) as lived:
        for _ in range(_STEPS_EACH):
            lived.step()
        lived.ends_well()


def test_what_a_run_had_no_room_for_is_given_back_by_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Callable[[list[FakeArm]], None]
) -> None:
    """Later runs would remove it, too: it would be billed until then, and the user wait for its end."""
    with world(tmp_path, monkeypatch, quick) as lived:
        lab = lived.policies["lab"]
        lab.asked = dict.fromkeys(lab.state, 2)
        for arm in lived.arms:
            arm.fail(_MAKE, "AllocationFailed", times=None, asynchronous=True)
        lived.up(lab)
        assert {pc.status for pc in lab.state.values()} == {Status.PENDING_PROVISION}
        assert (lived._parts(KIND), lived._parts(DISK)) == ([], [])


def test_what_users_have_outlives_the_state_of_their_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Callable[[list[FakeArm]], None]
) -> None:
    with world(tmp_path, monkeypatch, quick) as lived:
        lab, given = lived.policies["lab"], dict(lived.given)
        lab.state.clear()
        lab.members.clear()
        lived.up(lab)
        lived._holds(set())
        assert lived.given == given


@contextmanager
def world(
    folder: Path, monkeypatch: pytest.MonkeyPatch, quick: Callable[[list[FakeArm]], None], seed: int = SEED
) -> Iterator[World]:
    """Whose users have one each; what has happened is reported when something in it does not hold."""
    monkeypatch.setattr(stages, "generate_password", lambda: PASSWORD)
    with FakeArm(check=False) as one, FakeArm(check=False, account=Account(group="rg-north")) as two:
        arms = [one, two]
        quick(arms)
        monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", one.token(400 * 24 * 3600))
        for arm in arms:
            _somebody_elses(arm)
        lived = World(arms, folder, random.Random(seed))
        try:
            lived.policies["lab"].members.update(USERS)
            lived.up(lived.policies["lab"])
            lived._holds(set())
            assert len(lived.given) == len(USERS), lived.policies["lab"].lines.all
            yield lived
        except BaseException:
            print("\n".join(lived.told))
            raise
        assert not [arm.violations for arm in arms if arm.violations]


def _somebody_elses(arm: FakeArm) -> None:
    arm.table.otherwise = LinuxAnswers()
    with Http(arm) as http:
        http.made()
    group = arm.account.group_id
    arm.add(f"{group}/providers/{_RULES}/theirs", _RULES)
    tags = {"cloudpc-installation": "fedcba9876543210", "cloudpc-policy": "lab"}
    for name, kind in (("cpcabcdefghijkl-zz-nic", INTERFACE), ("cpcabcdefghijkl-zz-os", DISK)):
        arm.add(f"{group}/providers/{kind}/{name}", kind, provisioningState="Succeeded").body["tags"] = tags
