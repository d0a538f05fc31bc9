"""The installation's id: found where it is, made once, never guessed."""

from __future__ import annotations

import multiprocessing
import re
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from cloudpc.configuration.installation import InstallationError, installation_id


def test_the_first_use_makes_it_and_later_ones_find_it(tmp_path: Path) -> None:
    made = installation_id(None, None, tmp_path / ".cloudpc")
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert installation_id(None, None, tmp_path / ".cloudpc") == made
    assert [p.name for p in (tmp_path / ".cloudpc").iterdir()] == ["installation"]
    assert (tmp_path / ".cloudpc").stat().st_mode & 0o077 == 0


def test_two_folders_are_two_installations(tmp_path: Path) -> None:
    assert installation_id(None, None, tmp_path / "a") != installation_id(None, None, tmp_path / "b")


def test_configuration_comes_before_state_and_state_before_the_file(tmp_path: Path) -> None:
    assert installation_id("configured", "configured", tmp_path) == "configured"
    assert installation_id("configured", None, tmp_path) == "configured"
    assert installation_id(None, "recorded0", tmp_path) == "recorded0"
    assert list(tmp_path.iterdir()) == []


def test_another_one_than_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="belongs to the installation 'recorded0'"):
        installation_id("configured", "recorded0", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"UPPER-CASE\n", b"abc\n"])
def test_a_damaged_file_is_said_and_not_overwritten(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "installation"
    file.write_bytes(content)
    with pytest.raises(InstallationError, match=re.escape(str(file))):
        installation_id(None, None, tmp_path)
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InstallationError, match=r"can't be used: .*set cloudpc:installation"):
        installation_id(None, None, tmp_path / "file")


def _first_use(folder: Path, barrier: Barrier, answers: multiprocessing.SimpleQueue[str]) -> None:
    barrier.wait()
    answers.put(installation_id(None, None, folder))


def test_first_uses_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        barrier, answers = context.Barrier(4), context.SimpleQueue()
        folder = tmp_path / str(round_)
        processes = [context.Process(target=_first_use, args=(folder, barrier, answers)) for _ in range(4)]
        for process in processes:
            process.start()
        found = {answers.get() for _ in processes}
        for process in processes:
            process.join()
        assert len(found) == 1
        assert [p.name for p in folder.iterdir()] == ["installation"]
