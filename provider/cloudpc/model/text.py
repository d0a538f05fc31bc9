"""Text from outside: guests, directories, hosts, files and the engine say it, and no terminal may obey it.

It goes through here where it comes in and once more where it is shown; doing it twice changes nothing.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cloudpc.model.masking import masked

_OBEYED = "\x00-\x1f\x7f-\x9f"  # by terminals: C0, DEL, C1
_UNSEEN = (
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"  # Unicode's Default_Ignorable_Code_Point; order, lines
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\ud800-\udfff\U000e0000-\U000e0fff"  # unseen twins; none at all
)
_UNSEEN_IN_WORDS = "\u200c\u200d\u2800\ufe0e\ufe0f"
"""Unseen, too, and yet meant in a text: Persian and emoji are joined, parted and coloured by them, Braille spaced."""
_UNSAFE = re.compile(f"[{_OBEYED}{_UNSEEN}]")
_NO_PART_OF_A_NAME = re.compile(f"[{_OBEYED}{_UNSEEN}{_UNSEEN_IN_WORDS}]")
_LINES = "\n\t"
_COLOURS = re.compile("(\x1b\\[[0-9;:]*m)")
_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, the cursor
    # titles, links, the clipboard; up to the next one at most, or a guest could keep us reading for minutes
    "|(?:\x1b[PX\\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-OQ-WYZ\\\\`-~]"
    "|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"  # the bell, backspaces
)


def command_line(*words: str) -> str:
    """A command for people to copy: whatever letters its words have, a shell takes them as they are."""
    return shlex.join(words)


def some_of(names: Sequence[str]) -> str:
    """The first three, and how many more there are: for the middle of a sentence."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def harmless(text: str, keep: str = "") -> str:
    """The text with each character that steers a terminal, or hides or reorders others, as its number (`x1b`).

    Args:
        text: any.
        keep: such characters that stay, for example a newline.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def unseen(name: str) -> list[str]:
    """Characters that make a twin of a name that looks the same, as people look them up (`U+200B`)."""
    return [f"U+{ord(found):04X}" for found in dict.fromkeys(_NO_PART_OF_A_NAME.findall(name))]


def harmless_lines(text: str) -> str:
    """Of a text whose own line ends and tabs are meant."""
    return harmless(text, _LINES)


def plain(output: str) -> str:
    """What a program has written for a terminal, in lines: its colours and other commands are taken out."""
    return harmless_lines(_SEQUENCES.sub("", output).replace("\r\n", "\n").replace("\r", "\n"))


def told(message: str) -> str:
    """A sentence that quotes what others have said: in one line, without commands and secrets of URLs."""
    return masked(" / ".join(filter(None, map(str.strip, plain(message).split("\n")))).replace("\t", " "))


def with_hint(text: str, hint: str) -> str:
    """What is wrong, then what to do: `hint`, a sentence, or the rest of one in small letters; empty: not known."""
    apart = ". " if hint[:1].isupper() else "; "
    return text.rstrip(".") + apart + hint if hint else text


def last_lines(output: str) -> str:
    """The end of what a program said, in one line."""
    return (" / ".join(line.strip() for line in plain(output).strip().split("\n")[-3:]) or "no output")[-400:]


def coloured_only(line: str) -> str:
    """A line of a program that we trust with colours, and with nothing else."""
    parts = _COLOURS.split(line)
    return "".join(part if number % 2 else harmless_lines(part) for number, part in enumerate(parts))


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON that means the same and harms no terminal: what steers one is written as its number."""
    written = in_json(value, indent)
    return _UNSAFE.sub(lambda found: found[0] if found[0] in _LINES else json.dumps(found[0])[1:-1], written)


def in_json(value: Any, indent: int | None = None) -> str:
    """Any value as JSON, with text for what JSON doesn't have: times, numbers that are not finite."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {_finite(name): _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def in_utc(time: datetime) -> str:
    """A time to the second, as Graph writes times: 2026-11-30T09:00:00Z."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
