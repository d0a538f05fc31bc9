"""One switch that every wait of a run listens to."""

from __future__ import annotations

import threading

from cloudpc.model.errors import Cancelled


class Cancellation:
    """Set once, by Pulumi's Cancel call or a signal; every stage and every wait checks it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask everything that waits on this switch to stop."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether the run was asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if the run was asked to stop."""
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleep for so many seconds, or raise Cancelled as soon as the run is asked to stop."""
        if self._event.wait(seconds):
            raise Cancelled
