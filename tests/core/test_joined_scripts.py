"""Several scripts as one: each is told apart, whatever it says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudpc.model.guests import Completed, Script
from cloudpc.model.joined_scripts import apart, joined, reached

_SAYS = Script(text='cat; exit "$1"', timeout=20)


def ran(*scripts: Script, room: int = 4000, cut: int | None = None) -> list[Completed]:
    """Run as one in this machine's own shell; of what it says, the host keeps the last `cut` characters."""
    one = joined(scripts, room)
    done = subprocess.run(
        one.argv,
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], **one.secrets},
    )
    text = done.stdout.decode(errors="replace")
    return apart(scripts, Completed(done.returncode, text[-cut:] if cut else text))


@given(st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
@example([(b"cloudpc-script 1 0 aGVsbG8=\ncloudpc-script 0 7 aGVsbG8=\n", 3), (b"END\n)\n", 0), (b"", 124)])
def test_whatever_scripts_say_is_taken_apart_right(wanted: list[tuple[bytes, int]]) -> None:
    scripts = [replace(_SAYS, stdin=said, arguments=(str(code),)) for said, code in wanted]
    assert ran(*scripts) == [Completed(code, said.decode(errors="replace")) for said, code in wanted]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=15, deadline=None)
def test_arguments_and_text_reach_each_script_as_they_are(value: str) -> None:
    shows = Script(text=f"printf %s \"$1\"; : '{value.replace(chr(39), '')}'", arguments=(value,), timeout=20)
    assert ran(shows, shows) == [Completed(0, value.encode().decode(errors="replace"))] * 2


def test_one_that_fails_or_reads_everything_keeps_no_other_from_running() -> None:
    dies = Script(text="kill -KILL $$", timeout=20)
    assert [done.exit_code for done in ran(dies, _SAYS, Script(text="exit", timeout=20))] == [137, 2, 0]


def test_one_that_takes_too_long_ends_with_what_it_has_started(tmp_path: Path) -> None:
    slow = Script(text=f"(sleep 2; touch {tmp_path}/late) & echo begun; sleep 30", timeout=0.3)
    exits_so = Script(text="exit 124", timeout=20)
    first, second = ran(slow, exits_so)
    assert first.timed_out
    assert first.output == "took longer than 0 s"
    assert second == Completed(124, "")
    assert ran(Script(text="sleep 2.5", timeout=20))[0].exit_code == 0
    assert not (tmp_path / "late").exists()


def test_a_daemon_of_one_holds_up_nobody() -> None:
    assert ran(Script(text="sleep 50 & echo $!", timeout=20), _SAYS)[1] == Completed(2, ran(_SAYS)[0].output)


def test_each_sees_its_own_secrets_only_and_no_text_has_them() -> None:
    shows = Script(
        text='printf %s "$PASSWORD"; env | grep -c hidden; true', timeout=20, secrets={"PASSWORD": "hidden 1"}
    )
    other = replace(shows, secrets={"PASSWORD": "it's $(hidden)\n2"})
    none = replace(shows, secrets={})
    assert "hidden 1" not in str(joined([shows, other, none]))
    assert [done.output for done in ran(shows, other, none)] == ["hidden 11\n", "it's $(hidden)\n21\n", "0\n"]


def test_where_a_host_keeps_the_end_only_every_exit_code_is_in_it() -> None:
    much = Script(text="yes | head -c 100000; exit 5", timeout=20)
    done = ran(much, much, much, cut=4000)
    assert [each.exit_code for each in done] == [5, 5, 5]
    assert all(len(each.output) > 800 for each in done)


def test_what_did_not_come_to_an_end_is_not_taken_for_done() -> None:
    assert apart([_SAYS, _SAYS], Completed(0, "[stdout]\ncloudpc-script 0 0 aGk=\r\n[stderr]\n")) == [
        Completed(0, "hi"),
        Completed(124, "did not come to an end", timed_out=True),
    ]


def test_all_that_runs_ends_soon_where_somebody_kills_the_one_that_runs_it(tmp_path: Path) -> None:
    """As a host does on Ctrl-C: it knows the session of what it has started, and none of those in it."""
    mark, folder = f"3{time.time_ns() % 10**7}", tmp_path / "temporary"
    folder.mkdir()
    one = joined([Script(text=f"sleep {mark} & sleep {mark}", timeout=60)])
    with subprocess.Popen(
        one.argv[1:],  # without `setsid`
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert _within(5, lambda: _running(mark) == 2)
        os.killpg(process.pid, signal.SIGKILL)
    assert _within(10, lambda: not _running(mark))
    assert _within(5, lambda: not list(folder.iterdir()))


def _running(mark: str) -> int:
    """How many `sleep` this long."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found += path.read_bytes() == f"sleep\0{mark}\0".encode()
    return found


def _within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_how_far_it_came_is_known_from_what_was_said_so_far() -> None:
    scripts = [_SAYS, _SAYS, _SAYS]
    assert [
        reached(Completed(0, text)) for text in ("", "cloudpc-script 0 0 YQ==\n", "cloudpc-script 1 late YQ==\n")
    ] == [0, 1, 2]
    assert [each.timed_out for each in apart(scripts, Completed(0, "cloudpc-script 1 0 YQ==\n"))] == [True, False, True]
