"""Runs that pages have begun: their turns, who may end them, and what is kept of them; no engine is needed for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cloudpc.cli.context import Project
from cloudpc.files.project import PROJECT
from cloudpc.web import fleet
from cloudpc.web.app import create
from cloudpc.web.fleet import Fleet
from cloudpc.web.guard import Origins
from cloudpc.web.person import Person
from cloudpc.web.runs import Run, Runs
from cloudpc.web.site import Site
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
