"""What `--help` says of each command, and that each command is there that anything else names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
import typer
from click.testing import CliRunner

from cloudpc.cli import main
from tests.golden.conftest import SAID, Said

_NAMED = re.compile(r"`cloudpc ([^`]*)`|(?<=: )(?<!Usage: )cloudpc ((?:connect|up|policy) .*)$", re.MULTILINE)
"""In backquotes, or at the end of a line: to be copied."""


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> click.Command:
    """`cloudpc`, in this process: of its help nothing needs a project."""
    given = {name: getattr(main.app.info, name) for name in ("help", "epilog")}
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(main, "app", typer.Typer(**given))
    main._mount()
    return typer.main.get_command(main.app)


def _commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, *names, name)


def _each(lines: str) -> list[str]:
    """`retry|end-grace` are two."""
    first, _, rest = lines.partition(" ")
    return [f"{name} {rest}".strip() for name in first.split("|")]


def test_each_commands_help(said: Said, whole: click.Command) -> None:
    shown = set()
    for names in _commands(whole):
        ran = CliRunner().invoke(whole, [*names, "--help"], prog_name="cloudpc")
        assert ran.exit_code == 0, ran.output
        lines = [line.rstrip() for line in click.unstyle(ran.output).splitlines()]
        name = "-".join(["cloudpc", *names])
        said.compare(f"help/{name}", "\n".join([f"$ cloudpc {' '.join([*names, '--help'])}", *lines]).rstrip() + "\n")
        shown.add(name)
    assert {file.stem for file in (SAID / "help").glob("*.txt")} == shown, "of a command that is no more"


def test_each_command_that_people_are_told_to_use_is_there(whole: click.Command) -> None:
    texts = {file: file.read_text() for file in SAID.rglob("*.txt")}
    found = [(each[1] or each[2], file.stem) for file, text in texts.items() for each in _NAMED.finditer(text)]
    named = {(line, where) for lines, where in found for line in _each(lines)}
    assert len(named) > 10
    for line, where in sorted(named):
        command, words = whole, shlex.split(line)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), f"{where}: there is no `cloudpc {line}`"
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("-") and word != "--"} <= options, f"{where}: {line}"
