"""Security identifiers of Active Directory: who has made an object, and who is signed in."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ADMINISTRATORS = "S-1-5-32-544"
_OWNING_GROUPS = (512, 519)
"""Domain Admins and Enterprise Admins, by the last number of their SIDs: what one of them makes, the group owns."""
_FIRST_OF_ACCOUNTS = 1000
"""The last number of a SID, from which on accounts and groups are made; before it are those each domain has."""
_ADMINISTRATOR = 500


def text(raw: bytes) -> str:
    """A SID as people write it."""
    from ldap3.protocol.formatters.formatters import format_sid

    return str(format_sid(raw))


def owner(descriptor: bytes) -> str:
    """The owner that a security descriptor names; empty if none."""
    offset = int.from_bytes(descriptor[4:8], "little")
    return text(descriptor[offset : offset + 8 + 4 * descriptor[offset + 1]]) if offset else ""


def owners_of_token(token: Iterable[bytes]) -> set[str]:
    """Those of a sign-in's SIDs that can own what it makes: its own, and groups that somebody made for that.

    Not the groups that everybody is in.
    """
    return {sid for sid in map(text, token) if _can_own(sid)}


def _can_own(sid: str) -> bool:
    if sid == _ADMINISTRATORS:
        return True
    number = int(sid.rpartition("-")[2])
    of_domain = re.fullmatch(r"S-1-5-21(-[0-9]+){4}", sid) is not None
    return of_domain and (number >= _FIRST_OF_ACCOUNTS or number in (_ADMINISTRATOR, *_OWNING_GROUPS))
