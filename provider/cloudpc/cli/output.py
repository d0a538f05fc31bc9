"""How commands speak: tables and messages for people, JSON for scripts, one kind of exit code each.

A string is text, whoever wrote it: it is shown as it is, and nothing in it is markup, an emoji's name or a command to
the terminal. What has a style is made by `styled`; nothing else of the commands makes rich's own texts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import zip_longest
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text

from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import coloured_only, harmless_lines, to_json

Styled = Text
"""What `styled` makes."""


class Terminal(Console):
    """A console on which strings are text; rich asks it for each, also for those in tables."""

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        **_: object,
    ) -> Text:
        """See rich.console.Console; never markup, emoji or highlighting."""
        return super().render_str(
            harmless_lines(text), style=style, justify=justify, overflow=overflow,
            emoji=False, markup=False, highlight=False,
        )  # fmt: skip


for _name in ("stdin", "stdout", "stderr"):
    if getattr(sys, _name) is None:  # whoever started us has closed it: nobody reads it
        setattr(sys, _name, open(os.devnull, "r" if _name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
# a file or a pipe has no width: a table in it must not be folded
out = Terminal(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)
err = Terminal(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else 1000)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


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


class CommandError(CloudPCError):
    """Ends a command with a message and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: CloudPCError) -> Exit:
    """What a command that ends with this error exits with."""
    if isinstance(error, CommandError):
        return error.code
    return Exit.INVALID if error.is_bad_input else Exit.ERROR


def print_json(value: Any) -> None:
    """For scripts, on standard output."""
    sys.stdout.write(to_json(value, indent=2) + "\n")
    sys.stdout.flush()  # where both go to one file, what stderr says next stands below


_COLOURS = {
    "provisioned": "green",
    "provisionedWithWarnings": "yellow",
    "pendingProvision": "yellow",
    "notProvisioned": "dim",
    "inGracePeriod": "yellow",
    "deprovisioning": "dim",
    "failed": "red",
}


def styled(text: str, style: str) -> Styled:
    """Text in a style of ours, for example `bold` or `green`."""
    return Text(harmless_lines(text), style)


def coloured(status: str) -> Styled:
    """A status in the colour of its meaning."""
    return styled(status, _COLOURS.get(status, ""))


def behind(name: Styled, line: str) -> Styled:
    """A line of the engine, with its colours, behind a name."""
    return Text.assemble(name, Text.from_ansi(coloured_only(line)))


def colour_of_the_engine() -> str:
    """For `--color`, where its lines reach this terminal through us."""
    return "always" if out.is_terminal and not out.no_color else "never"


READABLE = 30
"""Characters that the last column needs at least, to be read beside the others."""
_GAP = 2
_BELOW = 4
"""How far the last column's text is indented where it stands below its line."""


class Table:
    """For terminals and for pipes: no lines, no blanks at the end, and nothing is cut.

    Columns are as wide as what is in them. Only the last one is folded: beside the others, or below them if need be.

    Args:
        columns: their headings; without any text in them, no heading is shown.
    """

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._rows: list[Sequence[str | Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """One cell for each column; text is text (see `output.Terminal`), its lines are kept."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """For rich: one line at a time."""
        heading = [Text.assemble((str(_text(console, column)), "bold")) for column in self._columns]
        rows = [[_text(console, cell) for cell in row] for row in self._rows]
        shown = [heading, *rows] if any(self._columns) else rows
        widths = [max((row[i].cell_len for row in shown), default=0) for i in range(len(self._columns) - 1)]
        room = options.max_width - sum(widths) - _GAP * len(widths)
        longest = max((line.cell_len for row in rows for line in row[-1].split()), default=0)
        is_below = longest > room and room < READABLE
        for row in shown:
            first = Text.assemble(*(_filled(cell, width) for cell, width in zip(row, widths, strict=False)))
            if is_below and row is not heading:
                yield _ended(first)
                yield from (
                    _ended(Text(" " * _BELOW) + line) for line in _folded(console, row[-1], options.max_width - _BELOW)
                )
            else:
                yield from _beside(first, _folded(console, row[-1], max(room, 1)))


def table(*columns: str) -> Table:
    """What all lists are shown in."""
    return Table(*columns)


def _text(console: Console, cell: str | Text) -> Text:
    return cell.copy() if isinstance(cell, Text) else console.render_str(cell)


def _filled(cell: Text, width: int) -> Text:
    return cell + Text(" " * (width - cell.cell_len + _GAP))


def _folded(console: Console, cell: Text, width: int) -> list[Text]:
    return [line for line in cell.wrap(console, width, overflow="fold") if line.plain.strip()]


def _beside(first: Text, lines: Sequence[Text]) -> Iterator[Text]:
    indent = Text(" " * first.cell_len)
    for left, line in zip_longest([first], lines, fillvalue=None):
        yield _ended((left or indent) + (line or Text()))


def _ended(line: Text) -> Text:
    """Without trailing blanks: somebody may copy it, or read it in a pipe."""
    line.rstrip()
    return line


def before_hints() -> str:
    """What parts a finding from what to do: on a terminal its own line; in a pipe each finding is one line."""
    return "\n-> " if out.is_terminal else " -> "


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
    if err.input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done", Exit.NOT_CONFIRMED)


def counted(count: int) -> str:
    """So many Cloud PCs, in words."""
    return f"{count} Cloud PC{'' if count == 1 else 's'}"
