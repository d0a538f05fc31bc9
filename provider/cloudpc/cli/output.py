"""How commands speak: tables and messages for people, JSON for scripts, one kind of exit code each."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

# a file or a pipe has no width: a table in it must not be folded
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)
err = Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else 1000)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


class Exit(IntEnum):
    """Exit codes, documented in the README."""

    OK = 0
    ERROR = 1
    """Something didn't work: the engine, a host, a missing stack."""
    INVALID = 2
    """Bad input: the command line or the configuration. Nothing was touched."""
    FAILED_CLOUD_PC = 3
    """Everything ran, but a Cloud PC has failed."""
    NOT_CONFIRMED = 4
    """The question was answered with no, or could not be asked."""


class CommandError(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code


def print_json(value: Any) -> None:
    """For scripts, on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


_COLOURS = {
    "provisioned": "green",
    "provisionedWithWarnings": "yellow",
    "pendingProvision": "yellow",
    "notProvisioned": "dim",
    "inGracePeriod": "yellow",
    "deprovisioning": "dim",
    "failed": "red",
}


def coloured(status: str) -> str:
    """A status in the colour of its meaning."""
    colour = _COLOURS.get(status)
    return f"[{colour}]{status}[/]" if colour else status


def table(*columns: str) -> Table:
    """A plain table; only its last column is folded on a narrow terminal."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column != columns[-1])
    return made


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal.

    Raises:
        CommandError: NOT_CONFIRMED.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        message = "not confirmed: there is no terminal to ask on; give --yes"
        raise CommandError(message, Exit.NOT_CONFIRMED)
    if err.input(f"{question} [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done", Exit.NOT_CONFIRMED)
