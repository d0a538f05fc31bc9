"""Pulumi's file backend, as its folder shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudpc.files.project_file import NAMESPACE as PROJECT
from cloudpc.iac import file_backend
from cloudpc.iac.engine import Engine

_FILES = ("lab.json", "a.b.json", "packed.json.gz", "gone.json.bak", "lab.json.bak", "lab.json.attrs", "x.json.gz.bak")


def _backend(folder: Path) -> Path:
    stacks = folder / ".pulumi" / "stacks" / PROJECT
    stacks.mkdir(parents=True)
    for name in _FILES:
        (stacks / name).touch()
    return folder


@pytest.mark.parametrize("written", ["{folder}", "{folder}?no_tmp_dir=true"])
def test_stacks_are_those_that_have_a_checkpoint(tmp_path: Path, written: str) -> None:
    url = f"file://{written.format(folder=_backend(tmp_path / 'a folder'))}"
    assert file_backend.stacks(url, PROJECT) == ["a.b", "lab", "packed"]
    assert file_backend.stacks(url, "another") == []
    assert file_backend.stacks("s3://bucket", PROJECT) is None


def test_a_folder_that_is_not_there_has_not_no_stacks(tmp_path: Path) -> None:
    """As of a share that is not mounted: to whom it looked empty, all machines would be in no state."""
    assert file_backend.stacks(f"file://{tmp_path}/away", PROJECT) is None
    assert file_backend.stacks(f"file://{tmp_path}/%00", PROJECT) is None


def test_a_relative_folder_is_the_projects_wherever_a_command_or_a_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _backend(tmp_path / "a state")
    (tmp_path / "Pulumi.yaml").write_text("name: cloudpc\n")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file://./a state")
    (tmp_path / "stacks").mkdir()
    monkeypatch.chdir(tmp_path / "stacks")
    for inside in (False, True):
        assert Engine(tmp_path, inside_a_run=inside).stacks() == ["a.b", "lab", "packed"]


def test_a_folder_that_is_not_there_yet_is_the_one_that_its_url_means(tmp_path: Path) -> None:
    for there in (False, True):
        assert file_backend.folder(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
        if not there:
            (tmp_path / "a b").mkdir()
    (tmp_path / "c%20d").mkdir()
    assert file_backend.folder(f"file://{tmp_path}/c%20d") == tmp_path / "c%20d"
