"""Who has asked for what, by a command or a page: a line of JSON each, in the project's own folder and in the policy's
audit file. The folder is of the account that has made it: what others ask for here is only in the audit file.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudpc.cli.context import Project
from cloudpc.files import audit_file, regular_file
from cloudpc.iac.engine import OWN_FOLDER
from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import in_utc, to_json, told
from cloudpc.operations.records import CloudPCRecord, EndedRecord

log = logging.getLogger(__name__)

WRITTEN = "CLOUDPC_ASKED_BY"
"""Set for a command that a page runs: who has asked for it is written already."""


def own_name() -> str:
    """Who runs this process, as its environment has it; behind sudo, who has. It proves nothing."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        return "admin"


class Journal:
    """All lines of a project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.folder = project.root / OWN_FOLDER / "pages"
        self._file = self.folder / "audit.jsonl"
        self._lock = threading.Lock()

    def write(self, by: str, did: str, *cloud_pcs: CloudPCRecord, **more: Any) -> None:
        """Add a line for each of these Cloud PCs, or one about none; a file that can't be written stops nobody.

        Args:
            by: who.
            did: what, such as `restart` or `opened the desktop`.
            cloud_pcs: to which.
            more: what else the line has.
        """
        begin = {"time": in_utc(datetime.now(UTC)), "by": by, "did": did}
        lines = [(c.policy, {**begin, **_named(c), **more}) for c in cloud_pcs] or [("", {**begin, **more})]
        with self._lock:
            with suppress(OSError):  # told by what is to be in it
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._append(self._file, (line for _, line in lines), by, did)
            for policy in sorted({c.policy for c in cloud_pcs}):
                if audit := self._of_policy(policy):
                    self._append(audit, (line for of, line in lines if of == policy), by, did)

    def of(self, cloud_pc: CloudPCRecord | EndedRecord) -> list[dict[str, Any]]:
        """What was done to a Cloud PC, oldest first; its texts are harmless, whoever has written the file."""
        found = []
        with suppress(OSError), regular_file.opened(self._file) as lines:
            for text in lines:
                with suppress(ValueError, RecursionError):
                    line = json.loads(text)
                    if isinstance(line, dict) and _is_of(line, cloud_pc):
                        found.append({name: told(v) if isinstance(v, str) else v for name, v in line.items()})
        return found

    @staticmethod
    def _append(file: Path, lines: Iterable[Mapping[str, Any]], by: str, did: str) -> None:
        text = "".join(to_json(line) + "\n" for line in lines)
        try:
            with regular_file.opened(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as out:
                out.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            log.warning("Not in %s: `%s` by %s: %s", file, told(did), told(by), error.strerror or error)

    def _of_policy(self, policy: str) -> Path | None:
        with suppress(CloudPCError, ValueError):
            audit = self._project.values(policy).get("cloudpc:audit")
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


def _is_of(line: Mapping[str, Any], cloud_pc: CloudPCRecord | EndedRecord) -> bool:
    is_whole = all(isinstance(line.get(name), str) for name in ("time", "by", "did"))
    return is_whole and (line.get("userId"), line.get("servicePlan")) == (cloud_pc.user_id, cloud_pc.service_plan)
