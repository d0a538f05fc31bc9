"""What lets a page open one connection: random, used once, soon, by one session, to one Cloud PC."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Generic, TypeVar

SECONDS = 30.0
"""From the page's request to its connection: it asks just before it connects."""

T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """This is no ticket, or no longer, or somebody else's; which of these, nobody learns."""


class Tickets(Generic[T]):
    """Those that were given and not yet used. In memory: a server that starts again has given none.

    Args:
        clock: seconds, which only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._given: dict[str, tuple[float, str, str, T]] = {}

    def give(self, session: str, cloud_pc: str, way: T) -> str:
        """One for this session and this Cloud PC, which leads to this."""
        now = self._clock()
        self._given = {ticket: given for ticket, given in self._given.items() if given[0] > now}
        ticket = secrets.token_urlsafe(32)
        self._given[ticket] = now + SECONDS, session, cloud_pc, way
        return ticket

    def take(self, ticket: str, session: str, cloud_pc: str) -> T:
        """Where it leads; it is used up, also by whoever may not use it. Raises Refused."""
        until, given_to, given_for, way = self._given.pop(ticket, (0.0, "", "", None))
        if way is None or self._clock() >= until or (given_to, given_for) != (session, cloud_pc):
            raise Refused
        return way

    def forget(self, session: str) -> None:
        """Nothing that this session was given can be used from now on."""
        self._given = {ticket: given for ticket, given in self._given.items() if given[1] != session}
