"""Connections that pages have open into guests: who has which, and what ends them from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(eq=False)
class Connection:
    """One that is open.

    Args:
        session: whose.
        cloud_pc: to which Cloud PC, by its id in the pages' addresses.
        ended: is given the reason when somebody ends it from outside.
    """

    session: str
    cloud_pc: str
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, why: str) -> None:
        """Have it end; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)


class Connections:
    """All that this server has open.

    Args:
        now: the time of day.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.contextmanager
    def opened(self, session: str, cloud_pc: str, until: datetime | None) -> Iterator[Connection]:
        """One that may be used while the block lasts, and no longer than until then."""
        connection = Connection(session, cloud_pc)
        timer = None
        if until is not None:
            left = max(0.0, (until - self._now()).total_seconds())
            timer = asyncio.get_running_loop().call_later(left, connection.end, "The Cloud PC's grace period is over.")
        self._open.add(connection)
        try:
            yield connection
        finally:
            self._open.discard(connection)
            if timer is not None:
                timer.cancel()

    def end_session(self, session: str) -> None:
        """Whoever signs out leaves no desktop open behind."""
        self._end("You have signed out.", lambda each: each.session == session)

    def end_cloud_pc(self, cloud_pc: str, why: str) -> None:
        """Those into this Cloud PC: it is about to be another, or nobody's."""
        self._end(why, lambda each: each.cloud_pc == cloud_pc)

    def end_all(self) -> None:
        """The server stops."""
        self._end("The server has stopped.", lambda _: True)

    def _end(self, why: str, is_meant: Callable[[Connection], bool]) -> None:
        for each in list(self._open):
            if is_meant(each):
                each.end(why)
