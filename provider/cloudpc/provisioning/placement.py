"""Which host a machine goes to."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, Self
from uuid import UUID

from cloudpc.model import patience
from cloudpc.model.errors import WAITING_CODES, ProvisioningError
from cloudpc.model.machines import Amount, Host
from cloudpc.provisioning.book import Book
from cloudpc.provisioning.ledger import Ledger

_REASONS = 8
"""Of the hosts that did not take it, the reasons of so many are shown."""


class _Rank(NamedTuple):
    comes_last: bool
    lacks_room: bool
    is_paid: bool
    used: float


@dataclass(eq=False)
class Search:
    """For a place for one machine; what it tries counts as taken meanwhile for all others of this process.

    Args:
        ledger: what hosts have said.
        places: where it may go.
        machine_id: what is placed.
        size: how large it is.
        avoided: names of hosts that come last, whatever room they have; so do those that keep being slow.
        paid: names of hosts on which each machine costs money: after those that have room and are there anyway.
    """

    ledger: Ledger
    places: Sequence[Host]
    machine_id: UUID
    size: Amount
    avoided: Container[str] = ()
    paid: Container[str] = ()
    _chosen: Book | None = field(default=None, init=False)
    _is_read_anew: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        with self.ledger.books():
            if self._chosen:
                self._chosen.let_go(self.machine_id)

    def candidates(self) -> Iterator[Host]:
        """Hosts that answer, in the order in which they are to be tried; claim, or take the next.

        First those that have room by what is known of them, the roomiest first. Where none of them takes it, all are
        asked again, including those that have said that they have no room: each says itself what it lacks.
        """
        if len(self.ledger.hosts) == 1:
            yield from self.ledger.may_have(self.machine_id)
            return
        self.ledger.read()
        tried: set[str] = set()
        while host := self._next(tried, only_good=True):
            yield host
        if not self._is_read_anew:
            self._is_read_anew = True
            self.ledger.read(since=self._began)
        tried = self._still_refusing(tried)
        while host := self._next(tried, only_good=False):
            yield host

    def errors(self) -> list[ProvisioningError]:
        """Why the others don't answer."""
        with self.ledger.books() as books:
            found = (books[host.name].error for host in self.places)
            return [error for error in found if error is not None]

    def _next(self, tried: set[str], *, only_good: bool) -> Host | None:
        """The best host that has not been tried; from now on the chosen one."""
        with self.ledger.books() as books:
            if self._chosen:
                self._chosen.let_go(self.machine_id)
            left = [books[h.name] for h in self.places if h.name not in tried and books[h.name].read_at is not None]
            ranked = [(self._rank(book), book) for book in left]
            if only_good:
                ranked = _good(ranked, is_first=not tried)
            self._chosen = min(ranked, key=itemgetter(0))[1] if ranked else None
            if self._chosen is None:
                return None
            self._chosen.choose(self.machine_id, self.size)
            tried.add(self._chosen.host.name)
            return self._chosen.host

    def _rank(self, book: Book) -> _Rank:
        name, room = book.host.name, book.headroom(self.size)
        return _Rank(self._comes_last(name), room < 0, name in self.paid, -room)

    def _comes_last(self, name: str) -> bool:
        return name in self.avoided or patience.is_slow(name)

    def _still_refusing(self, names: set[str]) -> set[str]:
        """Without those that had no room then and have some by now."""
        with self.ledger.books() as books:
            return {name for name in names if not books[name].may_take_by_now(self.size)}


def _good(ranked: Sequence[tuple[_Rank, Book]], *, is_first: bool) -> list[tuple[_Rank, Book]]:
    """Those with room, and without those that come last, unless nothing else has been tried and all do."""
    are_all_last = is_first and all(rank.comes_last for rank, _ in ranked)
    return [each for each in ranked if (are_all_last or not each[0].comes_last) and not each[0].lacks_room]


def waiting_for(errors: Sequence[ProvisioningError]) -> ProvisioningError:
    """One error for a machine that no host took: the reasons of all hosts, each once."""
    reasons = list(dict.fromkeys(e.message for e in errors))
    codes = [e.code for e in errors]
    code = next((waits for waits in WAITING_CODES if waits in codes), codes[0])
    of_it = [e for e in errors if e.code is code]
    hint = next((e.hint for e in of_it if e.hint), "")
    retriable = any(e.retriable for e in of_it)
    more = [f"and {len(reasons) - _REASONS} more"] if len(reasons) > _REASONS else []
    return ProvisioningError(code, "; ".join([*reasons[:_REASONS], *more]), retriable=retriable, hint=hint)
