"""What a user signs in with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, SecretStr

from cloudpc.model.devices import TemporaryAccessPass
from cloudpc.model.recorded import Recorded

# no letters or digits that are taken for one another when read aloud or typed from a screen
_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GROUPS, _GROUP_LENGTH = 4, 5


@dataclass(frozen=True)
class Credentials:
    """The account and its password; keys are in the guest already. The password never shows in a repr."""

    user: str
    password: str = field(repr=False)
    access_pass: TemporaryAccessPass | None = None


class RecordedPass(Recorded):
    """A Temporary Access Pass as state remembers it."""

    value: SecretStr = Field(alias="temporaryAccessPass")
    start_date_time: str = ""
    lifetime_in_minutes: int = 60
    is_usable_once: bool = False


class RecordedCredentials(Recorded):
    """What a user signs in with, as state remembers it; who hands it out opens it."""

    user: str
    password: SecretStr
    access_pass: RecordedPass | None = Field(default=None, alias="temporaryAccessPass")

    @classmethod
    def of(cls, given: Credentials) -> RecordedCredentials:
        """To be remembered."""
        access_pass = given.access_pass and RecordedPass(
            value=SecretStr(given.access_pass.value),
            start_date_time=given.access_pass.start_date_time,
            lifetime_in_minutes=given.access_pass.lifetime_in_minutes,
            is_usable_once=given.access_pass.is_usable_once,
        )
        return cls(user=given.user, password=SecretStr(given.password), access_pass=access_pass)

    def opened(self) -> dict[str, Any]:
        """In clear: for state, which seals it, and for who asks for it."""
        values = self.model_dump(by_alias=True, exclude_none=True)
        values["password"] = self.password.get_secret_value()
        if self.access_pass is not None:
            values["temporaryAccessPass"]["temporaryAccessPass"] = self.access_pass.value.get_secret_value()
        return values


def generate_password() -> str:
    """Four groups of five characters, about 115 bits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)
