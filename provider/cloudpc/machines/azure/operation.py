"""Long-running operations of Azure, followed in the caller's own thread: none is left, and Cancel ends the wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from azure.core.exceptions import HttpResponseError
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import BadResponse, BadStatus
from azure.mgmt.core.polling.arm_polling import ARMPolling

from cloudpc.machines.azure.pipeline import watch

T = TypeVar("T")


class Polling(ARMPolling):
    """Looks only when it is asked to: azure-core starts a thread for what is not finished, and is told that it is."""

    started = False

    def finished(self) -> bool:
        """What azure-core asks."""
        return self.is_done if self.started else True

    @property
    def is_done(self) -> bool:
        """Whether the last look found it done, well or not."""
        return bool(super().finished())

    @property
    def pause(self) -> float:
        """Seconds that Azure wants to pass before the next look."""
        return float(self._extract_delay())

    def look(self) -> None:
        """Ask once. Raises HttpResponseError."""
        with self._readable():
            self.update_status()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (BadStatus, BadResponse) as error:
            raise HttpResponseError(response=self._pipeline_response.http_response, error=error) from error


class Operation(Generic[T]):
    """One that Azure has accepted. All of its methods raise azure-core's errors, to be called inside `Arm.asking`."""

    def __init__(self, poller: LROPoller[T], polling: Polling) -> None:
        self._poller = poller
        self._polling = polling
        polling.started = True

    @property
    def is_done(self) -> bool:
        """Whether the last look found it done, well or not; `result` says which."""
        return self._polling.is_done

    def look(self) -> bool:
        """Ask once, unless it is known to be done; whether it is done, well or not."""
        if not self.is_done:
            self._polling.look()
        return self.is_done

    def wait(self, first: float = 0) -> bool:
        """Wait for its end, but not past the watch's deadline; whether it is done, well or not. Raises Cancelled.

        Args:
            first: seconds before the first look.
        """
        if not self.is_done:
            watch().wait(first)
        while not self.look() and watch().remaining > 0:
            watch().wait(self._polling.pause)
        return self.is_done

    def check(self) -> None:
        """Raise if it failed, once it is done; unlike `result` this asks nobody what came of it."""
        if self._polling.status().lower() != "succeeded":
            self._polling.run()

    def result(self) -> T:
        """What came of it, once it is done; raises if it failed."""
        self._polling.run()
        return cast("T", self._polling.resource())


def polling(interval: float, **options: Any) -> Polling:
    """How an operation is to be followed.

    Args:
        interval: seconds between two looks where Azure doesn't say.
        options: azure-core's.
    """
    return Polling(timeout=interval, **options)
