"""The golden files themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.golden.conftest import SAID

_USE = re.compile(r'(?:golden\.(?:pulumi|preview|cloudpc)|screens\.take)\(\s*"([^"]+)"')


def test_each_file_is_of_a_test_and_of_one_only() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    named = _USE.findall(tests)
    assert len(named) == len(set(named))
    files = {str(file.relative_to(SAID).with_suffix("")) for file in SAID.rglob("*.txt")}
    files = {name for name in files if not name.startswith("help/")}  # its test looks itself
    if not os.environ.get("CLOUDPC_UPDATE_GOLDEN"):
        assert files == set(named), "a file that no test uses says nothing: delete it"
    for name in files - set(named):
        (SAID / f"{name}.txt").unlink()
