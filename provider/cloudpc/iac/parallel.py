"""Several `pulumi` runs at once: their lines begin with a name, and all are ended in an orderly way."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue

from cloudpc.iac.engine import Engine, Terminated

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Tell = Callable[[str, str], None]
"""Shows a line of the run of this name; called from several threads."""


def run(
    engine: Engine,
    runs: Mapping[str, Sequence[str]],
    at_once: int,
    tell: Tell,
    *,
    env: Callable[[str], Mapping[str, str]] | None = None,
) -> dict[str, int]:
    """Run `pulumi` with each of these arguments; returns the exit codes by name.

    Args:
        engine: where.
        runs: arguments by name.
        at_once: how many may run at the same time.
        tell: for each line that one prints.
        env: more environment, by name.

    Raises:
        EngineError: there is no `pulumi`.
        KeyboardInterrupt: it was interrupted; all have ended, and none was begun after that.
    """
    happened: SimpleQueue[str | signal.Signals] = SimpleQueue()
    waiting, running, codes = list(runs), dict[str, subprocess.Popen[str]](), dict[str, int]()
    stop: signal.Signals | None = None
    with _into(happened):
        try:
            while running or (waiting and stop is None):
                while waiting and stop is None and len(running) < at_once:
                    name = waiting.pop(0)
                    running[name] = engine.start(runs[name], env=env(name) if env else None)
                    threading.Thread(target=_follow, args=(name, running[name], tell, happened), daemon=True).start()
                match happened.get():
                    case signal.Signals() as number:
                        stop = stop or number
                        _interrupt(running.values())
                    case name:
                        codes[name] = running.pop(name).wait()
        finally:
            _interrupt(running.values())  # only after an error of our own
            for process in running.values():
                process.wait()
    if stop is not None:
        raise KeyboardInterrupt if stop is signal.SIGINT else Terminated
    return codes


@contextlib.contextmanager
def _into(happened: SimpleQueue[str | signal.Signals]) -> Iterator[None]:
    """Signals become entries of a queue, so that none comes between starting a process and knowing it."""
    before = {number: signal.signal(number, lambda n, _: happened.put(signal.Signals(n))) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(processes: Iterable[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)  # pulumi stops in its own, orderly way


def _follow(name: str, process: subprocess.Popen[str], tell: Tell, happened: SimpleQueue[str | signal.Signals]) -> None:
    assert process.stdout is not None  # noqa: S101 - a pipe
    try:
        with process.stdout as lines:
            for line in lines:
                with contextlib.suppress(OSError):  # nobody listens any longer; it goes on all the same
                    tell(name, line.rstrip("\n"))
    finally:  # whatever went wrong in reporting: otherwise whoever waits for it would wait for ever
        process.wait()
        happened.put(name)
