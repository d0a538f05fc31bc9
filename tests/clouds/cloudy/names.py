"""Names in the cloud: 15 characters are all there is, so that they say which machine it is, but not whose."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

_PREFIX = "cpc"
_DIGITS = 12
"""Of 5 bits each: 60 bits of the machine's identity."""
_HEX = _DIGITS * 5 // 4


def name_of(machine_id: UUID) -> str:
    """The machine's; all it is made of begins with it and a hyphen."""
    return _PREFIX + base64.b32encode(machine_id.bytes).decode().lower()[:_DIGITS]


def starts_with(name: str) -> str:
    """How the identity begins of the machine that this, or something that is named after it, belongs to."""
    digits = name.partition("-")[0].removeprefix(_PREFIX)
    return base64.b32decode(digits.upper() + "A" * (16 - _DIGITS)).hex()[:_HEX]


def id_of(name: str) -> str | None:
    """The same, or None if the name is not of one of ours."""
    if not name.startswith(_PREFIX) or len(name) != len(_PREFIX) + _DIGITS:
        return None
    try:
        return starts_with(name)
    except (binascii.Error, ValueError):
        return None
