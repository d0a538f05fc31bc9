"""What stands in `cloudpc:actions` for a Cloud PC: how often an action was asked for, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from cloudpc.model.policy import Part


class Asked(Part):
    """What an action is asked for with. One that needs an argument derives its own, with a field for each.

    A field is text, a number, a truth value or a Literal: one option of the command. In files, and in state, it has
    its name in camelCase.
    """

    generation: int = Field(ge=1, description="Raised each time it is asked for.")

    @property
    def arguments(self) -> dict[str, Any]:
        """Without how often; what was not given is left out. Names and values as in a file."""
        return self.model_dump(by_alias=True, mode="json", exclude={"generation"}, exclude_none=True)

    @property
    def words(self) -> dict[str, Any]:
        """The same for the action's sentences, by the fields' names."""
        return self.model_dump(exclude={"generation"})

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The fields that an action has added, by name."""
        return {name: field for name, field in cls.model_fields.items() if name != "generation"}

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, values: Any) -> Any:
        """The engine writes text that looks like a number, or like a truth value, as one."""
        if not isinstance(values, Mapping):
            fields = ", ".join(f"{field.alias or name}: ..." for name, field in cls.model_fields.items())
            raise ValueError(f"must be {{{fields}}}: a number alone does not say with what")  # noqa: TRY004 - pydantic's
        texts = {field.alias or name for name, field in cls.options().items() if field.annotation in (str, str | None)}
        return {name: _as_text(value) if name in texts else value for name, value in values.items()}


Written = int | datetime | Asked
"""A generation; the end of a grace period; or a generation with arguments."""


def generation_of(asked: Any) -> int:
    """How often something was asked for, also as a file has it unread; 0 if never, or if that is not counted."""
    if isinstance(asked, Asked):
        return asked.generation
    if isinstance(asked, Mapping):
        asked = asked.get("generation")
    return int(asked or 0) if isinstance(asked, int | float | str) else 0


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value
