"""What a user signs in with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cloudpc.model.devices import TemporaryAccessPass

# no letters or digits that are taken for one another when read aloud or typed from a screen
_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GROUPS, _GROUP_LENGTH = 4, 5


@dataclass(frozen=True)
class Credentials:
    """The account and its password; keys are in the guest already. The password never shows in a repr."""

    user: str
    password: str = field(repr=False)
    access_pass: TemporaryAccessPass | None = None


def generate_password() -> str:
    """Four groups of five characters, about 115 bits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)
