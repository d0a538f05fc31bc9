"""Locks between all processes of this user, one set per host. The kernel frees them when their holder dies."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.digest import digest
from cloudpc.model.errors import ErrorCode, HostTaken

_PAUSE = 0.02
_SLOT_PAUSE = 0.1
_GATE_PAUSE = 0.5


class HostLocks:
    """The lock files of one host, named after its URI."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder = folder
        self._key = digest(uri).hex()[:16]
        self._gates: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def scope(self) -> str:
        """Names who shares these locks: another machine or user doesn't, and has another scope."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / "scope"
        if not path.exists():
            made = self._folder / f"scope.{os.getpid()}.{threading.get_ident()}"
            made.write_text(secrets.token_hex(3))
            with suppress(FileExistsError):  # another process was faster
                path.hardlink_to(made)
            made.unlink()
        return path.read_text()

    @contextmanager
    def hold(self, purpose: str, *, timeout: float, cancel: Cancellation | None = None) -> Iterator[None]:
        """Hold the host's lock for this purpose.

        Raises:
            HostTaken: HYPERVISOR_ERROR, another process keeps it for `timeout` seconds.
            Cancelled: the run was asked to stop.
        """
        cancel = cancel or Cancellation()
        deadline = time.monotonic() + timeout

        def still_waiting() -> None:
            cancel.check()
            if time.monotonic() > deadline:
                raise HostTaken(
                    ErrorCode.HYPERVISOR_ERROR,
                    f"Another run has held the host's lock for {purpose} for more than {timeout:.0f} s.",
                )

        # One thread of this process at a time looks at the file: thirty that ask every moment are work, too.
        gate = self._gates[purpose]
        while not gate.acquire(timeout=_GATE_PAUSE):
            still_waiting()
        try:
            with self._file(purpose) as descriptor:
                while not _try(descriptor):
                    still_waiting()
                    cancel.wait(_PAUSE)
                yield
        finally:
            gate.release()

    @contextmanager
    def slot(self, purpose: str, count: int, cancel: Cancellation) -> Iterator[None]:
        """Hold one of `count` places, waiting for one as long as it takes."""
        while True:
            for number in range(count):
                with self._file(f"{purpose}-{number}") as descriptor:
                    if _try(descriptor):
                        yield
                        return
            cancel.wait(_SLOT_PAUSE)

    @contextmanager
    def _file(self, purpose: str) -> Iterator[int]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{self._key}-{purpose}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)  # which frees the lock


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
