"""Device names from the naming template, under Windows 365's rules.

Source of the rules: Windows 365 "Create provisioning policies" (shared as `cloudPcNamingTemplate`): 4 to 15
characters; letters, digits, hyphens and underscores; `%RAND:y%` is required with y of at least 5; `%USERNAME:x%` is
optional.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from cloudpc.model.digest import digest

DEFAULT_TEMPLATE = "CPC-%USERNAME:5%-%RAND:5%"
_MACRO = re.compile(r"%(USERNAME|RAND):([0-9]+)%")
# no vowels and nothing that is read as something else: a random name spells no word and survives the telephone
_LETTERS = "BCDFGHJKMNPQRSTVWXZ23456789"


def check_template(template: str) -> None:
    """Raise ValueError, saying which rule, unless the template only makes valid device names."""
    rest = _MACRO.sub("", template)
    if "%" in rest:
        raise ValueError("may only use the macros %USERNAME:x% and %RAND:y% with a number in place of x and y")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", rest):
        raise ValueError("may only contain letters, digits, hyphens, underscores and the two macros; no blanks")
    macros = [(name, int(length)) for name, length in _MACRO.findall(template)]
    names = [name for name, _ in macros]
    if names.count("RAND") != 1 or names.count("USERNAME") > 1:
        raise ValueError("needs %RAND:y% exactly once, and %USERNAME:x% at most once")
    if any(name == "RAND" and length < 5 for name, length in macros):
        raise ValueError("needs at least 5 random characters: %RAND:5%")
    if any(length < 1 for _, length in macros):
        raise ValueError("needs at least one character in each macro")
    longest = len(rest) + sum(length for _, length in macros)
    if longest > 15:
        raise ValueError(f"makes names of up to {longest} characters; 15 are allowed")
    if rest[:1] in ("-", "_") and template[:1] in ("-", "_"):
        raise ValueError("must begin with a letter, a digit or a macro")


def device_name(template: str, username: str, seed: str, taken: Container[str] = ()) -> str:
    """The device name of a user, the same each time for the same seed.

    Args:
        template: a checked naming template.
        username: the part of the userPrincipalName before the @.
        seed: what the random part is derived from: attempts keep a name, a reprovision gets a new one.
        taken: names that may not be given again, in lower case.
    """
    plain = unicodedata.normalize("NFKD", username).encode("ascii", "ignore").decode()
    letters = re.sub(r"[^A-Za-z0-9]", "", plain) or "user"
    for salt in range(10_000):
        stream = digest(seed, str(salt)) + digest(str(salt), seed)

        def part(match: re.Match[str], stream: bytes = stream) -> str:
            length = int(match[2])
            if match[1] == "USERNAME":
                return letters[:length]
            return "".join(_LETTERS[byte % len(_LETTERS)] for byte in stream[:length])

        name = _MACRO.sub(part, template)
        # a name of digits alone is not a computer name to Windows, and is an address to `ssh` and the like
        if name.lower() not in taken and not name.isdecimal():
            return name
    raise ValueError(f"all names of the template {template!r} are taken")
