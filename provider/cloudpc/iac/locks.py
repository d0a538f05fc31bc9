"""Locks of the file backend: whose run holds a stack, and whether it is still alive."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote


@dataclass(frozen=True)
class Lock:
    """A lock file of Pulumi's file backend (pkg/backend/diy/lock.go)."""

    path: Path
    pid: int
    username: str
    hostname: str
    timestamp: str

    @property
    def dead(self) -> bool:
        """Whether the run that took it is surely gone: it ran on this machine, and its process is no more."""
        if self.hostname != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        try:
            command = Path(f"/proc/{self.pid}/comm").read_text(encoding="utf-8").strip()
        except OSError:
            return False
        return command != "pulumi"  # another program has got its number since

    def __str__(self) -> str:
        return f"taken by {self.username}@{self.hostname} (pid {self.pid}) at {self.timestamp}"


def folder(backend_url: str) -> Path | None:
    """The folder of a file backend; None for other backends."""
    if not backend_url.startswith("file://"):
        return None
    path = Path(unquote(backend_url.removeprefix("file://"))).expanduser()
    return path if path.is_dir() else Path(backend_url.removeprefix("file://")).expanduser()


def of_stack(backend_url: str, project: str, stack: str) -> list[Lock]:
    """Locks on a stack; none for backends other than files, which say it themselves."""
    backend = folder(backend_url)
    if backend is None:
        return []
    locks = []
    for path in (backend / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            locks.append(Lock(path, content["pid"], content["username"], content["hostname"], content["timestamp"]))
        except (OSError, ValueError, KeyError):
            continue
    return locks
