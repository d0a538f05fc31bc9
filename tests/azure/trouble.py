"""How tests make trouble: faults by operation, lost answers, power cuts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from tests.azure.errors import ArmFault
from tests.azure.faults import Fault, Faults, PowerCut


class Trouble:
    """What goes wrong on demand."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while something is read or changed."""
        self.faults = Faults()
        self.request_count = 0

    def fail(
        self, operation: str, code: str | ArmFault, status: int | None = None, times: int | None = 1, *,
        asynchronous: bool = False, path: str = "*", skip: int = 0, message: str | None = None,
        retry_after: int | None = None,
    ) -> Fault:  # fmt: skip
        """Let an operation fail.

        Args:
            operation: name in the contract, for example `VirtualMachines_CreateOrUpdate`; `*` for any text.
            code: ARM's word; of those in errors.py the status and a message are known.
            status: of HTTP.
            times: how often; None: always.
            asynchronous: it is accepted, and fails afterwards.
            path: only of these requests.
            skip: so many pass before.
            message: for people.
            retry_after: seconds, as a header.
        """
        error = code if isinstance(code, ArmFault) else ArmFault(code, message, status)
        if retry_after is not None:
            error.headers["Retry-After"] = str(retry_after)
        return self.faults.add(Fault("async" if asynchronous else "sync", operation, path, error, times, skip))

    def throttle(
        self, operation: str = "*", *, times: int | None = 1, retry_after: int = 1, path: str = "*", skip: int = 0
    ) -> Fault:
        """429 with Retry-After."""
        return self.fail(operation, "TooManyRequests", times=times, retry_after=retry_after, path=path, skip=skip)

    def drop(
        self, operation: str = "*", *, when: Literal["before", "after"], times: int | None = 1, path: str = "*",
        skip: int = 0,
    ) -> Fault:  # fmt: skip
        """The connection ends without an answer, before or after the request took effect."""
        return self.faults.add(
            Fault("drop before" if when == "before" else "drop after", operation, path, None, times, skip)
        )

    def slow(self, operation: str = "*", *, seconds: float, times: int | None = 1, path: str = "*") -> Fault:
        """An answer that is late, by so many of our seconds."""
        return self.faults.add(Fault("slow", operation, path, None, times, seconds=seconds))

    def cut_power(self, at: int, when: Literal["before", "after"], then: Callable[[], None] = lambda: None) -> PowerCut:
        """Whoever asks is killed at the request of this number, counted from now on: nothing is answered thereafter.

        Args:
            at: 1 is the next request.
            when: before or after it took effect.
            then: called at that moment, on the server's thread: for example to kill a process.
        """
        with self.lock:
            self.faults.power_cut = PowerCut(self.request_count + at, when, then)
            return self.faults.power_cut

    def restore_power(self) -> None:
        """Answer again."""
        self.faults.power_cut = None
