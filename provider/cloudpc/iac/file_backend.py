"""Pulumi's file backend as dead runs leave it: locks that nobody holds, and a checkpoint that was cut off."""

from __future__ import annotations

import json
import os
import shutil
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


def locks(backend_url: str, project: str, stack: str) -> list[Lock]:
    """Locks on a stack; none for backends other than files, which say it themselves."""
    backend = folder(backend_url)
    if backend is None:
        return []
    found = []
    for path in (backend / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Lock(path, content["pid"], content["username"], content["hostname"], content["timestamp"]))
        except (OSError, ValueError, KeyError):
            continue
    return found


def cut_off(backend_url: str, project: str, stack: str) -> Path | None:
    """The stack's checkpoint if it is but half a file, and the one from the step before is whole.

    The backend writes in place, after copying what was there to `.bak` (pkg/backend/diy/state.go). While a run is on,
    half a file is nothing unusual.
    """
    backend = folder(backend_url)
    if backend is None:
        return None
    checkpoint = backend / ".pulumi" / "stacks" / project / f"{stack}.json"
    return checkpoint if _is_whole(checkpoint) is False and _is_whole(_before(checkpoint)) else None


def restore(checkpoint: Path) -> None:
    """Put the checkpoint of the step before in its place. What that step made carries our tags and is adopted."""
    fresh = checkpoint.with_suffix(".json.restored")
    shutil.copy2(_before(checkpoint), fresh)
    fresh.replace(checkpoint)


def _before(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.bak")


def _is_whole(checkpoint: Path) -> bool | None:
    """Whether the file is JSON; None if it is not there."""
    try:
        json.loads(checkpoint.read_bytes())
    except OSError:
        return None
    except ValueError:
        return False
    return True
