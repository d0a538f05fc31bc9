"""Retry: three fresh attempts for a failed Cloud PC, and what failed of the set-up of one that works.

Graph's `retry` is of shared Cloud PCs' policies; Windows 365's page has it for each failed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.rules import transitions
from cloudpc.rules.actions.case import NOTHING, Answer, Candidate, Case
from cloudpc.rules.actions.counted import Counted
from cloudpc.rules.actions.reasons import NotEntitled, WrongStatus
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

_PC = TypeVar("_PC", bound=DesiredCloudPC)


@dataclass(frozen=True)
class AttemptsAgain(Reason):
    """It is made, at the third attempt at the latest."""

    def __str__(self) -> str:
        return "failed; will be tried again, up to three attempts"


@dataclass(frozen=True)
class SetUpAgain(Reason):
    """Only what failed of its set-up is done again."""

    def __str__(self) -> str:
        return "the failed parts of its set-up are repeated on its machine; nothing is lost"


@dataclass(frozen=True)
class IsLost(Reason):
    """There may still be its disk, which a new machine would take the place of."""

    def __str__(self) -> str:
        return "its machine is lost; `cloudpc reprovision` makes a new one, a retry doesn't"


@dataclass(frozen=True)
class ReprovisionInstead(Reason):
    """The same, to who gives the command."""

    def __str__(self) -> str:
        return "its machine is lost; `cloudpc reprovision` makes a new one"


class Retry(Counted[Asked]):
    """Of one that waits nobody need ask for it: each run tries."""

    name = command = "retry"
    help = (
        "Give failed Cloud PCs three fresh attempts, and repeat the failed parts of working ones' set-up.\n\n"
        "With the policy's current settings. Nothing on a working machine is lost."
    )
    description = (
        "Raised: a failed Cloud PC gets three fresh attempts; one that is provisionedWithWarnings has the failed parts "
        "of its set-up repeated."
    )

    def count(self, pc: DesiredCloudPC) -> int:
        return pc.retry

    def counted(self, pc: _PC, generation: int) -> _PC:
        return pc.model_copy(update={"retry": generation})

    def refusal(self, candidate: Candidate[Asked]) -> Reason | None:
        recorded = candidate.recorded
        if recorded.status is not Status.FAILED and not recorded.failed_extras:
            rule = "only a Cloud PC that has failed, or whose set-up has failed in part, can be tried again"
            return WrongStatus(recorded.status, rule)
        if recorded.is_lost:
            return ReprovisionInstead()
        return None if candidate.is_entitled else NotEntitled()

    def plan(self, case: Case) -> Answer:
        recorded = case.recorded
        if case.generation <= recorded.retry:
            return NOTHING
        if recorded.is_lost:
            return Answer(told=[IsLost()])
        if recorded.status is Status.FAILED:
            return Answer(case.anew(recorded.generation), [AttemptsAgain()])
        return self._set_up_again(case) if recorded.failed_extras else NOTHING

    @staticmethod
    def _set_up_again(case: Case) -> Answer:
        """With the current settings for what failed, since they may have been corrected for this."""
        names = [code.meaning.setting for code in case.recorded.failed_extras]
        mended = {name: getattr(case.settings, name) for name in (*names, "set_up_in_seconds")}
        settings = case.recorded.settings.model_copy(update=mended)
        return Answer(case.as_it_is(retry=case.generation, settings=settings), [SetUpAgain()])

    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
        """Of one that a refresh finds lost, there may still be its disk."""
        may_be = recorded.status is Status.FAILED or bool(recorded.failed_extras)
        return may_be and not recorded.is_lost and desired.retry > recorded.retry

    not_done = "its set-up was not repeated"

    def carry_out(self, at: Workplace) -> RecordedCloudPC:
        if at.recorded.status is Status.FAILED:
            return at.provision()
        warned = at.set_up(at.recorded.failed_extras)
        after = transitions.set_up_again(at.recorded, at.desired, warned, at.now)
        detail = after.status_detail
        said = f"still fails: {detail.message}" if detail else "its set-up is complete"
        at.report.milestone(said, warning=bool(detail))
        return after

    def makes_machine(self, recorded: RecordedCloudPC) -> bool:
        return recorded.status is Status.FAILED


RETRY = Retry()
