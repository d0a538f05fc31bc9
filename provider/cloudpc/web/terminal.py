"""The terminal that a server was started at."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

_ASKED_AGAIN_AFTER = 1.0
"""Seconds, where a terminal is not ours now, or says that nothing follows: it may have been Ctrl-D."""


def is_there() -> bool:
    """Whether somebody can press keys for this process to read."""
    return sys.stdin is not None and sys.stdin.isatty()


def on_enter(do: Callable[[], None]) -> None:
    """Do this whenever Enter is pressed, from a thread. What is typed while we are in the background is the shell's."""
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # reading then is an error, and does not stop us
    terminal = sys.stdin.fileno()

    def follow() -> None:
        while True:
            typed = b""
            with contextlib.suppress(OSError):
                typed = os.read(terminal, 4096)  # not sys.stdin, whose lock the interpreter wants at its end
            if typed:
                do()
            else:
                time.sleep(_ASKED_AGAIN_AFTER)

    threading.Thread(target=follow, name="terminal", daemon=True).start()
