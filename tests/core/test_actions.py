"""Remote actions: whom a command may act on, and what carrying one out comes to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.model.cloud_pc import RecordedCloudPC, Status, StatusDetail
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Warned
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.end_grace import END_GRACE, NotInGrace
from cloudpc.rules.actions.reasons import NotEntitled, PolicyNotKnown, WrongStatus
from cloudpc.rules.actions.reprovision import REPROVISION, AdoptFirst
from cloudpc.rules.actions.retry import RETRY, ReprovisionInstead
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL, HasIt, OtherImage, OwnKernel
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

from . import make
from .fake_rim import Lines, desired

BUILT_AGAIN = make.settings(image_digest="cd" * 32)


def recorded(status: Status = Status.PROVISIONED, code: str = "", **changes: Any) -> RecordedCloudPC:
    detail = StatusDetail(code=code, message="why") if code else None
    values = {**desired().model_dump(), "status": status, "status_detail": detail, "host": "local", **changes}
    return RecordedCloudPC.model_validate(values)


def candidate(pc: RecordedCloudPC, *, entitled: bool = True, today: Any = BUILT_AGAIN) -> Any:
    return SimpleNamespace(
        recorded=pc, asked=Asked(generation=1), is_entitled=entitled, is_outdated=False, settings_of_today=today
    )


WARNED = recorded(Status.PROVISIONED_WITH_WARNINGS, ErrorCode.PACKAGES_FAILED)
LOST = recorded(Status.FAILED, ErrorCode.MACHINE_LOST)
IN_GRACE = recorded(Status.IN_GRACE_PERIOD, grace_period_end_date_time=make.NOW)


@pytest.mark.parametrize(
    ("action", "asked", "why"),
    [
        (REPROVISION, candidate(recorded()), None),
        (REPROVISION, candidate(WARNED), None),
        (REPROVISION, candidate(LOST), None),
        (REPROVISION, candidate(recorded(), entitled=False), NotEntitled()),
        (REPROVISION, candidate(recorded(Status.FAILED, ErrorCode.MACHINE_NOT_IN_STATE)), AdoptFirst()),
        (
            REPROVISION,
            candidate(IN_GRACE),
            WrongStatus(
                Status.IN_GRACE_PERIOD,
                "only a Cloud PC that is provisioned, provisionedWithWarnings or failed can be reprovisioned",
            ),
        ),
        (RETRY, candidate(recorded(Status.FAILED)), None),
        (RETRY, candidate(WARNED), None),
        (RETRY, candidate(WARNED, entitled=False), NotEntitled()),
        (RETRY, candidate(LOST), ReprovisionInstead()),
        (
            RETRY,
            candidate(recorded()),
            WrongStatus(
                Status.PROVISIONED,
                "only a Cloud PC that has failed, or whose set-up has failed in part, can be tried again",
            ),
        ),
        (UPDATE_KERNEL, candidate(recorded()), None),
        (UPDATE_KERNEL, candidate(recorded(), today=None), PolicyNotKnown()),
        (UPDATE_KERNEL, candidate(recorded(), today=make.settings()), HasIt("micro")),
        (UPDATE_KERNEL, candidate(recorded(kernel_digest="cd" * 32)), HasIt("micro")),
        (UPDATE_KERNEL, candidate(recorded(), today=make.settings(image_id="new")), OtherImage("micro", "new")),
        (UPDATE_KERNEL, candidate(recorded(settings=make.settings(image_type="custom"))), OwnKernel()),
        (
            UPDATE_KERNEL,
            candidate(LOST),
            WrongStatus(
                Status.FAILED, "only one that is provisioned or provisionedWithWarnings can be given another kernel"
            ),
        ),
        (END_GRACE, candidate(IN_GRACE, entitled=False), None),
        (END_GRACE, candidate(recorded()), NotInGrace(Status.PROVISIONED)),
    ],
)
def test_whom_a_command_may_act_on(action: Action, asked: Any, why: Reason | None) -> None:
    assert action.refusal(asked) == why


def test_what_is_written_asks_once_more_and_is_done_when_it_is_recorded() -> None:
    third = recorded(generation=2, waived_generation=3, retry=1, kernel_generation=4)
    asked = {action.name: action.asks(third) for action in (REPROVISION, RETRY, UPDATE_KERNEL)}
    assert asked == {"reprovision": 4, "retry": 2, "updateKernel": 5}
    assert (RETRY.asks(third, 7), END_GRACE.asks(IN_GRACE)) == (8, "2026-11-24T09:00:00Z")
    assert [REPROVISION.is_done(third, generation) for generation in (2, 3)] == [True, False]
    assert [RETRY.is_done(third, generation) for generation in (1, 2)] == [True, False]
    assert (END_GRACE.is_done(IN_GRACE, ""), END_GRACE.is_done(recorded(), "")) == (False, True)
    assert [REPROVISION.is_over(third, written) for written in (1, "2", 3)] == [True, False, False]
    assert not RETRY.is_over(third, 0)


class Workplace:
    """Keeps what is done at it."""

    def __init__(self, pc: RecordedCloudPC, *, left: tuple[str, ...] = (), fails: tuple[Warned, ...] = ()) -> None:
        self.recorded, self.desired, self.now, self.report = pc, desired(), make.NOW, Lines()
        self.done: list[str] = []
        self._left, self._fails = left, fails

    def check_before(self) -> None:
        self.done.append("check")

    def remove(self) -> tuple[str, ...]:
        self.done.append("remove")
        return self._left

    def provision(self) -> RecordedCloudPC:
        self.done.append("provision")
        return recorded(generation=2)

    def set_up(self, failed: frozenset[ErrorCode]) -> tuple[Warned, ...]:
        self.done += sorted(failed)
        return self._fails


def test_a_reprovision_checks_what_it_can_before_it_removes_anything() -> None:
    at: Any = Workplace(recorded())
    assert REPROVISION.carry_out(at) == recorded(generation=2)
    assert at.done == ["check", "remove", "provision"]
    failed: Any = Workplace(recorded(Status.FAILED))
    REPROVISION.carry_out(failed)
    assert failed.done == ["remove", "provision"], "there is nothing that could be lost"


def test_what_cannot_be_removed_is_not_made_anew() -> None:
    at: Any = Workplace(recorded(), left=("its disk: busy", "its card: busy"))
    assert REPROVISION.carry_out(at) == at.recorded
    assert at.done == ["check", "remove"]
    assert at.report.warnings == ["not reprovisioned, tried again by the next run: its disk: busy; its card: busy"]


def test_a_retry_of_a_failed_one_makes_it_and_of_one_that_works_its_set_up() -> None:
    failed: Any = Workplace(recorded(Status.FAILED))
    assert RETRY.carry_out(failed).generation == 2
    assert failed.done == ["provision"]
    only_packages = StatusDetail(
        code=ErrorCode.PACKAGES_FAILED, message="why", additional_information={"failed": "packagesFailed"}
    )
    works = WARNED.model_copy(update={"status_detail": only_packages})
    at: Any = Workplace(works)
    assert RETRY.carry_out(at).status is Status.PROVISIONED
    assert (at.done, at.report.milestones, at.report.warnings) == (
        ["packagesFailed"], ["its set-up is complete"], []
    )  # fmt: skip
    again: Any = Workplace(works, fails=(Warned(ErrorCode.PACKAGES_FAILED, "no mirror"),))
    assert RETRY.carry_out(again).status is Status.PROVISIONED_WITH_WARNINGS
    assert again.report.warnings == ["still fails: no mirror [packagesFailed]"]
