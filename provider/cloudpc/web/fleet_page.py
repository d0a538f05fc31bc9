"""Fleet: all Cloud PCs in a table, searched, filtered and sorted by the address alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloudpc.web.fleet import STATUSES, Row, Snapshot
from cloudpc.web.site import Site, admin_of, site_of

A_PAGE = 1000
"""Rows; a browser shows as many without delay."""

_COLUMNS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "user": ("User", lambda row: row.user.lower()),
    "name": ("Name", lambda row: row.name.lower()),
    "policy": ("Policy", lambda row: row.record.policy),
    "image": ("Image", lambda row: row.image),
    "plan": ("vCPU / GB / GB", lambda row: _numbers(row)),
    "status": ("Status", lambda row: row.status),
    "stage": ("Stage", lambda _: ""),
    "host": ("Host", lambda row: row.record.recorded.host),
    "power": ("Power", lambda row: row.power),
    "grace": ("Grace ends", lambda row: row.grace_ends),
    "outdated": ("Outdated", lambda row: "; ".join(row.outdated)),
    "changed": ("Last change", lambda row: row.changed),
}


@dataclass(frozen=True)
class Heading:
    """Of a column: its name, and the address that sorts by it."""

    name: str
    address: str
    order: str
    """ascending, descending, or none: as `aria-sort` has it."""


@dataclass(frozen=True)
class Asked:
    """What the address asks for; what it has of no use is passed over."""

    q: str = ""
    status: str = ""
    policy: str = ""
    outdated: bool = False
    sort: str = "user"
    down: bool = False
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """From an address."""
        number = query.get("page", "1")
        return cls(
            q=query.get("q", "").strip()[:200],
            status=query.get("status", "") if query.get("status") in STATUSES else "",
            policy=query.get("policy", ""),
            outdated=bool(query.get("outdated")),
            sort=query.get("sort", "user") if query.get("sort") in _COLUMNS else "user",
            down=query.get("order") == "down",
            page=max(1, int(number)) if number.isascii() and number.isdecimal() and len(number) < 6 else 1,
        )

    def address(self, **changes: object) -> str:
        """Of the same page, but for these."""
        values = {
            "q": self.q, "status": self.status, "policy": self.policy, "outdated": "1" if self.outdated else "",
            "sort": self.sort, "order": "down" if self.down else "", "page": self.page, **changes,
        }  # fmt: skip
        usual = {"sort": "user", "page": 1}
        return "/fleet?" + urlencode({k: str(v) for k, v in values.items() if v and v != usual.get(k)})

    def of_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Those that are asked for, in order."""
        words = self.q.lower().split()
        found = [
            row
            for row in rows
            if all(word in row.searched for word in words)
            and self.status in ("", row.status)
            and self.policy in ("", row.record.policy)
            and (row.outdated or not self.outdated)
        ]
        return sorted(found, key=_COLUMNS[self.sort][1], reverse=self.down)

    def headings(self) -> list[Heading]:
        """Of all columns; of the one that is sorted by, the address turns the order."""
        made = []
        for key, (name, _) in _COLUMNS.items():
            is_it = key == self.sort
            order = ("descending" if self.down else "ascending") if is_it else "none"
            made.append(
                Heading(name, self.address(sort=key, order="down" if is_it and not self.down else "", page=1), order)
            )
        return made


def _numbers(row: Row) -> str:
    plan = row.record.recorded.service_plan
    return f"{plan.v_cpu_count:06} {plan.memory_mib:012} {plan.storage_in_gb:09}"


class _Lines:
    """A snapshot's Cloud PCs as lines of the table, which are the same for everybody but where a run is at work.

    Ten people who ask at once would have made each line ten times, on a processor that they share.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._made: dict[int, Markup] = {}

    @classmethod
    def of(cls, request: Request) -> _Lines:
        """Those of the server that was asked."""
        state = request.app.state
        if not hasattr(state, "lines"):
            state.lines = cls()
        found: _Lines = state.lines
        return found

    def shown(self, site: Site, snapshot: Snapshot, rows: Sequence[Row]) -> Markup:
        """These of the snapshot's rows, with what is being done to them now."""
        line = site.macro("fleet_line.html", "line")
        with self._lock:  # whoever asks first makes them, for all
            if self._snapshot is not snapshot:
                self._made = {id(row): line(row, None, "") for row in snapshot.rows}
                self._snapshot = snapshot
            made = self._made
        stages, at_work = site.at_work.stages, site.runs.at_work()
        lines = []
        for row in rows:
            run, stage = stages.get(row.place) or (at_work.get(row.id), "")
            lines.append(line(row, run, stage) if run or stage else made[id(row)])
        return Markup("").join(lines)


def fleet(request: Request) -> Response:
    """The table."""
    admin_of(request)
    site = site_of(request)
    snapshot, asked = site.fleet.first(), Asked.of(request.query_params)
    found = asked.of_rows(snapshot.rows)
    first = (asked.page - 1) * A_PAGE
    return site.page(
        request,
        "fleet.html",
        snapshot=snapshot,
        asked=asked,
        lines=_Lines.of(request).shown(site, snapshot, found[first : first + A_PAGE]),
        found=len(found),
        first=first,
        a_page=A_PAGE,
        headings=asked.headings(),
        statuses=STATUSES,
        runs=[run for run in site.runs.all() if not run.is_over],
        elsewhere=site.at_work.elsewhere,
    )


ROUTES: list[BaseRoute] = [Route("/fleet", fleet)]
