"""Lines of the fleet's table: made once for all who ask, but where a run is at work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from markupsafe import Markup

from cloudpc.web import fleet
from cloudpc.web.fleet import Fleet, Snapshot
from cloudpc.web.fleet_page import _Lines


def test_lines_are_made_once_for_a_snapshot_and_again_where_a_run_is_at_work() -> None:
    rows: Any = [SimpleNamespace(id=name, place=("demo", name)) for name in "abc"]
    made: list[str] = []

    def line(row: Any, run: object, stage: str) -> Markup:
        made.append(row.id)
        return Markup(f"{row.id}:{stage or run or ''} ")

    stages: dict[tuple[str, str], tuple[str | None, str]] = {}
    at_work: dict[str, str] = {}
    runs = SimpleNamespace(at_work=lambda: at_work)
    site: Any = SimpleNamespace(macro=lambda *_: line, runs=runs, at_work=SimpleNamespace(stages=stages))
    lines = _Lines()
    snapshot: Any = SimpleNamespace(rows=rows)
    assert lines.shown(site, snapshot, rows[1:]) == "b: c: "
    assert lines.shown(site, snapshot, rows[::-1]) == "c: b: a: "
    assert made == ["a", "b", "c"]
    stages["demo", "a"], at_work["c"] = (None, "disk"), "restart"
    assert lines.shown(site, snapshot, rows) == "a:disk b: c:restart "
    assert made[3:] == ["a", "c"]
    stages.clear()
    at_work.clear()
    assert lines.shown(site, snapshot, rows) == "a: b: c: ", "what was at work is over"
    rows[0].id = "d"
    new: Any = SimpleNamespace(rows=rows)
    assert lines.shown(site, new, rows) == "d: b: c: "


def test_rows_are_made_before_pages_see_them_also_where_state_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages that ask at once would make rows of their own, and look for lines of each other's."""

    def broken() -> None:
        raise OSError("no state")

    monkeypatch.setattr(fleet, "Project", broken)
    looked = Fleet()
    looked.snapshot = was = Snapshot()
    with pytest.raises(OSError, match="no state"):
        looked._look(forced=True)
    assert looked.snapshot is not was
    assert looked.snapshot.problem == "no state"
    assert {"rows", "by_id"} <= vars(looked.snapshot).keys()
