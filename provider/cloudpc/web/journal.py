"""Who has done what by pages: a line of JSON each, in the project's own folder and in the policy's audit file."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudpc.cli.context import Project
from cloudpc.files import audit_file, regular_file
from cloudpc.iac.engine import OWN_FOLDER
from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import in_utc, to_json, told
from cloudpc.operations.records import CloudPCRecord
from cloudpc.web.person import Person

log = logging.getLogger(__name__)


class Journal:
    """All lines of a project, also of servers before this one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.folder = project.root / OWN_FOLDER / "pages"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = self.folder / "audit.jsonl"
        self._lock = threading.Lock()

    def write(self, person: Person, did: str, cloud_pc: CloudPCRecord | None = None, **more: Any) -> None:
        """Add a line; by whom, what (`restart`, `opened the desktop`), and to which Cloud PC."""
        line: dict[str, Any] = {
            "time": in_utc(datetime.now(UTC)),
            "by": person.name,
            "did": did,
            **(_named(cloud_pc) if cloud_pc else {}),
            **more,
        }
        text = (to_json(line) + "\n").encode(errors="backslashreplace")
        with self._lock:
            for file in filter(None, (self._file, self._of_policy(cloud_pc))):
                try:
                    with regular_file.opened(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as out:
                        out.write(text)
                except OSError as error:
                    log.warning(
                        "Not in %s: `%s` by %s: %s", file, told(did), told(person.name), error.strerror or error
                    )

    def of(self, cloud_pc: CloudPCRecord) -> list[dict[str, Any]]:
        """What was done to a Cloud PC, oldest first."""
        found = []
        with suppress(OSError), regular_file.opened(self._file) as lines:
            for text in lines:
                with suppress(ValueError, RecursionError):
                    line = json.loads(text)
                    if isinstance(line, dict) and _is_of(line, cloud_pc):
                        found.append(line)
        return found

    def _of_policy(self, cloud_pc: CloudPCRecord | None) -> Path | None:
        if cloud_pc is None:
            return None
        with suppress(CloudPCError, ValueError):
            audit = self._project.values(cloud_pc.policy).get("cloudpc:audit")
            return audit_file.find(
                audit.get("path") if isinstance(audit, Mapping) else None, self._project.stacks_folder
            )
        return None


def _named(cloud_pc: CloudPCRecord) -> dict[str, str]:
    return {
        "policy": cloud_pc.policy,
        "userPrincipalName": cloud_pc.user_principal_name,
        "userId": cloud_pc.user_id,
        "servicePlan": cloud_pc.service_plan,
        "deviceName": cloud_pc.device_name,
    }


def _is_of(line: Mapping[str, Any], cloud_pc: CloudPCRecord) -> bool:
    return (line.get("userId"), line.get("servicePlan")) == (cloud_pc.user_id, cloud_pc.service_plan)
