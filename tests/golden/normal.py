"""What a command said, without what differs from run to run: all else is compared word by word."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

_DIFFERS: list[tuple[str, str]] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "<time>"),
    (r"(-failed-)\d+", r"\1<time>"),
    (r"(ssh at \S+, )\d+ s", r"\1<n> s"),
    (r"^Duration: \S+$", "Duration: <n>s"),
    (r"(pulumi )v\d+\.\d+\.\d+", r"\1<version>"),
    (r"taken by \S+@\S+ \(pid \d+\)", "taken by <user>@<host> (pid <n>)"),
    (r"\(\d+ free\)", "(<n> free)"),  # others take theirs meanwhile
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r'(^Password +|"password": ")[^\s"]+', r"\1<password>"),
    (r"^@ [\w ]+\.+\n", ""),  # the engine's sign of life
    (r" \(\d+(\.\d+)?s\)", ""),  # how long a resource has taken until then
]
_PROGRESS = re.compile(r"^ (?:[-+~ ]| {2}|\+-|-\+|<>|<=) +(\S+:\S+) (\S+) .*$")
_STACK = "pulumi:pulumi:Stack"
"""Its own line is only the count of what is reported below, and not always the last one."""
_OUTPUTS_OF_REFRESH = re.compile(r"^(Refreshing .*?)^Outputs:.*?^(?=Resources:)", re.MULTILINE | re.DOTALL)
"""Which the engine shows or doesn't."""
_SIDE_BY_SIDE = re.compile(r"^\w+ +\| ?")
_HEADING = re.compile(r"^  (\S.*):$")


def normal(text: str, root: Path, *, progress: bool = False) -> str:
    """The text as it is in a golden file.

    Args:
        text: what was said.
        root: the project's folder.
        progress: with each line that a resource has shown, in order; else with its last one.
    """
    for path in (str(root), quote(str(root))):
        text = text.replace(path, "<project>")
    shown: list[str] = []
    for policy, lines in groupby((line.rstrip() for line in text.splitlines()), _policy):
        inner = _normal([line.removeprefix(policy) for line in lines], progress=progress)
        shown += [f"{policy}{line}".rstrip() for line in inner]
    return "\n".join(shown).strip("\n") + "\n"


def _policy(line: str) -> str:
    """What stands before a line where policies run side by side: `first  | `."""
    found = _SIDE_BY_SIDE.match(line)
    return found[0] if found else ""


def _normal(lines: list[str], *, progress: bool) -> list[str]:
    text = "".join(f"{line}\n" for line in lines)
    for pattern, instead in _DIFFERS:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    text = _OUTPUTS_OF_REFRESH.sub(r"\1", text)
    lines = [line.rstrip() for line in text.splitlines()]
    return _diagnostics_sorted(_by_resource(lines, all_=progress))


def _by_resource(lines: list[str], *, all_: bool) -> list[str]:
    """The lines that the engine shows while it is at work, by resource: how several take turns differs."""
    shown: dict[tuple[str, str], list[str]] = {}
    rest: list[str] = []
    begin = None
    for line in lines:
        if found := _PROGRESS.match(f"{line} "):
            begin = len(rest) if begin is None else begin
            if found[1] != _STACK:
                shown.setdefault((found[1], found[2]), []).append(line)
        else:
            rest.append(line)
    begin = begin or 0
    kept = [line for which in sorted(shown) for line in (shown[which] if all_ else shown[which][-1:])]
    return [*rest[:begin], *kept, *rest[begin:]]


def _diagnostics_sorted(lines: list[str]) -> list[str]:
    """The engine tells of resources in the order in which they spoke up, and the program in that of state."""
    if "Diagnostics:" not in lines:
        return lines
    begin = lines.index("Diagnostics:") + 1
    ends = (i for i, line in enumerate(lines[begin:], begin) if line and not line.startswith("  "))
    end = next(ends, len(lines))
    blocks: list[list[str]] = []
    for line in lines[begin:end]:
        if _HEADING.match(line):
            blocks.append([])
        if line and blocks:
            blocks[-1].append(line)
    blocks = [_program_sorted(block) if _STACK in block[0] else block for block in blocks]
    told = [line for block in sorted(blocks) for line in [*block, ""]]
    return [*lines[:begin], *told, *lines[end:]]


def _program_sorted(block: list[str]) -> list[str]:
    heading, *lines = block
    messages: list[list[str]] = []
    for line in lines:
        if messages and line.startswith("     "):
            messages[-1].append(line)  # the message goes on
        else:
            messages.append([line])
    messages.sort(key=lambda message: message[0].replace("warning: ", ""))
    return [heading, *(line for message in messages for line in message)]
