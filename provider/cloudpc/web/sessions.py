"""Who is signed in, in memory: a server that starts again knows nobody, and each page says so."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cloudpc.web.person import Person

IDLE_SECONDS = 12 * 3600.0
"""A day of work; after that one signs in again."""


@dataclass(eq=False)
class Session:
    """One browser's, from sign-in to sign-out."""

    person: Person
    id: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """In the cookie; pages never see it."""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """In each form of its pages: what changes something comes from one of them."""
    used: float = 0.0


class Sessions:
    """All sessions of this server.

    Args:
        clock: seconds, which only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._invited: dict[str, Person] = {}
        self._open: dict[str, Session] = {}
        self.on_end: list[Callable[[Session], None]] = []
        """Each is told of a session that has ended: what hangs on it has to end, too."""

    def invite(self, person: Person) -> str:
        """A token that signs this person in, once; earlier ones do so no longer."""
        token = secrets.token_urlsafe(32)
        self._invited = {token: person}
        return token

    def accept(self, token: str) -> Session | None:
        """The session that a token begins, in place of all others: it is for a browser that has lost its own.

        None: the token was used, or is none.
        """
        person = self._invited.pop(token, None)
        if person is None:
            return None
        before, new = list(self._open.values()), self.begin(person)
        for session in before:
            self.end(session)
        return new

    def begin(self, person: Person) -> Session:
        """Sign somebody in whom somebody else has identified."""
        session = Session(person, used=self._clock())
        self._open[session.id] = session
        return session

    def get(self, id_: str) -> Session | None:
        """The session of a cookie, as long as it is used."""
        session = self._open.get(id_)
        if session is None or not self.is_open(session):
            return None
        session.used = self._clock()
        return session

    def is_open(self, session: Session) -> bool:
        """Whether it has not ended; asking is no use of it."""
        if self._clock() - session.used > IDLE_SECONDS:
            self.end(session)
        return session.id in self._open

    @property
    def anybody(self) -> bool:
        """Whether somebody is signed in."""
        return bool(self._open)

    def end(self, session: Session) -> None:
        """Sign out."""
        if self._open.pop(session.id, None):
            for tell in self.on_end:
                tell(session)
