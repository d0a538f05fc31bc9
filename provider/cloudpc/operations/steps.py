"""Carrying out what the lifecycle decided for one Cloud PC: what is recorded in, what is recorded from now on out.

Only Cancel raises: trouble is an outcome, or leaves things as they are until the next run (design rules 5 and 8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cloudpc.model import patience, report
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.outcome import Outcome
from cloudpc.operations import look
from cloudpc.operations.runtime import Runtime
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.afterwards import Afterwards
from cloudpc.rules import lifecycle, transitions
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL
from cloudpc.rules.step import Step


class Reporter(report.Reporter, Protocol):
    """Is told what is done to one Cloud PC, and what came of it."""

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The line that stays at the end of a provisioning, which took so long."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Steps:
    """What is done to one Cloud PC.

    Args:
        runtime: what it works with.
        reporter: is told of it.
        cancellation: ends it.
        now: the clock.
    """

    runtime: Runtime
    reporter: Reporter
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
        # one that was killed while it was made anew looks like this, too
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
                # somebody counts on it from now on: a machine that is gone is told, whatever took it
                return self.refresh(transitions.restored(recorded, desired, self.now()))
            case Step.END:
                return self._end(recorded, desired)

    def _act(self, action: Action, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        if action is REPROVISION:
            return self._reprovision(recorded, desired)
        if action is UPDATE_KERNEL:
            return self._update_kernel(recorded, desired)
        if action is RETRY and recorded.status is not Status.FAILED:
            return self._set_up_again(recorded, desired)
        return self.provision(desired, recorded)

    def _looked(self, recorded: RecordedCloudPC) -> RecordedCloudPC:
        if not look.is_looked_at(recorded):
            return recorded
        hosts = self.runtime.hosts
        named = next((host for host in hosts if host.name == recorded.host), None)
        try:
            seen = look.as_seen(named, recorded, hosts, self.now())
        except ProvisioningError as error:
            self.runtime.tell_once(
                f"nothing is known of the machines on {recorded.host}: {error.message} [{error.code}]"
            )
            return recorded
        if seen.events != recorded.events:
            self.reporter.milestone(look.told_seen(seen), warning=seen.status_detail is not None)
        return seen

    def _reprovision(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        if recorded.has_machine:
            try:
                pipeline.check_before(desired, self.runtime.resources(desired.settings), self.reporter)
            except ProvisioningError as error:
                return self._as_it_was(recorded, "not reprovisioned, its machine is untouched", error)
        self.reporter.step("removing the machine of before")
        # one of the new generation is what an interrupted run of this made: the pipeline adopts or removes it
        if left := self.runtime.removal.remove(recorded.machine_id, recorded, below=desired.generation):
            said = f"not reprovisioned, tried again by the next run: {'; '.join(left)}"
            self.reporter.milestone(said, warning=True)
            return recorded
        return self.provision(desired, recorded)

    def _set_up_again(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        try:
            warned = self._on_its_machine(recorded, desired).try_extras(recorded.failed_extras)
        except ProvisioningError as error:
            return self._as_it_was(recorded, "its set-up was not tried again", error)
        after = transitions.set_up_again(recorded, desired, warned, self.now())
        detail = after.status_detail
        said = f"still fails: {detail.message}" if detail else "its set-up is complete"
        self.reporter.milestone(said, warning=bool(detail))
        return after

    def _update_kernel(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        build = desired.settings.model_copy(update={"image_digest": desired.kernel_digest})
        wanted = desired.model_copy(update={"settings": build})
        try:
            came = self._on_its_machine(recorded, wanted).move_kernel()
        except ProvisioningError as error:
            return self._as_it_was(recorded, "keeps its kernel, tried again by the next run", error)
        self.reporter.milestone(came)
        return transitions.kernel_moved(recorded, desired, came, self.now())

    def _on_its_machine(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> Afterwards:
        """Raises ProvisioningError: its host is not in cloudpc:hosts."""
        where, resources = self.runtime.host(recorded.host), self.runtime.resources(desired.settings)
        return Afterwards(desired, where, resources, self.reporter, self.cancellation)

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
            said = f"not removed whole, tried again by each run: {'; '.join(left)}"
            self.reporter.milestone(said, warning=True)
        else:
            self.reporter.milestone(f"ended: {desired.why}")
        return transitions.ended(recorded, desired, left, self.now())

    def _as_it_was(self, recorded: RecordedCloudPC, what: str, error: ProvisioningError) -> RecordedCloudPC:
        """Told, and left until the next run."""
        self.reporter.milestone(f"{what}: {error.message} [{error.code}]", warning=True)
        return recorded


def _words(recorded: RecordedCloudPC) -> tuple[str, str, str]:
    if recorded.power_state == "paused":
        return f"paused ({recorded.paused_because})", "resuming", "resumed"
    return "off", "starting", "started"
