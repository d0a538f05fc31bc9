"""How text has to be written: a pattern that editors read, and the words that people read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from cloudpc.model.text import unseen


@dataclass(frozen=True)
class Written:
    """For `Annotated[str, Written(…)]`, instead of a Field's `pattern`, whose error would show the expression.

    Args:
        pattern: the whole text has to match it.
        words: what it means; they follow "must be".
        all_seen: whether it may have no character that makes a twin of it that looks the same.
    """

    pattern: str
    words: str
    all_seen: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}

    def _checked(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"must be {self.words}")
        if self.all_seen and (found := unseen(value)):
            message = f"must be {self.words}, without characters that are not seen ({', '.join(found)}); type it anew"
            raise ValueError(message)
        return value


USER_AT_DOMAIN = Written(r"[^@\s]+@[^@\s]+", "user@domain", all_seen=True)
