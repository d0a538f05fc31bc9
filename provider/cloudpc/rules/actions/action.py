"""What every remote action is: its names, its trace in `cloudpc:actions`, whom it acts on, its step and its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import Field

from cloudpc.model.cloud_pc import USABLE, WAITING, DesiredCloudPC, PolicySettings, RecordedCloudPC, Status
from cloudpc.model.errors import unexpected_told
from cloudpc.rules import transitions
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.notices import Reason

_PC = TypeVar("_PC", bound=DesiredCloudPC)


class Candidate(Protocol):
    """A Cloud PC that a command is to act on; what must be looked up is looked up when it is asked for."""

    @property
    def recorded(self) -> RecordedCloudPC:
        """As state has it."""

    @property
    def settings_of_today(self) -> PolicySettings | None:
        """What its policy says now; None where that is not known."""

    @property
    def is_entitled(self) -> bool:
        """Whether its policy owes it, as far as the policy alone says."""

    @property
    def is_outdated(self) -> bool:
        """Whether it was made with other settings than its policy has now."""


@dataclass(frozen=True)
class Question:
    """What a command asks before it does anything; `{cloud_pcs}` is how many, `{them}` stands for them."""

    title: str
    """Above the table of those it would act on."""
    question: str


@dataclass(frozen=True)
class Filter:
    """An option of the command that leaves out others without a word."""

    name: str
    help: str
    keeps: Callable[[Candidate], bool]


@dataclass(frozen=True)
class Case:
    """A Cloud PC that stays and is not in its grace period, and what is asked for of it."""

    recorded: RecordedCloudPC
    asked: int | datetime | None
    """What `cloudpc:actions` has for it."""
    settings: PolicySettings
    """Today's."""
    anew: Callable[[int], DesiredCloudPC]
    """It as today's policy makes it, of this generation."""

    @property
    def generation(self) -> int:
        """What is asked for, of an action that counts."""
        return self.asked if isinstance(self.asked, int) else 0

    def as_it_is(self, **changes: object) -> DesiredCloudPC:
        """It as it is recorded, but for these."""
        return as_it_is(self.recorded).model_copy(update=changes)


@dataclass(frozen=True)
class Answer:
    """What an action makes of a case."""

    desired: DesiredCloudPC | None = None
    """None: it is not this action that decides what becomes of it."""
    told: Sequence[Reason] = ()
    waived: int | None = None
    """What was asked for up to this generation is over without a reprovision."""


NOTHING = Answer()


@dataclass(frozen=True)
class WrongStatus(Reason):
    """It is not in a state in which the action means anything."""

    status: Status
    rule: str
    """What it would have to be."""

    def __str__(self) -> str:
        hint = _HINTS.get(self.status)
        return f"it is {self.status}{f' ({hint})' if hint else ''}; {self.rule}"


_HINTS = {
    **dict.fromkeys(WAITING, "each run tries again by itself"),
    Status.IN_GRACE_PERIOD: "its user is no longer entitled",
    Status.DEPROVISIONING: "it has ended",
}


@dataclass(frozen=True)
class NotEntitled(Reason):
    """The next run takes it away, or its grace has begun."""

    def __str__(self) -> str:
        return "its user is no longer entitled: the next run of its policy says what becomes of it"


@dataclass(frozen=True)
class Ignored(Reason):
    """What is written in `cloudpc:actions` is not done."""

    warning = True
    action: str
    why: str

    def __str__(self) -> str:
        return f"{self.action} in cloudpc:actions is ignored: {self.why}"


class Action(ABC):
    """Something an admin asks for of a Cloud PC. `cloudpc.rules.actions` lists them; most derive from `OnMachine`."""

    name: ClassVar[str]
    """Its key in `cloudpc:actions`."""
    command: ClassVar[str]
    """`cloudpc <command>`."""
    graph: ClassVar[str] = ""
    """What Microsoft Graph calls it, if it has it."""
    help: ClassVar[str]
    """Of the command: a sentence, and after an empty line what is worth knowing."""
    description: ClassVar[str]
    """Of its key, for editors: what happens."""
    question: ClassVar[Question | None] = None
    """Asked by the command, where something is lost."""
    filters: ClassVar[Sequence[Filter]] = ()
    """Options of the command; giving one is enough to say which Cloud PCs are meant."""
    must_name_users: ClassVar[bool] = False
    """Whether the command wants users' names, and does not take a policy's for all of them."""

    # ---- its trace

    trace: ClassVar[Any] = dict[str, Annotated[int, Field(ge=1)]]
    """The type of what stands in `cloudpc:actions`: by key, as a rule, a generation, which each asking raises."""

    def count(self, pc: DesiredCloudPC) -> int:
        """The generation that was asked for last."""
        return pc.actions.get(self.name, 0)

    def counted(self, pc: _PC, generation: int) -> _PC:
        """With this generation."""
        return pc.model_copy(update={"actions": {**pc.actions, self.name: generation}})

    def asks(self, recorded: RecordedCloudPC, written: Any = None) -> int | str:
        """What a command writes to ask for it (once more): a generation above the file's and state's."""
        return max(int(written or 0), self.count(recorded)) + 1

    def is_done(self, recorded: RecordedCloudPC, asked: int | str) -> bool:
        """Whether a run has carried out what was asked for; whether that went well, its status says."""
        return self.count(recorded) == asked

    can_be_over: ClassVar[bool] = False
    """Whether what stands in `cloudpc:actions` may come to be of no use, so that each run warns of it."""

    def is_over(self, recorded: RecordedCloudPC, written: Any) -> bool:
        """Whether it has, for this Cloud PC."""
        del recorded, written
        return False

    def spent(
        self, new: DesiredCloudPC, before: RecordedCloudPC | None, asked: int | datetime | None
    ) -> DesiredCloudPC:
        """One that is made (again): what was asked for until now is over, since it has today's settings anyway."""
        generation = max(asked if isinstance(asked, int) else 0, self.count(before) if before else 0)
        return self.counted(new, generation) if generation else new

    def taken_back(self, made: DesiredCloudPC, asked: DesiredCloudPC) -> DesiredCloudPC:
        """One that state had lost, as it was made; what was asked for until then is over, or it would be done again."""
        generation = self.count(asked)
        return self.counted(made, generation) if generation != self.count(made) else made

    # ---- what it decides; pure

    @abstractmethod
    def refusal(self, candidate: Candidate) -> Reason | None:
        """Why a command may not ask for it."""

    @abstractmethod
    def plan(self, case: Case) -> Answer:
        """What becomes of one that stays."""

    @abstractmethod
    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
        """Whether this is what leads from what is recorded to what is desired."""

    # ---- its step

    not_done: ClassVar[str]
    """What is said where it is not carried out, and all is as it was; the error follows."""

    @abstractmethod
    def carry_out(self, at: Workplace) -> RecordedCloudPC:
        """Do it; what is recorded from now on. What is recorded now asks for it again in the next run.

        Raises:
            ProvisioningError: it is as it was.
            Cancelled: by whoever runs it; what is half done is done again by the next run.
        """

    def makes_machine(self, recorded: RecordedCloudPC) -> bool:
        """Whether it gives its user another machine than the one that state knows."""
        del recorded
        return False


def as_it_is(recorded: RecordedCloudPC) -> DesiredCloudPC:
    """What is recorded, as what is desired."""
    same = DesiredCloudPC.model_validate(recorded.model_dump())
    there = recorded.status_if_there
    leaving = there if there in (Status.IN_GRACE_PERIOD, Status.DEPROVISIONING) else Status.PROVISIONED
    return same.model_copy(update={"desired_status": leaving})


@dataclass(frozen=True)
class Done(Reason):
    """An action is carried out on a machine."""

    action: str
    notice: str

    def __str__(self) -> str:
        return self.notice


class OnMachine(Action):
    """Done on a machine that works, which stays: nothing on it is lost."""

    rule: ClassVar[str]
    """Whom it may act on, as what it would have to be: `only one that works can be …`."""
    notice: ClassVar[str]
    """What a preview says will happen."""

    def why_not(self, recorded: RecordedCloudPC, settings: PolicySettings) -> Reason | None:
        """What else speaks against it on one that works."""
        del recorded, settings
        return None

    @abstractmethod
    def work(self, at: Workplace) -> str:
        """Do it; what came of it, in words. Raises as `carry_out`."""

    def after(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        """What is recorded once it is done."""
        return self.counted(recorded, self.count(desired))

    def carry_out(self, at: Workplace) -> RecordedCloudPC:
        with unexpected_told(f"{self.command} of {at.recorded.machine_id}"):
            came = self.work(at)
        at.report.milestone(came)
        return transitions.acted(self.after(at.recorded, at.desired), came, at.now)

    def changes(self, settings: PolicySettings) -> dict[str, object]:
        """What else is desired once it is asked for, by DesiredCloudPC's fields."""
        del settings
        return {}

    def refusal(self, candidate: Candidate) -> Reason | None:
        recorded = candidate.recorded
        if recorded.status not in USABLE:
            return WrongStatus(recorded.status, self.rule)
        settings = candidate.settings_of_today
        return self.why_not(recorded, settings) if settings else PolicyNotKnown()

    def plan(self, case: Case) -> Answer:
        recorded = case.recorded
        if recorded.status not in USABLE or case.generation <= self.count(recorded):
            return NOTHING
        if why := self.why_not(recorded, case.settings):
            return Answer(told=[Ignored(self.name, str(why))])
        desired = self.counted(case.as_it_is(**self.changes(case.settings)), case.generation)
        return Answer(desired, [Done(self.name, self.notice)])

    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
        return recorded.status in USABLE and self.count(desired) > self.count(recorded)


@dataclass(frozen=True)
class PolicyNotKnown(Reason):
    """Its file is wrong, or its directory can't be read; that was told."""

    def __str__(self) -> str:
        return "what its policy says today is not known"
