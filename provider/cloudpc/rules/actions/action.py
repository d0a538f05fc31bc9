"""What every remote action is: its names, its command, its trace in `cloudpc:actions`, and what it decides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules.actions.case import NOTHING, A, Answer, Candidate, Case
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked, Written
from cloudpc.rules.notices import Reason


@dataclass(frozen=True)
class Question:
    """What a command asks before it does anything.

    `{cloud_pcs}` is how many, `{them}` stands for them; each argument of the action stands under its name.
    """

    title: str
    """Above the table of those it would act on."""
    question: str


@dataclass(frozen=True)
class Filter:
    """An option of the command that leaves out others without a word."""

    name: str
    help: str
    keeps: Callable[[Candidate[Any]], bool]


class Action(ABC, Generic[A]):
    """Something an admin asks for of a Cloud PC. `cloudpc.rules.actions` lists them; most derive from `OnMachine`.

    What this class itself decides is nothing: so is one whose trace the lifecycle reads. One that has a step of its
    own is `Counted`.
    """

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
    loses_data: ClassVar[bool] = False
    """Whether what is on the Cloud PC is gone afterwards: pages have its name typed first."""
    by_users: ClassVar[bool] = False
    """Whether a user may ask for it, by a page, of a Cloud PC of their own, whatever the policy says."""
    users_call_it: ClassVar[str] = ""
    """Its name for them, where that is not its command's."""
    filters: ClassVar[Sequence[Filter]] = ()
    """Options of the command; giving one is enough to say which Cloud PCs are meant."""
    must_name_users: ClassVar[bool] = False
    """Whether the command wants users' names, and does not take a policy's for all of them."""
    asked: ClassVar[type[Asked]] = Asked
    """What it is asked for with, as the class derives from it: `Asked` itself where there is no argument."""

    def is_for_users_of(self, policy: ProvisioningPolicy | None) -> bool:
        """Whether users of this policy may ask for it; None: what it says is not known."""
        del policy
        return self.by_users

    # ---- its trace

    @property
    @abstractmethod
    def trace(self) -> Any:
        """The type of what stands in `cloudpc:actions` by key."""

    @abstractmethod
    def asks(self, recorded: RecordedCloudPC, written: Any = None, asked: A | None = None) -> int | str | A:
        """What a command writes to ask for it (once more).

        Args:
            recorded: of whom.
            written: what stands in the file.
            asked: what the command was given.
        """

    @abstractmethod
    def is_done(self, recorded: RecordedCloudPC, asked: int | str | Asked) -> bool:
        """Whether a run has carried out what was asked for; whether that went well, its status says."""

    can_be_over: ClassVar[bool] = False
    """Whether what stands in `cloudpc:actions` may come to be of no use, so that each run warns of it."""

    def is_over(self, recorded: RecordedCloudPC, written: Any) -> bool:
        """Whether it has, for this Cloud PC."""
        del recorded, written
        return False

    def spent(self, new: DesiredCloudPC, before: RecordedCloudPC | None, asked: Written | None) -> DesiredCloudPC:
        """For one that is made (again): earlier requests are over, since it has the current settings anyway."""
        del before, asked
        return new

    def taken_back(self, made: DesiredCloudPC, asked: DesiredCloudPC) -> DesiredCloudPC:
        """One that state had lost, as it was made; what was asked for until then is over, or it would be done again."""
        del asked
        return made

    # ---- what it decides; pure

    @abstractmethod
    def refusal(self, candidate: Candidate[A]) -> Reason | None:
        """Why a command may not ask for it."""

    def plan(self, case: Case) -> Answer:
        """What becomes of one that stays."""
        del case
        return NOTHING

    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool:
        """Whether this is what leads from what is recorded to what is desired."""
        del recorded, desired
        return False

    # ---- its step

    not_done: ClassVar[str] = ""
    """What is said where it is not carried out, and all is as it was; the error follows."""

    def carry_out(self, at: Workplace) -> RecordedCloudPC:
        """Do it; what is recorded from now on. What is recorded now asks for it again in the next run.

        Raises:
            ProvisioningError: it is as it was.
            Cancelled: by whoever runs it; what is half done is done again by the next run.
        """
        return at.recorded

    def makes_machine(self, recorded: RecordedCloudPC) -> bool:
        """Whether it gives its user another machine than the one that state knows."""
        del recorded
        return False
