"""What stands in the way of a run: another one at work, or what a dead one left."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, confirm, err
from cloudpc.iac import file_backend

ClearLock = Annotated[bool, typer.Option("--clear-lock", help="Remove the lock of a run on this machine that died.")]


def clear(project: Project, stack: str, *, clear_lock: bool, ask: bool = True) -> None:
    """Offer the way out where a dead run's lock, or what it had half written, stands in the way.

    Args:
        project: where.
        stack: whose.
        clear_lock: take it without asking.
        ask: where there is a terminal.

    Raises:
        CommandError: a run is at work, or the lock may not be removed.
    """
    held = project.locks(stack)
    shown = "; ".join(str(lock) for lock in held)
    if not all(lock.dead for lock in held):
        raise CommandError(
            f"another run is working on {stack}: its lock was {shown}. Wait for it to end; if it is surely dead, "
            f"`pulumi cancel --stack {stack} --yes` removes the lock"
        )
    cut_off = project.cut_off(stack)
    if not held and not cut_off:
        return
    left = [f"left its lock ({shown})"] if held else []
    left += [f"was cut off while it wrote {', '.join(path.name for path in cut_off)}"] if cut_off else []
    died = f"A run on {stack} died and {' and '.join(left)}."
    if not clear_lock and not (ask and sys.stdin.isatty()):
        raise CommandError(
            f"{died} Run again with --clear-lock; the next run finishes or removes what that one began"
            + ("" if cut_off else f". Or: `pulumi cancel --stack {stack} --yes`")
        )
    err.print(died)
    confirm("Remove that and go on? This run finishes or removes what it began.", yes=clear_lock)
    file_backend.mend(cut_off)
    if held:
        project.engine.read(["cancel", "--stack", stack, "--yes"])
