"""What is at work now, whoever began it: a page, a terminal, `cloudpc run`, a pipeline on this machine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cloudpc.iac.stages_now import Place, Reader
from cloudpc.web.runs import Held, Run, Runs

_LOOKS_EVERY = 0.5
"""Seconds between two looks at a folder and at locks: nothing is read unless something was told."""


class AtWork:
    """Looked at in a thread of its own.

    Args:
        root: the project's folder.
        runs: of pages.
        policies: whose locks are looked at.
    """

    def __init__(self, root: Path, runs: Runs, policies: Callable[[], Sequence[str]]) -> None:
        self._reader, self._runs, self._policies = Reader(root), runs, policies
        self._told: Mapping[Place, str] = {}
        self._locks: Sequence[Held] = ()
        self.number = 0
        """Goes up with each change."""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="at work", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ends.set()

    @property
    def stages(self) -> dict[Place, tuple[Run | None, str]]:
        """What is being done, by policy and key, and in which of our runs; None: one that was begun elsewhere."""
        return {place: (self._runs.at_work_on(place[0]), stage) for place, stage in self._told.items()}

    @property
    def elsewhere(self) -> list[Held]:
        """Runs that no page of ours has begun, by the locks that they hold."""
        return [lock for lock in self._locks if not lock.dead and self._runs.at_work_on(lock.policy) is None]

    def look(self) -> None:
        """See what has changed."""
        told, locks = self._reader.read(), self._runs.held(self._policies())
        if (told, locks) != (self._told, self._locks):
            self._told, self._locks = told, locks
            self.number += 1

    def _watch(self) -> None:
        while not self._ends.wait(_LOOKS_EVERY):
            with contextlib.suppress(Exception):  # the next look may do better; pages show what they know
                self.look()
