"""Several runs at once, without the engine: what becomes of their lines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cloudpc.iac import parallel


class _Engine:
    def start(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_line_that_can_not_be_told_keeps_nobody_waiting() -> None:
    engine: Any = _Engine()
    told = []

    def tell(name: str, line: str) -> None:
        if name == "bad":
            raise RuntimeError(line)
        told.append(line)

    runs = {"bad": ["print('ü')"], "good": ["print('one'); raise SystemExit(3)"]}
    assert parallel.run(engine, runs, 2, tell)["good"] == 3
    assert told == ["one"]
