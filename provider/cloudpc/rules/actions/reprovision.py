"""Reprovision: delete a Cloud PC with all data, and make it again with the current settings. Graph's `reprovision`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules.actions.action import Filter, Question
from cloudpc.rules.actions.case import NOTHING, Answer, Candidate, Case
from cloudpc.rules.actions.counted import Counted
from cloudpc.rules.actions.reasons import NotEntitled, WrongStatus
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked, Written, generation_of
from cloudpc.rules.drift import outdated
from cloudpc.rules.notices import Reason

_FROM = USABLE | {Status.FAILED}


@dataclass(frozen=True)
class Reprovisioned(Reason):
    """It is made again."""

    loses_data: bool
    changes: tuple[str, ...] = ()
    """Which settings that changes, in words."""

    def __str__(self) -> str:
        loses = "all data on it is lost" if self.loses_data else "no data is lost"
        return f"reprovision: {loses}" + (f" ({'; '.join(self.changes)})" if self.changes else "")


@dataclass(frozen=True)
class NotInState(Reason):
    """Its user has a machine that is unknown to state: it is neither made again nor deleted."""

    warning = True

    def __str__(self) -> str:
        return (
            "not reprovisioned: its user has a machine that state does not know; `cloudpc adopt` takes it back, "
            "`cloudpc adopt --remove` deletes it"
        )


@dataclass(frozen=True)
class AdoptFirst(Reason):
    """The same, to who gives the command."""

    def __str__(self) -> str:
        return (
            "its user has a machine that state does not know; `cloudpc adopt` takes it back; "
            "after `cloudpc adopt --remove`, `cloudpc retry` makes a new one"
        )


@dataclass(frozen=True)
class GenerationIsOver(Reason):
    """What is asked for has been done, or was waived when its user came back."""

    warning = True
    asked: int
    over: int

    def __str__(self) -> str:
        return (
            f"reprovision generation {self.asked} in cloudpc:actions is ignored: state is at {self.over}; "
            f"remove the line, or write {self.over + 1} to ask for one"
        )


class Reprovision(Counted[Asked]):
    """Its trace is the generation that everything of a Cloud PC is named by: the device's name, the tag."""

    name = command = graph = "reprovision"
    help = (
        "Delete Cloud PCs with all data on them and make them again, with the policy's current settings.\n\n"
        "For those that are provisioned, provisionedWithWarnings or failed. If it is interrupted, the next run "
        "finishes it."
    )
    description = "Raised: the Cloud PC is deleted with all data and made again with the policy's current settings."
    question = Question("All data on {cloud_pcs} will be lost:", "Delete {cloud_pcs} and make {them} again?")
    loses_data = True
    users_call_it = "reset"
    filters = (
        Filter("failed", "Only those that have failed.", lambda each: each.recorded.status is Status.FAILED),
        Filter(
            "outdated",
            "Only those whose settings differ from the policy's current ones.",
            lambda each: each.is_outdated,
        ),
    )

    def is_for_users_of(self, policy: ProvisioningPolicy | None) -> bool:
        return policy is not None and policy.reset_enabled

    def count(self, pc: DesiredCloudPC) -> int:
        """What is over: done, or waived."""
        return max(pc.generation, pc.waived_generation)

    def is_done(self, recorded: RecordedCloudPC, asked: int | str | Asked) -> bool:
        return recorded.generation == generation_of(asked)

    can_be_over = True

    def is_over(self, recorded: RecordedCloudPC, written: Any) -> bool:
        return int(written) < recorded.generation

    def spent(self, new: DesiredCloudPC, before: RecordedCloudPC | None, asked: Written | None) -> DesiredCloudPC:
        """What was waived stays so, until a generation above it comes."""
        del asked
        waived = before.waived_generation if before else 0
        return new.model_copy(update={"waived_generation": waived}) if waived > new.generation else new

    def taken_back(self, made: DesiredCloudPC, asked: DesiredCloudPC) -> DesiredCloudPC:
        over = self.count(asked)
        return made.model_copy(update={"waived_generation": over}) if over > made.generation else made

    def refusal(self, candidate: Candidate[Asked]) -> Reason | None:
        recorded = candidate.recorded
        if recorded.is_not_in_state:
            return AdoptFirst()
        if recorded.status not in _FROM:
            rule = "only a Cloud PC that is provisioned, provisionedWithWarnings or failed can be reprovisioned"
            return WrongStatus(recorded.status, rule)
        return None if candidate.is_entitled else NotEntitled()

    def plan(self, case: Case) -> Answer:
        recorded, asked, over = case.recorded, case.generation, self.count(case.recorded)
        if not asked or asked == over:
            return NOTHING
        if asked < over:
            return Answer(told=[GenerationIsOver(asked, over)])
        if recorded.is_not_in_state:
            return Answer(told=[NotInState()], waived=asked)
        new = case.anew(asked)
        changes = outdated(recorded.settings, new.settings)
        return Answer(new, [Reprovisioned(recorded.has_machine, tuple(changes))])

    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
        return desired.generation > recorded.generation

    not_done = "not reprovisioned, its machine is untouched"

    def carry_out(self, at: Workplace) -> RecordedCloudPC:
        if at.recorded.has_machine:
            at.check_before()
        if left := at.remove():
            at.report.milestone(f"not reprovisioned, tried again by the next run: {'; '.join(left)}", warning=True)
            return at.recorded
        return at.provision()

    def makes_machine(self, recorded: RecordedCloudPC) -> bool:
        del recorded
        return True


REPROVISION = Reprovision()
