"""One Cloud PC on a host of the fake Azure: runs that make, remake and end it, without Pulumi, each in a new process.

"Process" is a manner of speaking: what a run has opened and knows is its own. It may be killed: then it does nothing
any more, not even clear up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudpc.configuration.parsing import parse_surroundings
from cloudpc.machines.azure import pipeline
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.host import AzureHost
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, PolicySettings, RecordedCloudPC
from cloudpc.model.directory import ServicePlan
from cloudpc.model.machines import Removed
from cloudpc.model.outcome import Outcome
from cloudpc.model.watch import Watch
from cloudpc.operations.runtime import Runtime
from cloudpc.operations.steps import Steps
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.rules.entitlement import Entitlement, Loss, Lost
from cloudpc.rules.lifecycle import makes_machine, reconcile
from tests.azure.arm import FakeArm
from tests.core import make
from tests.support.azure import IMAGE, Reached, entry

PLAN = ServicePlan("CPC_E_2C_4GB_64GB", "2vCPU/4GB/64GB", 2, 4, 64)


class Killed(BaseException):
    """The process is dead: nothing that it would still do happens."""


class Lines:
    """A Reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.outcomes: list[Outcome] = []

    def step(self, text: str) -> None: ...

    def milestone(self, text: str, *, warning: bool = False) -> None:
        self.all.append(text)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        self.outcomes.append(outcome)


def is_killed(after: int, run: Callable[[], None]) -> bool:
    """Whether what runs is dead once so many of its requests have taken effect; what would follow never happens."""
    asked, send, lock = 0, pipeline.Transport.send, threading.Lock()

    def counted(self: Any, request: Any, **options: Any) -> Any:
        nonlocal asked
        with lock:
            asked += 1
            mine = asked
        answer = send(self, request, **options) if mine <= after else None
        if answer is None or mine == after:
            raise Killed
        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline.Transport, "send", counted)
        try:
            run()
        except Killed:
            return True
    return False


@dataclass
class Life:
    """What state has of one user's Cloud PC of one policy, and runs that change it.

    Args:
        arm: the fake.
        folder: for files.
        user: whose.
        policy: its id.
        hosts: entries of cloudpc:hosts; by default the account of the fake.
    """

    arm: Reached
    folder: Path
    user: str = "alice"
    policy: str = "lab"
    hosts: list[Mapping[str, Any]] = field(default_factory=list)
    recorded: RecordedCloudPC | None = None
    lines: Lines = field(default_factory=Lines)

    def __post_init__(self) -> None:
        self.hosts = self.hosts or [entry(self.arm)]

    def up(self, *, entitled: bool = True, generation: int = 1, days: float = 0, **changes: Any) -> None:
        """A run, as the engine plans it: it tidies, takes the step, records what came of it, hands over.

        Args:
            entitled: whether its user is.
            generation: that was asked for.
            days: that have passed.
            changes: of the policy's settings.
        """
        with self.runtime() as runtime:
            self._run(runtime, self._desired(entitled, generation, days, settings(**changes)))

    @contextmanager
    def runtime(self) -> Iterator[Runtime]:
        """What a run works with."""
        runtime = Runtime(parse_surroundings({"cloudpc:hosts": self.hosts}), self.folder, self.lines.all.append)
        try:
            yield runtime
        finally:
            for host in runtime.hosts:
                host.close()

    def provision(self, runtime: Runtime) -> Outcome:
        """Make it, as the engine has many made at once."""
        desired = self._desired(entitled=True, generation=1, days=0, settings=settings())
        self.recorded = Steps(runtime, self.lines, Cancellation()).provision(desired)
        return self.outcome

    def remove(self, arm: FakeArm) -> None:
        """Have nothing of it left, so that the next one begins with nothing."""
        host = AzureHost(AzureHostConfig.model_validate(self.hosts[0]))
        while self.recorded and host.delete(self.recorded.machine_id, Watch()) is not Removed.GONE:
            arm.clock.advance(60)
        arm.clock.advance(300)
        host.discard(host.remnants(make.INSTALLATION))
        host.close()

    @property
    def outcome(self) -> Outcome:
        """Of the provisioning that ended last."""
        return self.lines.outcomes[-1]

    def _run(self, runtime: Runtime, desired: DesiredCloudPC) -> None:
        known = {self.recorded.machine_id: self.recorded} if self.recorded else {}
        living = {key: pc for key, pc in known.items() if pc.has_machine}
        wanted = [desired.machine_id] if _is_made(self.recorded, desired) else []
        tidy(runtime.hosts, runtime.removal, Meant(make.INSTALLATION, self.policy, living, wanted, list(known)))
        steps = Steps(runtime, self.lines, Cancellation())
        recorded = self.recorded
        self.recorded = steps.provision(desired) if recorded is None else steps.update(recorded, desired)
        if self.recorded.has_machine:
            runtime.hand_over(str(self.recorded.machine_id), self.recorded.host)

    def _desired(self, entitled: bool, generation: int, days: float, settings: PolicySettings) -> DesiredCloudPC:
        owed = Entitlement(make.user(self.user, PLAN.id), PLAN)
        asked = make.asked(reprovision={owed.key: generation}) if generation > 1 else {}
        today = make.today(policy_id=self.policy, settings=settings, actions=asked)
        previous = {owed.key: self.recorded} if self.recorded else {}
        lost = {} if entitled else {owed.key: Loss(Lost.MEMBERSHIP)}
        plan = reconcile(previous, [owed] if entitled else [], lost, today, make.NOW + timedelta(days=days))
        [desired] = plan.desired
        return desired


def _is_made(recorded: RecordedCloudPC | None, desired: DesiredCloudPC) -> bool:
    return recorded is None or makes_machine(recorded, desired)


def settings(**changes: Any) -> PolicySettings:
    """Of a policy whose Cloud PCs are made of an image of Azure's gallery."""
    return make.settings(
        **{"image_id": IMAGE, "image_kind": "azure", "first_boot_in_seconds": 600, "set_up_in_seconds": 300, **changes}
    )
