"""The file-based fake host and an organisation's directories, for tests of the pipeline within one process."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))

from .fake_organisation import Organisation
from .fake_rim import ScriptedHost


@pytest.fixture
def host(tmp_path: Path) -> ScriptedHost:
    return ScriptedHost(tmp_path)


@pytest.fixture
def organisation() -> Organisation:
    return Organisation()
