"""What hosts have said of their room and their machines: asked once a run, kept in step by what the run itself does.

It only chooses where to look and where to try. The claim on a host is what counts, over all processes; a host that
refuses one is asked again, and before anybody has to wait for room, all are. A host that does not answer is reported
once, and is not asked again by each Cloud PC of the run.

A host's events would make none of it safer, and are not listened to: a claim reads what is defined on the host in the
moment that it is made, under its lock, and takes itself back if another client has defined more meanwhile. They could
save a refused claim and another question, which is what two runs at once cost now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from uuid import UUID

from cloudpc.model.errors import ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.machines import Amount, Host, Network
from cloudpc.provisioning.book import Book

ANSWERS_WITHIN = 10.0
"""Seconds that anybody waits for what a host says of itself; ssh may need several."""
_LEFT_ALONE = 6
"""A host that can't be reached is left alone for this many times as long as it took to find that out."""
_AT_LEAST, _AT_MOST = 1.0, 60.0
"""Seconds."""


def _nobody(_text: str) -> None:
    pass


class Ledger:
    """Of all hosts of a policy; one for all Cloud PCs of a run.

    Args:
        hosts: whose.
        tell: is given, once, who does not answer.
        within: seconds that anybody waits for an answer.
    """

    def __init__(
        self, hosts: Sequence[Host], tell: Callable[[str], None] = _nobody, within: float = ANSWERS_WITHIN
    ) -> None:
        self.hosts, self.within = list(hosts), within
        self._books = {host.name: Book(host) for host in hosts}
        self._tell = tell
        self._told: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def books(self) -> Iterator[dict[str, Book]]:
        """By host, for a moment in which nobody else changes them."""
        with self._changed:
            yield self._books

    def may_have(self, machine_id: UUID) -> list[Host]:
        """Hosts that may have a machine of this identity; a single one is asked itself."""
        if len(self.hosts) == 1:
            return [host for host in self.hosts if self.silence(host.name) is None]
        self.read()
        with self.books() as books:
            return [book.host for book in books.values() if machine_id in book.machines]

    def read(self, *, since: float = 0.0) -> None:
        """Have each host's answer to a question that was asked since then, of those that answer in time.

        Args:
            since: on `time.monotonic`; whatever it has said before will do, without.
        """
        now = time.monotonic()
        with self._changed:
            self._try_silent_again(self._books.values())
            # anything else that was wrong with it may be repaired by now
            from_ = {n: since if b.error is None else max(since, now) for n, b in self._books.items()}
            wanted = [book for name, book in self._books.items() if not _is_settled(book, from_[name])]
            begun = ((book.asking_since, book) for book in wanted)
            self._ask([book for at, book in begun if at is None or at < from_[book.host.name]])
            for book in wanted:
                if not self._changed.wait_for(partial(_is_settled, book, from_[book.host.name]), self._left(book)):
                    book.fail(self.too_late(book.host.name, self.within), time.monotonic(), _AT_MOST)
            told = self._newly_silent(wanted)
        self._tell_of(told)

    @contextmanager
    def calling(self, host: Host) -> Iterator[None]:
        """A call of this host: one that could not be reached is left alone from then on."""
        began = time.monotonic()
        try:
            yield
        except ProvisioningError as error:
            self._failed(self._books[host.name], error, time.monotonic() - began)
            raise

    def silence(self, name: str) -> ProvisioningError | None:
        """Why a host is left alone, if it is."""
        with self._changed:
            book = self._books[name]
            self._try_silent_again([book])
            return book.error if book.is_silent else None

    def too_late(self, name: str, within: float) -> ProvisioningError:
        """What is said of a host that takes longer."""
        message = f"{name} has not answered for {within:.0f} s"
        return ProvisioningError(ErrorCode.HOST_UNREACHABLE, message, hint="`cloudpc doctor` says what is known of it")

    def gone(self, host: Host, machine_id: UUID, size: Amount | None = None) -> None:
        """It is gone.

        Args:
            host: where it was.
            machine_id: which.
            size: what its host had committed to it; None: unknown, so that the host is asked what it has now.
        """
        with self._changed:
            book = self._books[host.name]
            if not book.remove(machine_id, size):
                self._ask([book])

    def claimed(self, host: Host, machine_id: UUID, size: Amount) -> None:
        """It is there from now on."""
        with self._changed:
            self._books[host.name].claim(machine_id, size, time.monotonic())

    def refused(self, host: Host, size: Amount, network: Network, error: ProvisioningError) -> None:
        """A host did not take a machine of this size."""
        if error.code is ErrorCode.NO_CAPACITY:
            with self._changed:
                book = self._books[host.name]
                book.refuse(size, network, error)
                if len(self._books) > 1 and book.headroom(size) >= 0:  # it knows better
                    self._ask([book])

    def refusal(self, host: Host, size: Amount, network: Network) -> ProvisioningError | None:
        """Why a host does not take a machine of this size, if it has said so and nothing has changed there since.

        A single host is asked itself: nothing here is read again that would show who else has made room on it.
        """
        if len(self._books) == 1:
            return None
        with self._changed:
            return self._books[host.name].refusal(size, network)

    # ---- asking; with the lock held but where a thread works

    def _ask(self, books: Collection[Book]) -> None:
        for book in books:
            book.is_asked_again = book.asking_since is not None
            if not book.is_asked_again:
                book.asking_since = time.monotonic()
                # whoever began it is told what takes long
                threading.Thread(
                    target=self._asking, args=(book, copy_context()), name=f"asking {book.host.name}", daemon=True
                ).start()

    def _asking(self, book: Book, context: Context) -> None:
        while True:
            began = time.monotonic()
            with self._changed:
                book.asking_since, book.is_asked_again = began, False
            try:
                with unexpected_told(f"asking {book.host.name}"):
                    found = context.run(book.host.capacity)
            except ProvisioningError as error:
                with self._changed:
                    book.fail(error, began, _alone_for(time.monotonic() - began))
            else:
                with self._changed:
                    book.write(found, began)
            with self._changed:
                again = book.is_asked_again
                book.asking_since = began if again else None
                self._changed.notify_all()
            if not again:
                return

    def _left(self, book: Book) -> float:
        return max(0.0, (book.asking_since or 0.0) + self.within - time.monotonic())

    def _try_silent_again(self, books: Collection[Book]) -> None:
        """Beside the work: nobody waits for it."""
        now = time.monotonic()
        self._ask([book for book in books if book.is_silent and book.alone_until < now and book.asking_since is None])

    def _failed(self, book: Book, error: ProvisioningError, took: float) -> None:
        alone_for = _alone_for(took)
        is_soon_over = len(self._books) == 1 and alone_for == _AT_LEAST  # there is no other to go to
        if error.code is not ErrorCode.HOST_UNREACHABLE or is_soon_over:
            return
        with self._changed:
            book.fail(error, time.monotonic(), alone_for)
            self._changed.notify_all()
            told = self._newly_silent([book])
        self._tell_of(told)

    def _newly_silent(self, books: Collection[Book]) -> list[Book]:
        new = [book for book in books if book.is_silent and book.host.name not in self._told]
        self._told.update(book.host.name for book in new)
        return new

    def _tell_of(self, books: Collection[Book]) -> None:
        for book in books:
            if error := book.error:
                self._tell(f"nobody is placed on {book.host.name} for now: {error.message} [{error.code}]")


def _alone_for(took: float) -> float:
    return min(_AT_MOST, max(_AT_LEAST, _LEFT_ALONE * took))


def _is_settled(book: Book, since: float) -> bool:
    if book.error is not None:
        return book.is_silent or book.failed_at >= since
    return book.read_at is not None and book.read_at >= since
