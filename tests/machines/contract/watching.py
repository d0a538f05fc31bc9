"""A watch that remembers what it was told, and can end a call at a moment of its choice."""

from __future__ import annotations

import time
from collections.abc import Callable

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch


class Watched(Watch):
    """Args: cancel_at: given each line, whether to cancel now."""

    def __init__(self, cancel_at: Callable[[Stage], bool] = lambda _stage: False) -> None:
        self.lines: list[str] = []
        self.stages: list[Stage] = []
        self.cancelled_at = 0.0
        self._cancel_at = cancel_at
        super().__init__(Cancellation(), self._told)

    def stage(self, stage: Stage, detail: str = "") -> None:
        super().stage(stage, detail)
        if self.stages[-1:] != [stage]:
            self.stages.append(stage)

    def _told(self, line: str) -> None:
        self.lines.append(line)
        if self._cancel_at(self.now) and not self.cancelled_at:
            self.cancelled_at = time.monotonic()
            self.cancel.cancel()
