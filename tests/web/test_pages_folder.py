"""The folder of pages is one account's: another is told whose."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cloudpc.cli.output import CommandError
from cloudpc.web import pages_folder

_REFUSED = PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_another_account_is_told_whose_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    with pytest.raises(CommandError) as told, pages_folder.made(folder):
        raise _REFUSED
    assert str(told.value).startswith(f"{folder} ")
    assert f"it is {folder.owner()}'s" in str(told.value)


def test_where_it_can_t_be_made_the_folder_above_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise _REFUSED

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(CommandError) as told, pages_folder.made(tmp_path / "pages"):
        pytest.fail("there is none")
    assert str(told.value).startswith(f"{tmp_path} ")


def test_an_account_without_a_name_is_told_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(_: Path) -> str:
        raise KeyError

    monkeypatch.setattr(Path, "owner", nameless)
    with pytest.raises(CommandError, match=f"it is {tmp_path.stat().st_uid}'s"), pages_folder.made(tmp_path / "pages"):
        raise _REFUSED
