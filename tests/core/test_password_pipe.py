"""What gives ssh the password: whoever asks gets it, and nothing of it stays afterwards."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cloudpc.cli import ssh
from tests.support.waiting import wait_until

TARGET = ssh.Target("CPC-1", "127.0.0.1", 22, "alice", "secret-word", f"ssh-ed25519 {'A' * 68}")


@pytest.fixture(autouse=True)
def _any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_checked", lambda key: key)
    monkeypatch.setattr(ssh, "_program", lambda: "/bin/false")


def test_no_thread_and_no_folder_stays() -> None:
    before = set(threading.enumerate())
    folders: list[Path] = []
    for _ in range(3):
        with ssh._prepared(TARGET) as (_argv, folder, asked):
            folders.append(folder)
        assert not asked.is_set(), "what ends the thread is no question of ssh's"
    assert set(threading.enumerate()) <= before
    assert not any(folder.exists() for folder in folders)


def test_it_is_given_each_time_also_after_one_that_did_not_listen() -> None:
    with ssh._prepared(TARGET) as (_argv, folder, asked):
        pipe = folder / "password"
        with pipe.open():
            pass
        for _ in range(2):
            wait_until(lambda: pipe.read_text() == "secret-word\n", 10, "it is not given")
        assert asked.is_set()


def test_an_error_inside_ends_it_too() -> None:
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), ssh._prepared(TARGET):
        raise KeyboardInterrupt
    assert set(threading.enumerate()) <= before
