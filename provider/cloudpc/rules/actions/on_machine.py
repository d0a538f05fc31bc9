"""An action on a machine that works, which stays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.errors import unexpected_told
from cloudpc.model.machines import PowerState
from cloudpc.rules import transitions
from cloudpc.rules.actions.case import NOTHING, A, Answer, Candidate, Case, Request
from cloudpc.rules.actions.counted import Counted
from cloudpc.rules.actions.reasons import Done, Ignored, PolicyNotKnown, WrongStatus
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.findings import powered
from cloudpc.rules.notices import Reason
from cloudpc.rules.recording import changed


@dataclass(frozen=True)
class Came:
    """What came of it.

    Args:
        said: in words.
        warning: whether somebody has to do something about it.
        changes: what else is recorded, by RecordedCloudPC's fields.
    """

    said: str
    warning: bool = False
    changes: Mapping[str, object] = field(default_factory=dict)


class OnMachine(Counted[A]):
    """Nothing on the machine is lost."""

    can_be: ClassVar[str]
    """What is done to one: `restarted`."""
    notice: ClassVar[str]
    """What a preview says will happen; each argument stands under its name, as `{to}`."""
    power: ClassVar[Literal["running", "poweredOff"] | None] = "running"
    """What the machine is afterwards, and is wanted to be from then on; None: as it was."""

    @property
    def rule(self) -> str:
        """Whom it may act on, in words."""
        return f"only one that is {' or '.join(status for status in Status if status in USABLE)} can be {self.can_be}"

    def why_not(self, request: Request[A]) -> Reason | None:
        """What else speaks against it on one that works."""
        del request
        return None

    def changes(self, request: Request[A]) -> dict[str, object]:
        """What else is desired once it is asked for, by DesiredCloudPC's fields."""
        del request
        return {}

    @abstractmethod
    def work(self, at: Workplace) -> Came:
        """Do it. `given(at.desired)` has its arguments. Raises as `carry_out`."""

    def after(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        """What is recorded once it is done."""
        done = self.same_as(recorded, desired)
        if self.power is None:
            return done
        wanted = changed(done, {"desired_power_state": self.power})
        return powered(wanted, PowerState.RUNNING if self.power == "running" else PowerState.STOPPED)

    def carry_out(self, at: Workplace) -> RecordedCloudPC:
        with unexpected_told(f"{self.command} of {at.recorded.machine_id}"):
            came = self.work(at)
        at.report.milestone(came.said, warning=came.warning)
        after = changed(self.after(at.recorded, at.desired), dict(came.changes))
        return transitions.acted(after, came.said, at.now)

    def refusal(self, candidate: Candidate[A]) -> Reason | None:
        recorded = candidate.recorded
        if recorded.status not in USABLE:
            return WrongStatus(recorded.status, self.rule)
        settings = candidate.settings_of_today
        return self.why_not(Request(recorded, settings, candidate.asked)) if settings else PolicyNotKnown()

    def plan(self, case: Case) -> Answer:
        recorded = case.recorded
        if recorded.status not in USABLE or case.generation <= self.count(recorded):
            return NOTHING
        request = Request(recorded, case.settings, self.read(case.asked))
        if why := self.why_not(request):
            return Answer(told=[Ignored(self.name, str(why))])
        power = {"desired_power_state": self.power} if self.power else {}
        desired = self.noted(case.as_it_is(**power, **self.changes(request)), request.asked)
        return Answer(desired, [Done(self.name, self.notice.format(**request.asked.words))])

    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
        return recorded.status in USABLE and self.count(desired) > self.count(recorded)
