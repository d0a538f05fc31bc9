"""Names in Azure: a machine's, and those of what it is made of, which begin with it.

Joining Entra stamps a machine's name on it, and was seen to fail with more than 15 characters: so a name says which
machine it is, but not whose.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

_PREFIX = "cpc"
_DIGITS = 12
"""Of 5 bits each: 60 bits of the machine's id."""
_HEX = _DIGITS * 5 // 4
LENGTH = len(_PREFIX) + _DIGITS


def name_of(machine_id: UUID) -> str:
    """The machine's."""
    return _PREFIX + base64.b32encode(machine_id.bytes).decode().lower()[:_DIGITS]


@dataclass(frozen=True)
class Parts:
    """Names of what one try to make a machine makes beside it.

    Those of every try are new: Azure keeps a card for 180 s for a machine that failed, and knows a disk for longer.
    """

    card: str
    disk: str

    @classmethod
    def of(cls, machine: str, attempt: str, number: int) -> Parts:
        """Of the machine of this name: of try `number`, from 0, of an attempt."""
        stem = f"{machine}-{attempt}" + (f"-{number + 1}" if number else "")
        return cls(f"{stem}-nic", f"{stem}-os")


def machine_named_in(name: str) -> str | None:
    """The name of the machine that this, or something that is named after it, belongs to; None if of none of ours.

    Azure's names are the same in whatever case, and not every service keeps the case.
    """
    machine = name.partition("-")[0].lower()
    return machine if starts_with(machine) is not None else None


def starts_with(machine: str) -> str | None:
    """How the id of a machine of this name begins, in hexadecimal digits; None if the name is not of one of ours."""
    if not machine.startswith(_PREFIX) or len(machine) != LENGTH:
        return None
    digits = machine.removeprefix(_PREFIX).upper()
    try:
        return base64.b32decode(digits + "A" * (16 - _DIGITS)).hex()[:_HEX]
    except (binascii.Error, ValueError):
        return None
