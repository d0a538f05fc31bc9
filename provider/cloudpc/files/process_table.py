"""Processes of this machine, as /proc has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One of them.

    Args:
        command: its program's name, of which the kernel keeps 15 characters.
        is_over: it has ended, and nobody has asked how yet, as in a container without an init.
        began: in ticks since the machine's start, as text; with its number it names the process for good.
    """

    command: str
    is_over: bool
    began: str


def name_of(pid: int) -> str:
    """What tells a process from all others of this machine, as numbers are given again; empty: there is none."""
    process = find(pid)
    return f"{pid}-{process.began}" if process and not process.is_over else ""


def is_there(name: str) -> bool:
    """Whether the process of this name is still at work."""
    pid = name.partition("-")[0]
    return pid.isdecimal() and name_of(int(pid)) == name


def find(pid: int) -> Process | None:
    """The process of this number; None if there is none, or no /proc. See proc_pid_stat(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    command, _, rest = stat.partition("(")[2].rpartition(")")
    state, *others = rest.split()  # from its third field on
    return Process(command, state in ("Z", "X"), others[18])
