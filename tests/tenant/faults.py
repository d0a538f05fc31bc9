"""What goes wrong with a tenant, on demand: each fault for a kind of request and a number of times."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["error", "empty page", "slow", "drop before", "drop after", "expire token"]


@dataclass
class Fault:
    """Something that goes wrong.

    Args:
        kind: `error`: answered instead of doing it. `empty page`: the first page has nothing on it but a link to the
            next. `slow`: answered late. `drop before`, `drop after`: the connection ends without an answer, before or
            *after* the tenant has done what it was asked. `expire token`: the request's token is at its end.
        method: of the requests concerned, `*` for all.
        path: of the requests concerned, without the version, with `*` for any text.
        left: how often; None: always.
        skip: so many of these requests pass before.
        status: of an error.
        code: Graph's word for it.
        retry_after: seconds, as a header.
        seconds: how late.
        hits: how often it has struck.
        struck: set when it has struck for the first time, before it has its effect.
    """

    kind: Kind
    method: str = "*"
    path: str = "*"
    left: int | None = 1
    skip: int = 0
    status: int = 500
    code: str = "generalException"
    retry_after: int | None = None
    seconds: float = 0
    hits: int = 0
    struck: threading.Event = field(default_factory=threading.Event)


class Faults:
    """The faults of a tenant."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """From now on; the fault tells how often it has struck."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> list[Fault]:
        """The faults that strike this request."""
        struck: list[Fault] = []
        with self._lock:
            for fault in self._faults:
                if fault.kind == "error" and any(other.kind == "error" for other in struck):
                    continue  # its turn comes with the next request
                if fault.method not in ("*", method) or not fnmatchcase(path, fault.path) or fault.left == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.left = None if fault.left is None else fault.left - 1
                fault.hits += 1
                fault.struck.set()
                struck.append(fault)
        return struck

    # ---- the usual ones

    def throttle(
        self, path: str = "*", *, times: int | None = 1, retry_after: int = 1, method: str = "*", skip: int = 0
    ) -> Fault:
        """429 with Retry-After."""
        return self.error(path, 429, "TooManyRequests", times=times, retry_after=retry_after, method=method, skip=skip)

    def unavailable(
        self, path: str = "*", *, times: int | None = 1, status: int = 503, retry_after: int | None = None,
        method: str = "*", skip: int = 0,
    ) -> Fault:  # fmt: skip
        """503, or 504 by `status`."""
        code = {503: "serviceNotAvailable", 504: "UnknownError"}.get(status, "generalException")
        return self.error(path, status, code, times=times, retry_after=retry_after, method=method, skip=skip)

    def error(
        self, path: str, status: int, code: str, *, times: int | None = 1, retry_after: int | None = None,
        method: str = "*", skip: int = 0,
    ) -> Fault:  # fmt: skip
        """Any error."""
        return self.add(Fault("error", method, path, times, skip, status=status, code=code, retry_after=retry_after))

    def refuse_deletion(self, path: str = "/devices*", *, times: int | None = None) -> Fault:
        """403 on DELETE, as many tenants answer it for devices."""
        return self.error(path, 403, "Authorization_RequestDenied", times=times, method="DELETE")

    def empty_page(self, path: str = "*", *, times: int | None = 1) -> Fault:
        """A first page with nothing on it but a link to the next."""
        return self.add(Fault("empty page", "GET", path, times))

    def slow(self, path: str = "*", *, seconds: float, times: int | None = 1, method: str = "*") -> Fault:
        """An answer that is late."""
        return self.add(Fault("slow", method, path, times, seconds=seconds))

    def drop(
        self,
        path: str = "*",
        *,
        when: Literal["before", "after"],
        times: int | None = 1,
        method: str = "*",
        skip: int = 0,
    ) -> Fault:
        """The connection ends without an answer, before or after the request has had its effect."""
        return self.add(Fault("drop before" if when == "before" else "drop after", method, path, times, skip))

    def expire_token(self, path: str = "*", *, times: int | None = 1, skip: int = 0, method: str = "*") -> Fault:
        """The token that comes with the request has expired, for this and all later ones."""
        return self.add(Fault("expire token", method, path, times, skip))
