"""What `--help` says of each command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
import typer
from click.testing import CliRunner

from cloudpc.cli import main
from tests.golden.conftest import SAID, Said


def _commands(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield names, command
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, *names, name)


def test_each_commands_help(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: nothing of a project is looked at."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(main, "app", typer.Typer(**{n: getattr(main.app.info, n) for n in ("help", "epilog")}))
    main._mount()
    whole = typer.main.get_command(main.app)
    shown = set()
    for names, _ in _commands(whole):
        ran = CliRunner().invoke(whole, [*names, "--help"], prog_name="cloudpc")
        assert ran.exit_code == 0, ran.output
        lines = [line.rstrip() for line in click.unstyle(ran.output).splitlines()]
        name = "-".join(["cloudpc", *names])
        said.compare(f"help/{name}", "\n".join([f"$ cloudpc {' '.join([*names, '--help'])}", *lines]).rstrip() + "\n")
        shown.add(name)
    assert {file.stem for file in (SAID / "help").glob("*.txt")} == shown, "of a command that is no more"
