"""The audit file: a line of JSON for each change of a Cloud PC, where `cloudpc:audit` asks for it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def append(file: Path | None, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Add the last event, if there is a new one. A file that can't be written stops nobody; the log says so."""
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
        # one write of a file opened for appending: lines of several runs don't mix
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        log.warning("the audit file %s can't be written: %s", file, error.strerror)
