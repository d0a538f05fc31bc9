"""The commands of `cloudpc`, for what is written of them: reference and man page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer.main

from cloudpc.cli import main

_NEVER_WRITTEN = ("--help", "--install-completion", "--show-completion")


@dataclass(frozen=True)
class Command:
    """One of them, or `cloudpc` itself.

    Args:
        usage: with its arguments, without its options.
        help: what it does.
        parameters: names and meaning of each argument and option.
    """

    usage: str
    help: str
    parameters: tuple[tuple[str, str], ...]


def whole() -> tuple[Command, str, list[Command]]:
    """`cloudpc` itself, what is said at its end, and all its commands."""
    main._mount()
    group = typer.main.get_command(main.app)
    context = group.context_class(group, info_name="cloudpc")
    end = (getattr(group, "epilog", "") or "").strip()
    return Command("cloudpc", group.help or "", _parameters(group, context)), end, list(_below(group, context))


def _below(group: Any, context: Any) -> Iterator[Command]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        own = command.context_class(command, info_name=name, parent=context)
        if hasattr(command, "list_commands"):
            yield from _below(command, own)
            continue
        pieces = [piece for piece in command.collect_usage_pieces(own) if piece != "[OPTIONS]"]
        usage = " ".join([own.command_path, *pieces])
        yield Command(usage, (command.help or "").strip(), _parameters(command, own))


def _parameters(command: Any, context: Any) -> tuple[tuple[str, str], ...]:
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or any(name in record[0] for name in _NEVER_WRITTEN):
            continue
        names = ", ".join(parameter.opts) if parameter.param_type_name == "option" else record[0].strip()
        rows.append((names, record[1]))
    return tuple(rows)
