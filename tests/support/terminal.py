"""A command run at a terminal of so many columns, as somebody who sits there has it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress

_LINES = 60


def at_terminal(command: Sequence[str], env: Mapping[str, str], columns: int, *, is_coloured: bool = True) -> str:
    """All that it says, with colours as escape sequences; nobody answers.

    Args:
        command: what is run.
        env: its environment, less what says how wide a terminal is or which colours it has.
        columns: the terminal's width.
        is_coloured: without, NO_COLOR is set.
    """
    kept = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    colours = {} if is_coloured else {"NO_COLOR": "1"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    with subprocess.Popen(
        command, env={**kept, **colours, "TERM": "xterm-256color"}, stdin=subprocess.DEVNULL, stdout=theirs,
        stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b"".join(_chunks(ours))
        os.close(ours)
        process.wait()
    return said.decode().replace("\r\n", "\n")


def _chunks(descriptor: int) -> Sequence[bytes]:
    found = []
    with suppress(OSError):  # nobody writes any longer
        while chunk := os.read(descriptor, 65536):
            found.append(chunk)
    return found
