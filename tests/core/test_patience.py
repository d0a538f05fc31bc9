"""Calls that take over their usual time: told while they last, with what and how long, and remembered of their host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloudpc.cli import doctor_hosts, main
from cloudpc.model import patience
from cloudpc.model.machines import Amount
from cloudpc.operations.runtime import Runtime
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.placement import Search

from .fake_rim import IDENTITY, Run, ScriptedHost

SIZE = Amount(1, 512, 8)


@patience.of_its_host
class _Driver:
    """A host whose call lasts until it is told, as far as anybody waits for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.end = threading.Event()

    def ask(self) -> None:
        with patience.calling("read the host's capabilities"):
            assert self.end.wait(60)

    def meet(self, both: threading.Barrier) -> None:
        with patience.calling("meet"):
            both.wait()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(patience, "_watch", patience._Watch())


@contextmanager
def _usual(seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setattr(patience, "USUAL", seconds)
        yield


def test_what_lasts_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    host, told = _Driver("kvm1"), []

    def listen(text: str) -> None:
        told.append(text)
        host.end.set()  # so it was told before its end

    with _usual(0.05, monkeypatch), patience.telling(listen):
        host.ask()
    assert told[0] == "waiting for kvm1 for 0 s: read the host's capabilities"


def test_who_listens_badly_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _Driver("kvm1"), _Driver("kvm2")

    def fail(_text: str) -> None:
        first.end.set()
        raise RuntimeError("no terminal")

    with _usual(0.05, monkeypatch):
        with patience.telling(fail):
            first.ask()
        with patience.telling(lambda _text: second.end.set()):
            second.ask()


def test_a_host_is_slow_if_it_keeps_being_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Driver("kvm1")
    host.end.set()
    host.ask()
    assert not patience.is_slow("kvm1")
    with _usual(0.0, monkeypatch):
        host.ask()
        assert not patience.is_slow("kvm1"), "once is no habit"
        host.ask()
    assert patience.is_slow("kvm1")
    assert not patience.is_slow("kvm2")
    monkeypatch.setattr(patience, "_REMEMBERED", 0.0)
    assert not patience.is_slow("kvm1"), "it may be well again"


def test_it_is_remembered_from_run_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Driver("kvm1")
    host.end.set()
    for _run in range(2):
        monkeypatch.setattr(patience, "_watch", patience._Watch())
        patience.remember("kvm1", tmp_path / "slow" / "kvm1")
        assert not patience.is_slow("kvm1")
        with _usual(0.0, monkeypatch):
            host.ask()
    assert patience.is_slow("kvm1")
    (tmp_path / "slow" / "kvm1").write_text("no number")
    assert not patience.is_slow("kvm1")
    patience.remember("kvm1", tmp_path / "slow" / "kvm1" / "below a file")
    with _usual(0.0, monkeypatch):
        host.ask()
    assert patience.is_slow("kvm1"), "where nothing can be kept, this process knows"


def test_one_that_keeps_being_slow_is_told_once_and_stays_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    world = SimpleNamespace(hosts=[_Driver("kvm1"), _Driver("kvm2")], tell_once=told.append)
    world.hosts[0].end.set()
    with _usual(0.0, monkeypatch):
        world.hosts[0].ask()
        world.hosts[0].ask()
    Runtime.tell_slow(world)  # type: ignore[arg-type]
    [line] = told
    assert line.startswith("kvm1 ")
    assert "cloudpc doctor" in line


def test_few_slow_calls_among_many_are_hiccups_of_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Driver("kvm1")
    host.end.set()
    with _usual(0.0, monkeypatch):
        host.ask()
        host.ask()
    assert patience.is_slow("kvm1")
    for _ in range(30):
        host.ask()
    assert not patience.is_slow("kvm1")
    assert len(patience.lately("kvm1")) == 2, "which doctor tells all the same"


def test_a_run_in_which_nothing_was_slow_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, told = _Driver("kvm1"), []
    host.end.set()
    patience.remember("kvm1", tmp_path / "kvm1")
    with _usual(0.0, monkeypatch):
        host.ask()
        host.ask()
    monkeypatch.setattr(patience, "_watch", patience._Watch())
    patience.remember("kvm1", tmp_path / "kvm1")
    assert patience.is_slow("kvm1"), "which placing minds"
    Runtime.tell_slow(SimpleNamespace(hosts=[host], tell_once=told.append))  # type: ignore[arg-type]
    assert told == []


def test_doctor_tells_when_a_host_was_slow_and_what_it_took_long_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor_hosts._slow("host kvm1", "kvm1")) == []
    host = _Driver("kvm1")
    host.end.set()
    with _usual(0.0, monkeypatch):
        host.ask()
    [check] = doctor_hosts._slow("host kvm1", "kvm1")
    assert check.status == "warning"
    assert "read the host's capabilities" in check.detail


def test_many_calls_of_one_moment_are_one_slow_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    host, both = _Driver("kvm1"), threading.Barrier(2, timeout=60)
    with _usual(0.0, monkeypatch), ThreadPoolExecutor(2) as pool:
        list(pool.map(host.meet, [both, both]))
        assert not patience.is_slow("kvm1")
        list(pool.map(host.meet, [both, both]))
    assert patience.is_slow("kvm1")


def test_every_command_tells_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = _Driver("kvm1")

    def tell(*text: str, **_how: bool) -> None:
        print(*text)
        host.end.set()

    monkeypatch.setattr(main, "app", host.ask)
    monkeypatch.setattr(main, "_mount", lambda: None)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(main.err, "print", tell)
    with _usual(0.05, monkeypatch):
        main.main()
    assert capsys.readouterr().out.startswith("waiting for kvm1 for 0 s: read the host's capabilities")


def test_slow_hosts_come_last_but_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = ScriptedHost(tmp_path, "roomy", memory_mib=100_000)
    small = ScriptedHost(tmp_path, "small", memory_mib=2_000)

    def order() -> list[str]:
        hosts = [roomy, small]
        with Search(Ledger(hosts), hosts, IDENTITY, SIZE) as search:
            return [host.name for host in search.candidates()]

    assert order() == ["roomy", "small"]
    slow = _Driver("roomy")
    slow.end.set()
    with _usual(0.0, monkeypatch):
        slow.ask()
        slow.ask()
    assert order() == ["small", "roomy"]


def test_placing_tells_what_it_waits_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where several hosts are asked at once, each in a thread of its own."""
    hosts = [ScriptedHost(tmp_path, "one"), ScriptedHost(tmp_path, "two")]
    run, slow = Run(*hosts), _Driver("two")
    answer = hosts[1].capacity

    def capacity() -> object:
        slow.ask()
        return answer()

    def step(text: str) -> None:
        run.lines.steps.append(text)
        if "waiting for" in text:
            slow.end.set()

    monkeypatch.setattr(hosts[1], "capacity", capacity)
    monkeypatch.setattr(run.lines, "step", step)
    with _usual(0.05, monkeypatch):
        run.provision()
    assert "placing: waiting for two for 0 s: read the host's capabilities" in run.lines.steps
