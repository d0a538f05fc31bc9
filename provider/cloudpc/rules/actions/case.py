"""What an action is asked about, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cloudpc.model.cloud_pc import DesiredCloudPC, PolicySettings, RecordedCloudPC
from cloudpc.rules.asked import Asked, Written, generation_of
from cloudpc.rules.kept import as_it_is
from cloudpc.rules.notices import Reason

A = TypeVar("A", bound=Asked)
_A_co = TypeVar("_A_co", bound=Asked, covariant=True)


class Candidate(Protocol[_A_co]):
    """A Cloud PC that a command is to act on; what must be looked up is looked up when it is asked for."""

    @property
    def recorded(self) -> RecordedCloudPC:
        """As state has it."""

    @property
    def asked(self) -> _A_co:
        """What the command was given; how often it was asked for is not said yet."""

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
class Case:
    """A Cloud PC that stays and is not in its grace period, and what is asked for of it."""

    recorded: RecordedCloudPC
    asked: Written | None
    """What `cloudpc:actions` has for it."""
    settings: PolicySettings
    """Today's."""
    anew: Callable[[int], DesiredCloudPC]
    """The Cloud PC as the policy's current settings make it, of this generation."""

    @property
    def generation(self) -> int:
        """What is asked for, of an action that counts."""
        return generation_of(self.asked)

    def as_it_is(self, **changes: object) -> DesiredCloudPC:
        """It as it is recorded, but for these."""
        return as_it_is(self.recorded).model_copy(update=changes)


@dataclass(frozen=True)
class Request(Generic[A]):
    """One Cloud PC that works, and what is asked for of it: by its command, or in `cloudpc:actions`."""

    recorded: RecordedCloudPC
    settings: PolicySettings
    """Today's."""
    asked: A


@dataclass(frozen=True)
class Answer:
    """What an action makes of a case."""

    desired: DesiredCloudPC | None = None
    """None: it is not this action that decides what becomes of it."""
    told: Sequence[Reason] = ()
    waived: int | None = None
    """What was asked for up to this generation is over without a reprovision."""


NOTHING = Answer()
