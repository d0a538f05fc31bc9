"""Connections that pages have open into guests: who has which, and what ends them from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

_TOUCHES_EVERY = 60.0
"""Seconds between two times that a connection counts as use of its session."""


@dataclass(frozen=True)
class Present:
    """A Cloud PC as it is now.

    Args:
        generation: goes up with each reprovision.
        until: when its grace period is over, if it is in one.
    """

    generation: int
    until: datetime | None = None


@dataclass(eq=False)
class Connection:
    """One that is open.

    Args:
        session: whose.
        cloud_pc: to which Cloud PC, by its id in the pages' addresses.
        generation: of that Cloud PC.
        is_users: whether it ends with the Cloud PC's grace period; an admin's look at a machine does not.
        touch: is called when it is used, at most once a minute.
        ended: is given the reason when somebody ends it from outside.
    """

    session: str
    cloud_pc: str
    generation: int
    is_users: bool
    touch: Callable[[str], object]
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _timer: asyncio.TimerHandle | None = None
    _touched: float = float("-inf")

    def end(self, why: str) -> None:
        """Have it end; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)

    def was_used(self) -> None:
        """Its page has said something: whoever works in a desktop has not left."""
        now = asyncio.get_running_loop().time()
        if now - self._touched >= _TOUCHES_EVERY:
            self._touched = now
            self.touch(self.session)

    def ends_after(self, seconds: float | None) -> None:
        """Its grace period is over then, whatever was known before; None: it is in none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self.is_users:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, seconds), self.end, "The Cloud PC's grace period is over.")


class Connections:
    """All that this server has open.

    Args:
        now: the time of day.
        touch: gets the session whose connection is used.
    """

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        touch: Callable[[str], object] = lambda _session: None,
    ) -> None:
        self._now, self._touch = now, touch
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.contextmanager
    def opened(self, session: str, cloud_pc: str, known: Present, *, is_users: bool = True) -> Iterator[Connection]:
        """One that may be used while the block lasts. Arguments as in `Connection`; `known`: the Cloud PC as it is."""
        connection = Connection(session, cloud_pc, known.generation, is_users, self._touch)
        connection.ends_after(self._left(known))
        self._open.add(connection)
        try:
            yield connection
        finally:
            self._open.discard(connection)
            connection.ends_after(None)

    def end_session(self, session: str) -> None:
        """Whoever signs out leaves no desktop open behind."""
        for each in list(self._open):
            if each.session == session:
                each.end("You have signed out.")

    def follow(self, known: Callable[[str], Present | None]) -> None:
        """End those into what is another Cloud PC by now, or nobody's; the others end when its grace period does.

        Args:
            known: the Cloud PC of an id as it is now; None: there is none.
        """
        for each in list(self._open):
            present = known(each.cloud_pc)
            if present is None:
                each.end("The Cloud PC is no longer there.")
            elif present.generation > each.generation:  # a lower one was read before the connection was opened
                each.end("The Cloud PC was reprovisioned.")
            elif present.generation == each.generation:
                each.ends_after(self._left(present))

    def _left(self, present: Present) -> float | None:
        return (present.until - self._now()).total_seconds() if present.until else None
