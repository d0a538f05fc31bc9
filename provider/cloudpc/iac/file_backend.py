"""Pulumi's file backend as dead runs leave it: locks that nobody holds, and files that were cut off."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from cloudpc.files import process_table

_ATTRIBUTES = ".attrs"
_ENDINGS = (".json", ".json.gz")
"""Of a stack's state, as it is or compressed."""


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
        process = process_table.find(self.pid)
        # another program may have got its number since
        return process is not None and (process.command != "pulumi" or process.is_over)

    def __str__(self) -> str:
        return f"taken by {self.username}@{self.hostname} (pid {self.pid}) at {self.timestamp}"


def folder(backend_url: str) -> Path | None:
    """The folder of a file backend; None for other backends. What follows a `?` are options for Pulumi."""
    if not backend_url.startswith("file://"):
        return None
    written = backend_url.removeprefix("file://").partition("?")[0]
    path, as_written = _expanded(unquote(written)), _expanded(written)
    is_meant_as_written = os.path.isdir(as_written) and not os.path.isdir(path)  # noqa: PTH112 - as in `stacks`
    return as_written if is_meant_as_written else path


def _expanded(written: str) -> Path:
    return Path(os.path.expanduser(written))  # noqa: PTH111 - Path's own raises where there is no home


def stacks(backend_url: str, project: str) -> list[str] | None:
    """Names of a project's stacks; None where pulumi has to say it: for other backends, and a folder that is not there.

    Pulumi's own list opens each state for what it shows beside the names: a third of a second, in each run.
    """
    backend = folder(backend_url)
    if backend is None or not os.path.isdir(backend):  # noqa: PTH112 - Path's own raises for names that can't be
        return None
    files = (backend / ".pulumi" / "stacks" / project).glob("*.json*")
    return sorted({name for f in files if (name := _stack_of(f)) is not None})


def version(backend_url: str, project: str, stack: str) -> tuple[int, ...] | None:
    """Tells one state of a stack from others; None for other backends, or where it has none.

    The backend gives the file its place whole, so that each write is another file.
    """
    backend = folder(backend_url)
    if backend is None:
        return None
    for ending in _ENDINGS:
        with suppress(OSError):
            found = (backend / ".pulumi" / "stacks" / project / f"{stack}{ending}").stat()
            return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _stack_of(checkpoint: Path) -> str | None:
    """Its name may contain dots, too: `a.json` is a stack's checkpoint, `a.json.bak` and `a.json.attrs` are not."""
    for ending in _ENDINGS:
        if checkpoint.name.endswith(ending):
            return checkpoint.name.removesuffix(ending)
    return None


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


def checkpoint(backend_url: str, project: str, stack: str) -> Path | None:
    """The file that has a stack's state as plain JSON; None if there is none such, as in other backends."""
    backend = folder(backend_url)
    file = backend and backend / ".pulumi" / "stacks" / project / f"{stack}.json"
    return file if file and file.is_file() else None


def settle(backend_url: str, project: str, stack: str) -> None:
    """See that a stack's state outlives a loss of power: the backend leaves that to the system's own time."""
    if (file := checkpoint(backend_url, project, stack)) is None:
        return
    for path in (file, file.parent):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def cut_off(backend_url: str, project: str, stack: str) -> list[Path]:
    """Files of a stack that a run was killed in the middle of writing. While a run is on, that is nothing unusual.

    The backend writes the attributes of each file in place, beside it, and cannot read the file while they are half
    (gocloud.dev/blob/fileblob: `EOF`). The file itself takes its place whole, unless the machine lost power.
    """
    backend = folder(backend_url)
    if backend is None:
        return []
    state = backend / ".pulumi"
    checkpoint = state / "stacks" / project / f"{stack}.json"
    attributes = [
        *checkpoint.parent.glob(f"{stack}.json*{_ATTRIBUTES}"),
        *(path for kind in ("history", "backups") for path in (state / kind / project / stack).glob(f"*{_ATTRIBUTES}")),
        *(state / "locks" / "organization" / project / stack).glob(f"*{_ATTRIBUTES}"),
    ]
    damaged = [path for path in attributes if not _is_json(path)]
    if checkpoint.exists() and not _is_json(checkpoint) and _is_json(_before(checkpoint)):
        damaged.append(checkpoint)
    return damaged


def mend(damaged: Iterable[Path]) -> None:
    """Do without these attributes, which are not needed; and put the checkpoint of the step before in its place.

    What the lost step made carries our tags and is adopted or removed.
    """
    for path in damaged:
        if path.name.endswith(_ATTRIBUTES):
            path.unlink(missing_ok=True)
        else:
            fresh = path.with_suffix(".json.restored")
            shutil.copy2(_before(path), fresh)
            fresh.replace(path)


def _before(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.bak")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True
