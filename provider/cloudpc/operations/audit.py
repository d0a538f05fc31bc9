"""The audit file: a line of JSON for each change of a Cloud PC, where `cloudpc:audit` asks for it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cloudpc.files import audit_file, regular_file
from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.model.text import to_json


def target(path: str | None, stacks: Path, tell: Callable[[str], None]) -> Path | None:
    """The file to append to, if any. A file that can no longer be used stops nobody.

    Args:
        path: what the policy names, if anything.
        stacks: the folder that it is relative to.
        tell: is given what is wrong.
    """
    try:
        return audit_file.find(path, stacks)
    except ValueError as error:
        tell(f"cloudpc:audit: {error}; nothing is written")
        return None


def append(
    file: Path | None, before: RecordedCloudPC | None, after: RecordedCloudPC, tell: Callable[[str], None]
) -> None:
    """Add the events that are new. A file that can't be written stops nobody.

    Args:
        file: where, if anywhere.
        before: what was recorded, if anything.
        after: what is recorded now.
        tell: is given what went wrong.
    """
    if file is None:
        return
    known, status = (before.events, before.status) if before else ((), None)
    new = [event for event in after.events if event not in known]
    _write(file, [_line(after, event, was) for event, was in _with_status_before(new, status)], tell)


def catch_up(file: Path, recorded: Iterable[RecordedCloudPC], tell: Callable[[str], None]) -> None:
    """Add each one's last event where it is missing: what a refresh has found, which previews look for, too."""
    known = _known(file)
    last = ((pc, pc.events[-1], _status(pc.events[-2]) if len(pc.events) > 1 else None) for pc in recorded if pc.events)
    lines = [_line(*each) for each in last]
    _write(file, [line for line in lines if _identity(line) not in known], tell)


def _with_status_before(events: Sequence[str], status: str | None) -> Iterable[tuple[str, str | None]]:
    for event in events:
        yield event, status
        status = _status(event)


def _status(event: str) -> str:
    return event.split(" ", 2)[1]


def _line(pc: RecordedCloudPC, event: str, before: str | None) -> dict[str, Any]:
    when, status, why = [*event.split(" ", 2), ""][:3]
    return {
        "time": when,
        "policy": pc.policy_id,
        "userPrincipalName": pc.user_principal_name,
        "userId": pc.user_id,
        "servicePlan": pc.service_plan.id,
        "deviceName": pc.device_name,
        "from": before,
        "to": status,
        "why": why,
    }


def _write(file: Path, lines: Sequence[dict[str, Any]], tell: Callable[[str], None]) -> None:
    if not lines:
        return
    text = "".join(to_json(line) + "\n" for line in lines)
    try:
        # one write of a file opened for appending: lines of several runs don't mix
        with regular_file.opened(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as out:
            out.write(text.encode(errors="backslashreplace"))
    except OSError as error:
        tell(f"cloudpc:audit: {file} can't be written: {error.strerror}; missing there: {text.strip()}")


def _known(file: Path) -> set[tuple[object, ...]]:
    """What the file has; an unreadable one has nothing, and lines that somebody else has written mean nothing."""
    found: set[tuple[object, ...]] = set()
    with contextlib.suppress(OSError), regular_file.opened(file) as lines:
        for text in lines:
            with contextlib.suppress(ValueError, AttributeError, TypeError, RecursionError):
                found.add(_identity(json.loads(text)))
    return found


def _identity(line: dict[str, Any]) -> tuple[object, ...]:
    return tuple(line.get(name) for name in ("time", "policy", "userId", "servicePlan", "to"))
