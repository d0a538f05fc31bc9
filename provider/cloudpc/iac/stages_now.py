"""What a run is doing with each Cloud PC at this moment, for whoever looks from outside: pages.

The process that does it is the one that says it, so that any run is seen: of a page, of a terminal, of `cloudpc run` or
of a bare `pulumi up`. It says so where pages have been served, on this machine by this account; elsewhere nothing is
written. Each process has a file of its own, which means nothing once it is gone: a run that was killed is not at work.
Whether it is gone says a lock, which ends with it and which other containers see, too: they may share the folder, but
no numbers of processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudpc.files import process_table
from cloudpc.iac.engine import OWN_FOLDER
from cloudpc.model.masking import masked

_FOLDER = Path(OWN_FOLDER) / "pages" / "stages"

Place = tuple[str, str]
"""A policy, and the key of one of its Cloud PCs."""


def folder(root: Path) -> Path:
    """Where the stages of a project's runs are; whoever makes it has them written there."""
    return root / _FOLDER


class Teller:
    """Of this process.

    Args:
        root: the project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = folder(root)
        self._lock = threading.Lock()
        self._file: int | None = None

    def tell(self, urn: str, stage: str) -> None:
        """What is being done; empty: nothing any longer. Never raises: it must not hold up what it tells of."""
        with contextlib.suppress(Exception), self._lock:
            line = json.dumps([urn.split(":")[2], urn.rpartition("::")[2], masked(stage)]) + "\n"
            if self._file is None:
                self._file = self._opened()
            os.write(self._file, line.encode())

    def _opened(self) -> int:
        """Raises OSError: pages were never served here, or nothing can be written."""
        path = self._folder / f"{process_table.name_of(os.getpid())}.jsonl"
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_SH)  # two containers may give two processes one name
                is_ours = os.fstat(file).st_nlink > 0  # or else a reader has removed it before it was locked
            except OSError:
                os.close(file)
                raise
            if is_ours:
                return file
            os.close(file)


@dataclass
class _File:
    read: int = 0
    rest: bytes = b""
    stages: dict[Place, str] = field(default_factory=dict)


class Reader:
    """Of all processes that are there.

    Args:
        root: the project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = folder(root)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files: dict[str, _File] = {}

    def read(self) -> Mapping[Place, str]:
        """What is being done now. What was written before is read once."""
        there = set(self._there())
        self._files = {name: self._files.get(name) or _File() for name in there}
        for name, file in self._files.items():
            with contextlib.suppress(OSError):
                self._go_on(name, file)
        return {place: stage for file in self._files.values() for place, stage in file.stages.items()}

    def _there(self) -> Iterator[str]:
        """Those whose process is; files of others are of no use to anybody."""
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                with contextlib.suppress(OSError):
                    if not _removed(path):
                        yield path.name

    def _go_on(self, name: str, file: _File) -> None:
        with (self._folder / name).open("rb") as told:
            told.seek(file.read)
            new = told.read()
        file.read += len(new)
        *lines, file.rest = (file.rest + new).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                policy, key, stage = json.loads(line)
                if stage:
                    file.stages[policy, key] = stage
                else:
                    file.stages.pop((policy, key), None)


def _removed(path: Path) -> bool:
    """Remove it, if nobody writes to it any longer; returns whether that is so."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()  # with the lock: who has opened it meanwhile sees that
        return True
