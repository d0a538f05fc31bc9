"""An action whose asking is counted: `cloudpc:actions` has a generation, and state how far it has come."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field

from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.case import A, Answer, Case
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked, Written, generation_of

_PC = TypeVar("_PC", bound=DesiredCloudPC)


class Counted(Action[A]):
    """Each asking raises its generation; an argument stands beside it, in files as in state."""

    @property
    def trace(self) -> Any:
        return dict[str, Annotated[int, Field(ge=1)]] if self.asked is Asked else dict[str, self.asked]  # type: ignore[name-defined]

    def count(self, pc: DesiredCloudPC) -> int:
        """The generation that was asked for last."""
        return pc.actions.get(self.name, 0)

    def counted(self, pc: _PC, generation: int) -> _PC:
        """With this generation."""
        return pc.model_copy(update={"actions": {**pc.actions, self.name: generation}})

    def given(self, pc: DesiredCloudPC) -> A:
        """What it was asked for with last, of one that it was asked for."""
        values = {**pc.action_arguments.get(self.name, {}), "generation": self.count(pc)}
        return cast("A", self.asked.model_validate(values, strict=False))  # state has no whole numbers

    def read(self, asked: Written | None) -> A:
        """What stands in `cloudpc:actions`, where something does."""
        return cast("A", asked if isinstance(asked, self.asked) else self.asked(generation=generation_of(asked)))

    def noted(self, pc: _PC, asked: A) -> _PC:
        """As one that this was asked for of."""
        return self._with(self.counted(pc, asked.generation), asked.arguments)

    def same_as(self, pc: _PC, other: DesiredCloudPC) -> _PC:
        """As far as the other: with what was asked for of that."""
        return self._with(self.counted(pc, self.count(other)), other.action_arguments.get(self.name, {}))

    def _with(self, pc: _PC, arguments: Mapping[str, Any]) -> _PC:
        others = {name: given for name, given in pc.action_arguments.items() if name != self.name}
        all_of_them = {**others, self.name: dict(arguments)} if arguments else others
        return pc.model_copy(update={"action_arguments": all_of_them})

    def asks(self, recorded: RecordedCloudPC, written: Any = None, asked: A | None = None) -> int | str | A:
        """A generation above the file's and state's."""
        generation = max(generation_of(written), self.count(recorded)) + 1
        if asked is None or self.asked is Asked:
            return generation
        return asked.model_copy(update={"generation": generation})

    def is_done(self, recorded: RecordedCloudPC, asked: int | str | Asked) -> bool:
        return self.count(recorded) == generation_of(asked)

    def spent(self, new: DesiredCloudPC, before: RecordedCloudPC | None, asked: Written | None) -> DesiredCloudPC:
        done = self.count(before) if before else 0
        if generation_of(asked) > done:
            return self.noted(new, self.read(asked))
        return self.same_as(new, before) if before and done else new

    def taken_back(self, made: DesiredCloudPC, asked: DesiredCloudPC) -> DesiredCloudPC:
        return self.same_as(made, asked) if self.count(asked) != self.count(made) else made

    @abstractmethod
    def plan(self, case: Case) -> Answer: ...

    @abstractmethod
    def is_due(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> bool: ...

    @abstractmethod
    def carry_out(self, at: Workplace) -> RecordedCloudPC: ...
