"""The audit file: a line of JSON for each change of a Cloud PC, where `cloudpc:audit` asks for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OF_ONE = ("userId", "servicePlan", "policy")


def append(
    file: Path | None, before: dict[str, Any], after: dict[str, Any], tell: Callable[[str], None], *, seen: bool = False
) -> None:
    """Add the last event, if there is a new one. A file that can't be written stops nobody.

    Args:
        file: where, if anywhere.
        before: outputs as state has them.
        after: outputs as they are now.
        tell: is given what went wrong.
        seen: whether a refresh has seen it, which looks again at each preview: the same is written once.
    """
    events = after.get("events") or []
    if file is None or not events or events == before.get("events"):
        return
    when, status, why = [*events[-1].split(" ", 2), "", ""][:3]
    line = {
        "time": when,
        "policy": after["policyId"],
        "userPrincipalName": after["userPrincipalName"],
        "userId": after["userId"],
        "servicePlan": after["servicePlan"]["id"],
        "deviceName": after["deviceName"],
        "from": before.get("status"),
        "to": status,
        "why": why,
    }
    try:
        if seen and _without_time(_last(file, line)) == _without_time(line):
            return
        # one write of a file opened for appending: lines of several runs don't mix
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        tell(f"cloudpc:audit: {file} can't be written: {error.strerror}; missing there: {json.dumps(line)}")


def _last(file: Path, like: dict[str, Any]) -> dict[str, Any]:
    """The last line there of the same Cloud PC."""
    found: dict[str, Any] = {}
    if not file.exists():
        return found
    with file.open(encoding="utf-8", errors="replace") as lines:
        for text in lines:
            with contextlib.suppress(ValueError):  # a line that somebody else has written
                line = json.loads(text) if like["userId"] in text else None
                if isinstance(line, dict) and all(line.get(name) == like[name] for name in _OF_ONE):
                    found = line
    return found


def _without_time(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "time"}
