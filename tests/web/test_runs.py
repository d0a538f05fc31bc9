"""Runs that pages have begun: their turns, who may end them, and what is kept of them; no engine is needed for it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from cloudpc.cli.context import Project
from cloudpc.files.project import PROJECT
from cloudpc.web import fleet
from cloudpc.web import runs as runs_module
from cloudpc.web.app import create
from cloudpc.web.fleet import Fleet, Snapshot
from cloudpc.web.guard import Origins
from cloudpc.web.person import Person
from cloudpc.web.runs import Run, Runs
from cloudpc.web.site import Site
from cloudpc.web.surroundings import Surroundings
from tests.support.project import REPO
from tests.web.conftest import ADDRESS

ALICE = Person("alice@contoso.example", user_id="a")
ROOT = Person("root", is_admin=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((REPO / "Pulumi.yaml").read_text())
    monkeypatch.setenv(PROJECT, str(tmp_path))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    return Project()


class Commands:
    """In place of processes: each runs until it is let go, or stopped."""

    def __init__(self, runs: Runs, patch: pytest.MonkeyPatch) -> None:
        self.runs, self.begun = runs, list[Run]()
        self._go = dict[str, threading.Event]()
        patch.setattr(runs, "_process", self._process)
        patch.setattr(runs, "_before", self._before)

    def _before(self, run: Run) -> str:
        return next((f"`{self.runs._at_work[p].shown}`" for p in run.policies if p in self.runs._at_work), "")

    def _process(self, run: Run) -> int:
        self._go[run.id] = threading.Event()
        self.begun.append(run)
        assert self._go[run.id].wait(20)
        return 0

    def let_go(self, run: Run) -> None:
        until(lambda: run in self.begun)
        self._go[run.id].set()
        until(lambda: run.is_over)

    def end(self) -> None:
        for run in self.runs.all():
            self.runs.stop(run)
        end = time.monotonic() + 20
        while not all(run.is_over for run in self.runs.all()) and time.monotonic() < end:
            for go in list(self._go.values()):
                go.set()
            time.sleep(0.01)


def until(so: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def runs(project: Project, tmp_path: Path) -> Runs:
    return Runs(project, tmp_path)


@pytest.fixture
def commands(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    made = Commands(runs, monkeypatch)
    yield made
    made.end()


def test_of_three_runs_on_one_policy_one_is_at_work_though_a_waiting_one_is_stopped(
    runs: Runs, commands: Commands
) -> None:
    first, second, third = (runs.start(Run([name], "root", ["demo"])) for name in ("up", "preview", "restart"))
    until(lambda: first in commands.begun or second in commands.begun or third in commands.begun)
    [at_work] = commands.begun
    waits, last = (run for run in (first, second, third) if run is not at_work)
    runs.stop(waits)
    until(lambda: waits.is_over)
    time.sleep(1.2)  # waiting ones look once a second
    assert commands.begun == [at_work]
    assert waits.code == 130
    commands.let_go(at_work)
    commands.let_go(last)
    assert runs._at_work == {}


def test_what_may_no_longer_be_done_when_its_turn_has_come_is_not(runs: Runs, commands: Commands) -> None:
    first = runs.start(Run(["restart"], "root", ["demo"]))
    until(lambda: first in commands.begun)
    why = ""
    second = runs.start(Run(["reprovision"], ALICE.name, ["demo"], user_id="a", user=ALICE.name), lambda: why)
    why = "it has changed"
    commands.let_go(first)
    until(lambda: second.is_over)
    assert commands.begun == [first]
    assert second.said == "refused: nothing was touched"
    assert second.shown_to(ALICE, runs.lines(second)) == ["alice@contoso.example: it has changed"]


def test_a_user_stops_their_own_run_while_it_waits_and_nobody_else_s(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site.of(project, Origins([ADDRESS]))
    commands = Commands(site.runs, monkeypatch)
    by_admin = site.runs.start(Run(["reprovision"], ALICE.name, ["demo"], user_id="a", user=ALICE.name))
    until(lambda: by_admin in commands.begun)
    own = site.runs.start(Run(["restart"], ALICE.name, ["demo"], user_id="a", user=ALICE.name, by_id="A"))
    own_at_work = site.runs.start(Run(["troubleshoot"], ALICE.name, ["x"], user_id="a", user=ALICE.name, by_id="a"))
    until(lambda: own_at_work in commands.begun)
    try:
        with TestClient(create(site), base_url=ADDRESS, headers={"origin": ADDRESS}) as client:
            session = site.sessions.begin(ALICE)
            client.cookies.set(site.origins.cookie, session.id)
            for run, has_button, code in ((by_admin, False, 404), (own_at_work, False, 409), (own, True, 200)):
                assert ('id="stop"' in client.get(f"/runs/{run.id}").text) == has_button, run.words
                answer = client.post(f"/runs/{run.id}/stop", data={"csrf": session.csrf})
                assert answer.status_code == code, run.words
            until(lambda: own.is_over)
            assert not by_admin.is_over
            assert not own_at_work.is_over
            client.cookies.set(site.origins.cookie, (session := site.sessions.begin(ROOT)).id)
            assert 'id="stop"' in client.get(f"/runs/{by_admin.id}").text
            assert client.post(f"/runs/{by_admin.id}/stop", data={"csrf": session.csrf}).status_code == 200
            assert by_admin.id in site.runs._stopped
    finally:
        commands.end()


def test_a_fleet_that_has_not_changed_is_no_news(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Fleet()
    read._look(forced=True)
    assert read.number == 1
    for _ in range(3):
        read._look(forced=False)
    assert read.number == 1
    for text, number in (("one", 2), ("one", 2), ("another", 3)):

        def failing(_: object, text: str = text) -> None:
            raise RuntimeError(text)

        with monkeypatch.context() as patch:
            patch.setattr(fleet, "_versions", failing)
            with pytest.raises(RuntimeError):
                read._look(forced=False)
        assert (read.number, read.snapshot.problem) == (number, text)
    read._look(forced=False)
    assert (read.number, read.snapshot.problem) == (4, ""), "it can be read again"
    read._today_at = float("-inf")
    read._look(forced=False)
    assert read.number == 5, "a tenant's directory is read again after a time"


def test_of_two_records_of_one_machine_the_one_that_has_it_is_shown() -> None:
    with_one, without = (
        SimpleNamespace(id="x", record=SimpleNamespace(recorded=SimpleNamespace(has_machine=has))) for has in (1, 0)
    )
    for rows in ([with_one, without], [without, with_one]):
        snapshot = Snapshot()
        snapshot.__dict__["rows"] = rows
        assert snapshot.by_id == {"x": with_one}


def test_a_run_ends_though_the_disk_is_full(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(run: Run) -> None:
        raise RuntimeError(run.id)

    runs = Runs(project, tmp_path, on_end=failing)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_log", lambda _: Path("/dev/full"))
        patch.setattr(Path, "write_text", full)
        run = runs.start(Run(["--version"], "root", ["demo"]))
        until(lambda: run.is_over)
    assert run.code == 0
    until(lambda: not runs._threads)
    assert caplog.text.count("No space left on device") == 1
    assert run.id in caplog.text
    assert runs._processes == {}


def test_of_runs_that_have_ended_no_more_are_kept_than_said(
    runs: Runs, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_module, "KEPT", 2)
    for i in range(4):
        run = runs.start(Run([f"run {i}"], "root", ["demo"], began=f"2026-01-01T00:00:0{i}Z"))
        commands.let_go(run)
        until(lambda run=run: run.id not in runs._threads)
    until(lambda: len(list((tmp_path / "runs").iterdir())) == 2)
    assert [run.words for run in runs.all()] == [["run 3"], ["run 2"]]
    assert (runs._stopped, runs._threads, runs._processes) == (set(), {}, {})


def test_pages_look_at_runs_while_others_begin(runs: Runs) -> None:
    class Growing(dict[str, Run]):
        """As a thread sees it that is interrupted while it looks."""

        def values(self) -> Any:
            assert runs._lock.locked()
            return super().values()

    runs._runs = Growing({"x": Run(["up"], "root", ["demo"], cloud_pc="c", id="x")})
    assert list(runs.at_work()) == ["c"]
    assert runs.at_work_on("demo") is None
    assert len(runs.all()) == 1
    runs.stop_all()
    assert runs._stopped == {"x"}


def test_a_second_server_leaves_alone_what_the_first_one_has_begun(
    project: Project, runs: Runs, commands: Commands, tmp_path: Path
) -> None:
    run = runs.start(Run(["up"], "root", ["demo"]))
    until(lambda: run in commands.begun)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for i, server in enumerate(("", dead.stdout.decode().strip() + " 1", f"{os.getpid()} 1")):
        runs._save(Run(["up"], "root", ["demo"], id=f"left-{i}", server=server))
    left = Runs(project, tmp_path).all()
    assert {each.id for each in left if each.is_over} == {"left-0", "left-1", "left-2"} == {each.id for each in left}
    commands.let_go(run)
    until(lambda: not runs._threads)
    assert {each.id: each.code for each in Runs(project, tmp_path).all()}[run.id] == 0


def test_a_run_waits_for_one_that_another_server_has_begun(
    project: Project, runs: Runs, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = runs.start(Run(["restart"], "root", ["demo", "lab"]))
    until(lambda: first in commands.begun)
    other = Runs(project, tmp_path)
    others = Commands(other, monkeypatch)
    second, elsewhere = (other.start(Run(["up", policy], "eve", [policy])) for policy in ("lab", "third"))
    until(lambda: elsewhere in others.begun)
    until(lambda: "another server's page" in second.waits_for)
    others.let_go(elsewhere)
    assert others.begun == [elsewhere]
    commands.let_go(first)
    others.let_go(second)
    assert second.code == 0


def test_what_hangs_is_not_asked_again_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = list[int](), threading.Event()
    surroundings = Surroundings()
    monkeypatch.setattr(surroundings, "_look", lambda: (asked.append(1), answer.wait(20)))
    for _ in range(3):
        surroundings.look()
        surroundings._asked = float("-inf")
    answer.set()
    assert surroundings._thread
    surroundings._thread.join()
    assert asked == [1]
    surroundings.look()
    until(lambda: asked == [1, 1])
