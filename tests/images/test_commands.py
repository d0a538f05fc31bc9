from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from cloudpc.images import commands
from cloudpc.images.commands import ToolError
from cloudpc.model.errors import Cancelled, ErrorCode
from tests.support.failures import fails_with


def test_lines_arrive_and_a_failure_shows_the_last() -> None:
    lines: list[str] = []
    with pytest.raises(ToolError) as caught:
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


def test_a_program_that_reads_what_others_made_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_MOST_MEMORY", 256 << 20)
    monkeypatch.setattr(commands, "_MOST_SECONDS", 1)
    ended = commands.run_limited(["sh", "-c", "echo in order; echo and this >&2"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "in order\n", "and this\n")
    file = tmp_path / "written"
    for greedy in ("bytearray(512 << 20)", "while True: pass", "import time; time.sleep(600)"):
        assert commands.run_limited([sys.executable, "-c", greedy]).returncode
    assert commands.run_limited(["sh", "-c", f"echo x > {file}"]).returncode
    assert not file.read_text()


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        commands.run_limited(["no-such-program"])


@pytest.mark.parametrize(
    ("value", "rights", "builds", "said", "facts"),
    [
        ("1", 1, False, "setpriv: setresuid failed: Operation not permitted", ("AppArmor", "setresuid failed")),
        ("1", 1, False, "unshare: no line matching user alice in /etc/subuid", ("no range of subordinate ids",)),
        ("1", 0, True, "", ()), ("0", 1, True, "", ()),
    ],
)  # fmt: skip
def test_user_namespaces_without_rights_are_refused_before_a_build(
    value: str,
    rights: int,
    builds: bool,
    said: str,
    facts: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Ubuntu's are since 23.10."""
    restriction = tmp_path / "restriction"
    restriction.write_text(f"{value}\n")
    programs = dict.fromkeys(commands.PROGRAMS | commands.PROGRAMS_WITHOUT_ROOT, 0) | {"unshare": rights}
    for name, status in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n[ {status} = 0 ] || echo '{said}' >&2\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(commands, "_RESTRICTION", restriction)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    if builds:
        commands.require_programs()
        return
    with fails_with(ErrorCode.IMAGE_NOT_FOUND, *facts) as caught:
        commands.require_programs()
    assert ("AppArmor" in facts) is ("sysctl" in caught.value.hint)
    assert ("AppArmor" in facts) is ("usermod" not in caught.value.hint)
