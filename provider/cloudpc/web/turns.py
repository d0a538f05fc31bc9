"""Whose turn it is on a policy, among all servers of a project: one account may have several.

State has a lock of its own, but a command takes that only once its program runs: until then another one would begin,
write what is asked for, and find state locked.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable
from pathlib import Path


def taken(folder: Path, policies: Iterable[str]) -> contextlib.ExitStack | None:
    """The turn on all of these policies, until what is returned is closed or this process ends.

    None: another server has it on one of them. A folder that can't be written, or whose file system knows no locks,
    keeps nobody from anything.
    """
    turns = contextlib.ExitStack()
    for policy in sorted(set(policies)):
        with contextlib.suppress(OSError):
            file = turns.enter_context((folder / f"{policy}.lock").open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                turns.close()
                return None
    return turns
