from __future__ import annotations

import time
from pathlib import Path

import pytest

from cloudpc.images import commands
from cloudpc.images.commands import CommandError
from cloudpc.provisioning.errors import Cancelled


def test_lines_arrive_and_a_failure_shows_the_last() -> None:
    lines: list[str] = []
    with pytest.raises(CommandError) as caught:
        commands.run(
            ["sh", "-c", "read line; echo got $line; echo why >&2; exit 3"], stdin="in\n", on_line=lines.append
        )
    assert lines == ["got in", "why"]
    assert "exit code 3" in str(caught.value)
    assert "why" in str(caught.value)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, Cancelled])
def test_stopped_programs_may_clean_up_first(tmp_path: Path, reason: type[BaseException]) -> None:
    script = 'touch half; trap "rm half; exit 130" INT; echo began; sleep 100 & wait'

    def interrupt(line: str) -> None:
        raise reason

    began = time.monotonic()
    with pytest.raises(reason):
        commands.run(["sh", "-c", f'cd "$1"; {script}', "sh", str(tmp_path)], on_line=interrupt)
    assert time.monotonic() - began < 10
    assert not list(tmp_path.iterdir())


def test_programs_that_do_not_stop_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SECONDS_TO_CLEAN_UP", 0.2)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        commands.run(["sh", "-c", 'trap "" INT; echo began; sleep 100'], on_line=interrupt)
    assert time.monotonic() - began < 10
