"""Carrying out what the lifecycle decided for one Cloud PC: what is recorded in, what is recorded from now on out.

Only Cancel raises: trouble is an outcome, or leaves things as they are until the next run (rules 5 and 8).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from cloudpc.model import patience, report
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, PolicySettings, RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import GuestOS, Warned
from cloudpc.model.image import Image
from cloudpc.model.machines import Host
from cloudpc.model.outcome import Outcome
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch
from cloudpc.operations import look
from cloudpc.operations.runtime import Runtime
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.afterwards import Afterwards
from cloudpc.provisioning.resources import Resources
from cloudpc.rules import lifecycle, transitions
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.step import Step


class ResultReporter(report.Reporter, Protocol):
    """Receives what is done to one Cloud PC, and the result."""

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The line that stays at the end of a provisioning, which took so long."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Steps:
    """What is done to one Cloud PC.

    Args:
        runtime: what it works with.
        reporter: receives each step.
        cancellation: ends it.
        now: the clock.
    """

    runtime: Runtime
    reporter: ResultReporter
    cancellation: Cancellation
    now: Callable[[], datetime] = _now

    def update(self, recorded: RecordedCloudPC, desired: DesiredCloudPC, *, seen: bool = False) -> RecordedCloudPC:
        """Take the step that leads from what is recorded to what is desired.

        Args:
            recorded: by state.
            desired: what the run was planned to make of it.
            seen: whether the run has seen that the machine is not what is recorded, and planned for what it is.
        """
        with patience.telling(self.reporter.step):
            after = self._take(recorded, desired, seen=seen)
        self.runtime.tell_slow()
        return after

    def provision(self, desired: DesiredCloudPC, recorded: RecordedCloudPC | None = None) -> RecordedCloudPC:
        """Make the Cloud PC; failing is an outcome."""
        begin = time.monotonic()
        if recorded is not None and recorded.status is Status.FAILED:
            self.runtime.discard_kept(recorded.installation, recorded.machine_id)
        resources = self.runtime.resources(desired.settings)
        outcome = pipeline.provision(desired, resources, self.reporter, self.cancellation)
        self.reporter.ended(outcome, time.monotonic() - begin)
        self.runtime.tell_slow()
        return transitions.provisioned(desired, outcome, self.now(), recorded)

    def refresh(self, recorded: RecordedCloudPC) -> RecordedCloudPC:
        """What a refresh sees of the machine; a host that does not answer says nothing about it."""
        seen = self._looked(recorded)
        if seen != recorded and seen.stands_still:
            self.reporter.milestone(f"is {look.told_still(seen)}")
        return seen

    def _take(self, recorded: RecordedCloudPC, desired: DesiredCloudPC, *, seen: bool) -> RecordedCloudPC:
        # one that was killed while it was made again looks like this, too
        if seen and lifecycle.next_step(recorded, desired) is not REPROVISION:
            recorded = self._looked(recorded)
        step = lifecycle.next_step(recorded, desired)
        if isinstance(step, Action):
            return self._act(step, recorded, desired)
        match step:
            case Step.NONE:
                return recorded
            case Step.PROVISION:
                return self.provision(desired, recorded)
            case Step.START:
                return self._start(recorded)
            case Step.BEGIN_GRACE:
                return transitions.grace_begun(recorded, desired, self.now())
            case Step.RESTORE:
                # somebody counts on it from now on: if the machine is gone, that is reported, whatever took it
                return self.refresh(transitions.restored(recorded, desired, self.now()))
            case Step.END:
                return self._end(recorded, desired)

    def _act(self, action: Action[Any], recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        try:
            return action.carry_out(_Workplace(self, recorded, desired))
        except ProvisioningError as error:
            return self._as_it_was(recorded, action.not_done, error)

    def _looked(self, recorded: RecordedCloudPC) -> RecordedCloudPC:
        if not look.is_looked_at(recorded):
            return recorded
        places = self.runtime.places()
        named = next((place for place in places if place.name == recorded.host), None)
        try:
            seen = look.as_seen(named, recorded, places, self.now())
        except look.MayBeElsewhereError as error:
            self.reporter.milestone(f"{error.message} [{error.code}]", warning=True)
            return recorded
        except ProvisioningError as error:
            self.runtime.tell_once(
                f"the machines on {recorded.host} could not be looked at: {error.message} [{error.code}]"
            )
            return recorded
        if seen.events != recorded.events:
            self.reporter.milestone(look.told_seen(seen), warning=seen.status_detail is not None)
        return seen

    def _start(self, recorded: RecordedCloudPC) -> RecordedCloudPC:
        was, doing, done = _words(recorded)
        self.reporter.step(f"{doing} on {recorded.host}")
        try:
            self.runtime.start(recorded.machine_id, recorded.host)
        except ProvisioningError as error:
            return self._as_it_was(recorded, f"it is {was} and could not be {done}", error)
        self.reporter.milestone(f"was {was}, {done} on {recorded.host}")
        return transitions.started(recorded, f"was {was}, {done}", self.now())

    def _end(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        self.reporter.step("removing")
        left = self.runtime.removal.remove(recorded.machine_id, recorded)
        if left:
            said = f"not removed completely; each run tries again: {'; '.join(left)}"
            self.reporter.milestone(said, warning=True)
        else:
            self.reporter.milestone(f"ended: {desired.why}")
        return transitions.ended(recorded, desired, left, self.now())

    def _as_it_was(self, recorded: RecordedCloudPC, what: str, error: ProvisioningError) -> RecordedCloudPC:
        """Reported, and left until the next run."""
        self.reporter.milestone(f"{what}: {error.message} [{error.code}]", warning=True)
        return recorded


@dataclass(frozen=True)
class _Workplace:
    """One Cloud PC, as an action finds it (`cloudpc.rules.actions.workplace`)."""

    steps: Steps
    recorded: RecordedCloudPC
    desired: DesiredCloudPC

    @property
    def report(self) -> report.Reporter:
        return self.steps.reporter

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.steps.cancellation, self.steps.reporter.step, stage=Stage.SET_UP)

    @property
    def now(self) -> datetime:
        return self.steps.now()

    @property
    def guest_os(self) -> GuestOS:
        return self._resources().guest_os(self.recorded.settings.guest_os)

    @property
    def host(self) -> Host:
        return self.steps.runtime.host(self.recorded.host)

    def image(self, settings: PolicySettings) -> Image:
        return self.steps.runtime.resources(settings).image(self.watch)

    def wake(self) -> None:
        self._on_machine().wake()

    def set_up(self, failed: Collection[ErrorCode]) -> list[Warned]:
        return self._on_machine().try_extras(failed)

    def check_before(self) -> None:
        pipeline.check_before(self.desired, self._resources(), self.report)

    def remove(self) -> list[str]:
        self.report.step("removing the previous machine")
        # one of the new generation is what an interrupted run of this made: the pipeline adopts or removes it
        below = self.desired.generation
        return self.steps.runtime.removal.remove(self.recorded.machine_id, self.recorded, below=below)

    def provision(self) -> RecordedCloudPC:
        return self.steps.provision(self.desired, self.recorded)

    def _resources(self) -> Resources:
        return self.steps.runtime.resources(self.desired.settings)

    def _on_machine(self) -> Afterwards:
        return Afterwards(self.desired, self.host, self._resources(), self.watch)


def _words(recorded: RecordedCloudPC) -> tuple[str, str, str]:
    if recorded.power_state == "paused":
        return f"paused ({recorded.paused_because})", "resuming", "resumed"
    return "off", "starting", "started"
