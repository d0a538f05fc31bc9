"""Long-running operations: what goes on after the answer, and how a client follows it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from tests.azure.clock import Clock
from tests.azure.errors import ArmFault, Json
from tests.support.http_server import Answer

Style = Literal["both", "async", "location"]


@dataclass
class Operation:
    """Something that goes on.

    Args:
        provider: `Microsoft.Compute` or `Microsoft.Network`.
        resource: the id of what it is about.
        result: what the Location shows when it has ended well; None: nothing.
        name: of the contract's operation that began it.
    """

    provider: str
    resource: str
    result: Callable[[], Json] | None
    name: str
    begun: str
    id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "InProgress"
    error: ArmFault | None = None
    ended: str | None = None
    polls: int = 0

    @property
    def going(self) -> bool:
        return self.status == "InProgress"


Task = Callable[[], float | None]


class Operations:
    """All operations, and the tasks that are due later.

    Args:
        clock: of Azure.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[str, Operation] = {}
        self._tasks: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._due: float | None = None
        self.style: Style = "both"
        """Which headers tell where an operation can be followed."""
        self.polls = 0
        """So many times at least an operation is still in progress when it is asked for."""
        self.retry_after = 0.0
        """What an operation in progress tells as Retry-After, by Azure's clock; there it is 10 or so."""

    def begin(self, provider: str, resource: str, name: str, result: Callable[[], Json] | None = None) -> Operation:
        """One that is going on from now."""
        found = Operation(provider, resource, result, name, self._clock.iso())
        self._all[found.id] = found
        return found

    def end(self, operation: Operation, error: ArmFault | None = None) -> None:
        """It has ended, well or with an error."""
        if not operation.going:
            return
        operation.status = "Failed" if error else "Succeeded"
        operation.error = error
        operation.ended = self._clock.iso()

    def later(self, delay: float, task: Task) -> None:
        """Do this after so many seconds. It answers after how many more it wants to be done again; None: not again.

        What a task wants to follow counts from when it was due, not from the request before which it was done.
        """
        begin = self._clock.now() if self._due is None else self._due
        heapq.heappush(self._tasks, (begin + delay, next(self._numbers), task))

    def do_what_is_due(self) -> None:
        """Before each request."""
        again: list[tuple[float, Task]] = []
        while self._tasks and self._tasks[0][0] <= self._clock.now():
            self._due, _, task = heapq.heappop(self._tasks)
            try:
                delay = task()
            finally:
                self._due = None
            if delay is not None:
                again.append((delay, task))
        for delay, task in again:
            self.later(delay, task)

    def headers(self, base: str, subscription: str, location: str, operation: Operation) -> dict[str, str]:
        """How to follow an operation."""
        where = f"{base}/subscriptions/{subscription}/providers/{operation.provider}/locations/{location}"
        follow = {
            "Azure-AsyncOperation": f"{where}/operations/{operation.id}?p=fake&api-version=2026-04-01",
            "Location": f"{where}/operationResults/{operation.id}?p=fake&api-version=2026-04-01",
        }
        if self.style != "both":
            del follow["Location" if self.style == "async" else "Azure-AsyncOperation"]
        return follow | {"Retry-After": self._clock.told(self.retry_after)}

    def find(self, id_: str) -> Operation | None:
        """None: there is none, or no longer."""
        return self._all.get(id_)

    def status(self, operation: Operation) -> Answer:
        """What Azure-AsyncOperation shows: always with status 200."""
        operation.polls += 1
        body: Json = {"name": operation.id, "status": operation.status, "startTime": operation.begun}
        if self._shows_progress(operation):
            return Answer(200, body | {"status": "InProgress"}, {"Retry-After": self._clock.told(self.retry_after)})
        if operation.error:
            body["error"] = operation.error.error
        return Answer(200, body | {"endTime": operation.ended})

    def result(self, operation: Operation) -> Answer:
        """What Location shows: 202 until it has ended."""
        operation.polls += 1
        if self._shows_progress(operation):
            return Answer(202, None, {"Retry-After": self._clock.told(self.retry_after)})
        if operation.error:
            raise operation.error
        return Answer(200, operation.result()) if operation.result else Answer(204)

    def _shows_progress(self, operation: Operation) -> bool:
        return operation.going or operation.polls <= self.polls
