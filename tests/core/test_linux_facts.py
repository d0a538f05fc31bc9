"""What a Linux guest says of itself, also one that has next to nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cloudpc.guests.linux import extras, facts
from cloudpc.model.guests import Script


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """All the programs that a small image may be taken to have."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("head", "sed", "cut"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


@pytest.mark.parametrize(
    "script", [facts.script(), extras.keep_first_boot("/no/root").script], ids=lambda each: each.name
)
def test_an_image_without_setsid_is_asked_all_the_same(script: Script, programs: Path) -> None:
    ended = subprocess.run(
        script.argv, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_it_says_is_read(programs: Path) -> None:
    ended = subprocess.run(
        facts.script().argv, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=30, check=True
    )
    assert facts.read(ended.stdout).version
