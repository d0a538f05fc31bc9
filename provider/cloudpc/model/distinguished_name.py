"""Distinguished names as Active Directory takes them: blanks around the parts, quotes, either way of escaping.

One form of each name goes to the domain, for LDAP's own rules are stricter than what admins copy from its tools.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

_SPECIAL = re.compile(r'[,+"\\<>;=]')
_QUOTED = re.compile(r'\\.|"((?:\\.|[^"\\])*)"', re.DOTALL)
_BLANKS = " \t\n\r"
_TYPE = rf"[{_BLANKS}]*([A-Za-z][A-Za-z0-9-]*)[{_BLANKS}]*="
_PART = re.compile(
    # a plus is one of the value, unless a second type comes after it
    rf"{_TYPE}((?:[^\\,+\"<>;]|\+(?!{_TYPE.replace('(', '(?:')})|\\[0-9A-Fa-f]{{2}}|\\[ #=,+\"\\<>;])*)"
)
_NAME = re.compile(f"{_PART.pattern}(?:,{_PART.pattern})*")
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_UNSEEN = re.compile(r"[\x01-\x1f]|[^\S ]")
_MUST = "must be a distinguished name such as OU=Cloud PCs,DC=corp,DC=contoso,DC=com, with \\ before special characters"

Rdn = tuple[str, str]
"""Attribute type in capitals, and the value without escapes."""


def normal(name: str) -> str:
    r"""This name in the one form: no blanks around its parts, types in capitals, `\` before special characters.

    Raises:
        ValueError: it is none.
    """
    return written(parts(name))


def written(rdns: Sequence[Rdn]) -> str:
    """The name of these parts."""
    return ",".join(f"{kind}={escaped(value)}" for kind, value in rdns)


def escaped(value: str) -> str:
    """A value as it stands in a name."""
    from ldap3.utils.dn import escape_rdn

    text: str = escape_rdn(value)
    return _UNSEEN.sub(lambda found: "".join(f"\\{byte:02X}" for byte in found[0].encode()), text)


def parts(name: str) -> list[Rdn]:
    """The parts of a name, innermost first.

    Raises:
        ValueError: it is none.
    """
    plain = _QUOTED.sub(_unquoted, name)
    if not _NAME.fullmatch(plain):
        hint = "; a part has one name, so write \\+ where a name holds a plus" if "+" in plain else ""
        raise ValueError(_MUST + hint)
    return [(kind.upper(), _value(value.strip(_BLANKS))) for kind, value in _PART.findall(plain)]


def domain(name: str) -> str:
    """The DNS name of the domain that a name lies in; empty if it names none. Raises ValueError as above."""
    labels = [value.replace(".", r"\.") for _, value in takewhile(lambda part: part[0] == "DC", reversed(parts(name)))]
    return ".".join(reversed(labels)).lower()


def same(one: str, other: str) -> bool:
    """Whether these are one name to Active Directory, which knows no case. Raises ValueError as above."""
    return normal(one).lower() == normal(other).lower()


def _unquoted(found: re.Match[str]) -> str:
    """A quoted piece with escapes instead, and an escaped blank in a form that stripping does not remove."""
    if found[1] is None:
        return r"\20" if found[0] == r"\ " else found[0]
    return _SPECIAL.sub(lambda special: "\\" + special[0], re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL))


def _value(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        return bytes.fromhex(found[1].replace("\\", "")).decode() if found[1] else found[2]

    if _CONTROL.search(text):  # a line that lacks its comma
        raise ValueError(_MUST)
    try:
        value = _ESCAPED.sub(plain, text)
    except UnicodeDecodeError:
        raise ValueError(_MUST) from None
    if not value or "\0" in value:
        raise ValueError(_MUST)
    return value
