"""Calls to a host that take longer than usual: reported while they last, and remembered for the host.

A driver says what it calls (`calling`) and on which host (`on`); whoever works for a user names the listener
(`telling`). A separate thread watches what lasts, so that a call which hangs in a library is reported as well.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

USUAL = 5.0
"""Seconds that no call takes on a host that is well."""
_LOOK_EVERY = 1.0
_KEEPS_BEING = 2
"""So many slow moments lately, at least: then a host keeps being slow."""
_SHARE = 0.1
"""Share of this process's calls to a host: fewer slow ones are hiccups, as any busy machine has them."""
_REMEMBERED = 3600.0
"""Seconds."""
_KEPT = 10
"""Slow moments of a host that are written down for later runs, the latest."""
_T = TypeVar("_T", bound=type)

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("cloudpc_patience_listener", default=None)
_host: ContextVar[str] = ContextVar("cloudpc_patience_host", default="")


@contextlib.contextmanager
def telling(listener: Callable[[str], None]) -> Iterator[None]:
    """Reports what takes long inside to this listener, in this thread and those that copy its context."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def of_its_host(driver: _T) -> _T:
    """A driver's class, each of whose methods works on the host that it is named after."""
    for name, method in vars(driver).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(driver, name, _on_its_host(method))
    return driver


def _on_its_host(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def on_its_host(self: Any, *arguments: Any, **named: Any) -> Any:
        token = _host.set(self.name)
        try:
            return method(self, *arguments, **named)
        finally:
            _host.reset(token)

    return on_its_host


@contextlib.contextmanager
def calling(what: str) -> Iterator[None]:
    """A call of the host's, in words that complete "could not …"."""
    call = _Call(what, _host.get(), _listener.get())
    _watch.begin(call)
    try:
        yield
    finally:
        _watch.end(call)


@dataclass(frozen=True)
class Slow:
    """A moment in which a host was slow: the first call that showed it."""

    ended: float
    """In seconds since 1970."""
    lasted: float
    """Seconds."""
    what: str
    """As in `calling`."""


def is_slow(host: str) -> bool:
    """Whether this host keeps being slow, as far as this process knows, and earlier ones of this user."""
    return _watch.is_slow(host)


def met(host: str) -> bool:
    """Whether a call of this process was slow on this host."""
    return _watch.met(host)


def lately(host: str) -> list[Slow]:
    """When this host was slow within the last hour, the oldest first; see `is_slow` for who knows."""
    return _watch.lately(host)


def remember(host: str, file: Path) -> None:
    """Keep in this file, for later runs, when this host was slow."""
    _watch.memory[host] = file


@dataclass(eq=False)
class _Call:
    what: str
    host: str
    listener: Callable[[str], None] | None
    began: float = field(default_factory=time.monotonic)
    next_told: float = 0.0

    def tell(self, now: float) -> None:
        """Each time that it has lasted twice as long."""
        lasts = now - self.began
        if lasts < max(self.next_told, USUAL) or self.listener is None:
            return
        self.next_told = 2 * lasts
        with contextlib.suppress(Exception):  # whoever listens must not end the watch for everybody
            self.listener(f"waiting for {self.host or 'a host'} for {lasts:.0f} s: {self.what}")


class _Watch:
    def __init__(self) -> None:
        self._calls: set[_Call] = set()
        self._slow: dict[str, list[Slow]] = defaultdict(list)
        self._ended: Counter[str] = Counter()
        """Calls by host; below, those of them that took over their usual time."""
        self._over: Counter[str] = Counter()
        self.memory: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, call: _Call) -> None:
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="patience", daemon=True)
                self._thread.start()

    def end(self, call: _Call) -> None:
        lasted, now = time.monotonic() - call.began, time.time()
        with self._lock:
            self._calls.discard(call)
            self._ended[call.host] += 1
            if lasted < USUAL:
                return
            self._over[call.host] += 1
            slow = self._slow[call.host]
            if not slow or now - lasted >= slow[-1].ended:  # others that ran at the same time add nothing
                slow.append(Slow(now, lasted, call.what))
                self._remember(call.host)

    def is_slow(self, host: str) -> bool:
        with self._lock:
            is_habit = self._over[host] >= _SHARE * self._ended[host]
            return is_habit and len(self._lately(host)) >= _KEEPS_BEING

    def met(self, host: str) -> bool:
        with self._lock:
            return self._over[host] > 0

    def lately(self, host: str) -> list[Slow]:
        with self._lock:
            return self._lately(host)

    def _lately(self, host: str) -> list[Slow]:
        known = {*self._slow[host], *self._remembered(host)}
        return sorted((each for each in known if time.time() - each.ended < _REMEMBERED), key=lambda each: each.ended)

    def _remember(self, host: str) -> None:
        if file := self.memory.get(host):
            kept = [astuple(each) for each in self._lately(host)[-_KEPT:]]
            with contextlib.suppress(OSError):  # without it, this process alone knows
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.write_text(json.dumps(kept), encoding="utf-8")

    def _remembered(self, host: str) -> list[Slow]:
        if file := self.memory.get(host):
            with contextlib.suppress(OSError, ValueError, TypeError):
                return [Slow(float(ended), float(lasted), str(what)) for ended, lasted, what in _read(file)]
        return []

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY)
            with self._lock:
                calls = list(self._calls)
            for call in calls:
                call.tell(time.monotonic())


def _read(file: Path) -> list[list[Any]]:
    found: list[list[Any]] = json.loads(file.read_text(encoding="utf-8"))
    return found


_watch = _Watch()
