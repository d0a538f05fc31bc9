"""Calls that answer many askers at once."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batched(Generic[K, V]):
    """One call at a time for all who ask: it begins after they have asked, so that its answer is as new as their own.

    Who asks while a call is under way is answered by the next. Calls run in a thread that nobody has to wait for.

    Args:
        call: is given all that was asked for; returns what there is of it.
        apart: seconds from the begin of a call to that of the next, at least, so that many can share it.
    """

    def __init__(self, call: Callable[[Collection[K]], Mapping[K, V]], apart: float = 0.0) -> None:
        self._call, self._apart = call, apart
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._waiting: dict[K, list[Future[V | None]]] = defaultdict(list)
        self._is_calling = False

    def ask(self, key: K) -> Future[V | None]:
        """The answer of a call that begins from now on: None where it says nothing; what it raises is everybody's."""
        future: Future[V | None] = Future()
        with self._lock:
            self._waiting[key].append(future)
            begins = not self._is_calling
            self._is_calling = True
        if begins:  # whoever began the call is told what it waits for
            threading.Thread(target=self._work, args=(copy_context(),), daemon=True).start()
        return future

    def _work(self, context: Context) -> None:
        while asked := self._asked_by_then():
            try:
                found = context.run(self._call, list(asked))
            except BaseException as error:  # noqa: BLE001 - the askers' now
                for future in (each for futures in asked.values() for each in futures):
                    future.set_exception(error)
                continue
            for key, futures in asked.items():
                for future in futures:
                    future.set_result(found.get(key))

    def _asked_by_then(self) -> dict[K, list[Future[V | None]]]:
        if (early := self._not_before - time.monotonic()) > 0:
            time.sleep(early)
        self._not_before = time.monotonic() + self._apart
        return self._asked()

    def _asked(self) -> dict[K, list[Future[V | None]]]:
        with self._lock:
            asked, self._waiting = dict(self._waiting), defaultdict(list)
            self._is_calling = bool(asked)
        return asked
