"""What runs say of their stages, and what is seen of it; no engine is needed for it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.files import process_table
from cloudpc.iac.stages_now import Reader, Teller, folder
from cloudpc.web.at_work import AtWork
from cloudpc.web.runs import Held

_URN = "urn:pulumi:demo::cloudpc::pulumi-python:dynamic/cloudpc:CloudPC::{}/LAB"
_TELLS = """
import sys
from pathlib import Path
from cloudpc.iac.stages_now import Teller
teller = Teller(Path(sys.argv[1]))
for line in sys.stdin:
    urn, _, stage = line.rstrip("\\n").partition(" ")
    teller.tell(urn, stage)
    print("told", flush=True)
"""


class Process:
    """A run's."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TELLS, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, user: str, stage: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{_URN.format(user)} {stage}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "told\n"


def test_what_any_process_is_at_is_seen_until_it_is_over_or_killed(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    assert reader.read() == {}
    one, other = Process(tmp_path), Process(tmp_path)
    try:
        one.tell("u0", "disk: copying")
        assert reader.read() == {("demo", "u0/LAB"): "disk: copying"}
        one.tell("u0", "first boot: waiting for its network")
        other.tell("u1", "placing")
        assert reader.read() == {
            ("demo", "u0/LAB"): "first boot: waiting for its network",
            ("demo", "u1/LAB"): "placing",
        }
        assert Reader(tmp_path).read() == reader.read(), "for one that begins to look, too"
        one.tell("u0", "")
        assert reader.read() == {("demo", "u1/LAB"): "placing"}
    finally:
        for run in (one, other):
            run.process.kill()
            run.process.communicate()
    assert reader.read() == {}
    assert not list(folder(tmp_path).iterdir())


def test_nothing_is_written_where_no_pages_were_served(tmp_path: Path) -> None:
    teller = Teller(tmp_path)
    teller.tell(_URN.format("u0"), "disk")
    assert not list(tmp_path.iterdir())
    reader = Reader(tmp_path)
    teller.tell(_URN.format("u0"), "disk")
    assert reader.read() == {("demo", "u0/LAB"): "disk"}, "they may be served first while a run is at work"


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    file = folder(tmp_path) / f"{process_table.name_of(os.getpid())}.jsonl"
    ours = file.open("wb")
    fcntl.flock(ours, fcntl.LOCK_SH)
    line = b'["demo", "u\xc3\xa4/LAB", "disk"]\n'
    for end in (3, 11, len(line) - 1):
        file.write_bytes(line[:end])
        assert reader.read() == {}
    file.write_bytes(line + b"no line of ours\n[]\n")
    assert reader.read() == {("demo", "uä/LAB"): "disk"}
    ours.close()


def test_a_process_of_another_container_is_at_work_although_its_number_is_nowhere_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, run = Reader(tmp_path), Process(tmp_path)
    try:
        run.tell("u0", "disk")
        monkeypatch.setattr(process_table, "find", lambda _: None)
        assert reader.read() == {("demo", "u0/LAB"): "disk"}
    finally:
        run.process.kill()
        run.process.communicate()
    assert reader.read() == {}


def test_what_is_removed_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, lock, files = Reader(tmp_path), fcntl.flock, folder(tmp_path).iterdir
    removed: list[Path] = []

    def late(file: int, how: int) -> None:
        if not removed:
            removed.extend(files())
            removed[0].unlink()
        lock(file, how)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", late)
        teller = Teller(tmp_path)
        teller.tell(_URN.format("u0"), "disk")
    assert removed
    assert reader.read() == {("demo", "u0/LAB"): "disk"}


@pytest.mark.parametrize("urn", ["", "u0/LAB"])
def test_telling_never_fails_a_run(tmp_path: Path, urn: str) -> None:
    Reader(tmp_path)
    Teller(tmp_path).tell(urn, "disk")


def test_changes_are_news_and_runs_of_others_are_known_by_their_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = [Held("demo", "root@here", "", dead=False), Held("lab", "root@here", "", dead=True)]
    turns: dict[str, str] = {}
    runs: Any = SimpleNamespace(held=lambda _: list(locks), at_work_on=turns.get)
    at_work = AtWork(tmp_path, runs, list)
    at_work.look()
    at_work.look()
    assert at_work.number == 1
    assert [lock.policy for lock in at_work.elsewhere] == ["demo"]
    Teller(tmp_path).tell(_URN.format("u0"), "disk")
    at_work.look()
    assert at_work.number == 2
    assert at_work.stages == {("demo", "u0/LAB"): (None, "disk")}
    turns["demo"] = "a page's run"
    assert at_work.elsewhere == []
    assert at_work.stages == {("demo", "u0/LAB"): ("a page's run", "disk")}
