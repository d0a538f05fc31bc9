"""What a long call reports to, and what ends it: the run's Cancel, and the time it is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import copy

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.stages import Stage

REMOVED_WITHIN = 120.0
"""Seconds that somebody waits for a removal which its host has accepted; what takes longer, a later run looks at."""


class Watch:
    """Given to every call that may take long; safe to be used by several threads.

    Args:
        cancel: the switch that ends it; without one, nobody can.
        tell: is given what is being done now, as a line that the next one replaces; never raises.
        stage: where it begins.
        mark: ends each line, for example ` (attempt 2 of 3)`.
    """

    def __init__(
        self,
        cancel: Cancellation | None = None,
        tell: Callable[[str], None] | None = None,
        *,
        stage: Stage = Stage.PLACING,
        mark: str = "",
    ) -> None:
        self.cancel = cancel or Cancellation()
        self._tell = tell
        self._mark = mark
        self._entered = [stage]  # shared by all that come of this one
        self._ends = math.inf

    @property
    def now(self) -> Stage:
        """The stage that it is in: an error belongs to that one."""
        return self._entered[-1]

    def stage(self, stage: Stage, detail: str = "") -> None:
        """A stage begins, or goes on with something else. Raises Cancelled."""
        self.check()
        self._entered[:] = [stage]
        self._say(f"{stage}{': ' + detail if detail else ''}")

    def note(self, text: str) -> None:
        """What the stage is doing now, for example `uploading debian-12 40 %`. Raises Cancelled."""
        self.check()
        self.say(text)

    def say(self, text: str) -> None:
        """The same, whether or not the run was asked to stop."""
        self._say(f"{self.now}: {text}")

    def check(self) -> None:
        """Raise Cancelled if the run was asked to stop."""
        self.cancel.check()

    def wait(self, seconds: float) -> None:
        """Sleep for so many seconds, but not past the deadline; raise Cancelled as soon as the run is to stop."""
        self.cancel.wait(min(seconds, self.remaining))

    def within(self, seconds: float) -> Watch:
        """The same, with a deadline so many seconds from now, or that which it has if that is earlier."""
        sooner = copy(self)
        sooner._ends = min(self._ends, time.monotonic() + seconds)
        return sooner

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, 0 when it is over; infinite where there is none. Who calls says what that is."""
        return max(0.0, self._ends - time.monotonic())

    def _say(self, line: str) -> None:
        if self._tell is not None:
            self._tell(line + self._mark)
