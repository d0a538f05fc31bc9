"""What everything that state remembers is: values under Graph's names, in camelCase."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Recorded(BaseModel):
    """A value that passes through Pulumi's state, where every number is a float: hence not strict."""

    model_config = ConfigDict(
        hide_input_in_errors=True, alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )
