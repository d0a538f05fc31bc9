"""Where the `cloudpc` command begins: an interrupt while Python still reads modules ends it in silence, with 130."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from cloudpc.iac import startup

_INTERRUPTED = 130


def main() -> None:
    """Read what the command needs, a second or more on a busy machine, and run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is to be ignored
        signal.signal(signal.SIGINT, _leave)
    startup.begin()
    from cloudpc.cli.main import main as command

    command(_ready)


def _ready() -> None:
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_number: int, _frame: object) -> NoReturn:
    """Nothing has been begun yet."""
    os._exit(_INTERRUPTED)
