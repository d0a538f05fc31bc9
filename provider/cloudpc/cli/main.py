"""The `cloudpc` command: thin over Pulumi."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cloudpc.cli.output import Exit, err, exit_code, out
from cloudpc.files.project import PROJECT
from cloudpc.iac.engine import Terminated
from cloudpc.model import added, patience
from cloudpc.model.errors import CloudPCError
from cloudpc.model.masking import masked

COMMANDS = "cloudpc.commands"
"""Group of entry points: commands from above this folder. All are loaded at start: what is slow, they import later."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Cloud PCs for the licensed users of your provisioning policies, on your own hosts.",
    epilog="Exit codes: 0 fine, 1 something did not work, 2 bad input (nothing touched), "
    "3 a Cloud PC has failed, 4 not confirmed, 130 interrupted.",
)


def _mount() -> None:
    from cloudpc.cli import (
        access,
        actions,
        adopt,
        cloud_pcs,
        connections,
        doctor,
        down,
        history,
        image,
        own_project,
        policies,
        run,
        up,
    )

    app.callback()(_options)
    app.command("init")(own_project.init)
    app.command("setup")(own_project.setup)
    app.command("preview")(up.preview)
    app.command("up")(up.up)
    app.command("run")(run.run)
    app.command("list")(cloud_pcs.list_)
    app.command("show")(cloud_pcs.show)
    app.command("credentials")(access.credentials)
    app.command("connect")(access.connect)
    app.command("history")(history.history)
    actions.mount(app)
    app.add_typer(policies.app, name="policy")
    app.add_typer(connections.app, name="connection")
    app.add_typer(image.app, name="image")
    app.command("doctor")(doctor.doctor)
    app.command("adopt")(adopt.adopt)
    app.command("down")(down.down)
    for entry in added.of_group(COMMANDS):
        app.command(entry.name)(entry.load())


def _version(asked: bool) -> None:
    if asked:
        from cloudpc.cli.own_project import version

        out.print(f"cloudpc {version()}")
        raise typer.Exit


def _options(
    project: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The project to work in; default: the one you are in."),
    ] = None,
    _asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version, and exit.")
    ] = False,
) -> None:
    if project is not None:
        os.environ[PROJECT] = str(project)


def main(ready: Callable[[], None] = lambda: None) -> None:
    """Run a command; nobody sees a traceback for what can go wrong in normal use.

    Args:
        ready: called when all modules are there: from then on there is something to end properly.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr: an unknown letter must not end a run
    _mount()
    ready()
    try:
        with patience.telling(lambda text: err.print(text)):
            app()
    except CloudPCError as error:
        _fail(error.whole(), exit_code(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror}", Exit.ERROR)
    except Exception as error:  # nobody above handles it
        if os.environ.get("CLOUDPC_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (CLOUDPC_DEBUG=1 shows the traceback)", Exit.ERROR)


def _terminate(_number: int, _frame: object) -> NoReturn:
    raise Terminated


def _fail(message: str, code: Exit) -> NoReturn:
    err.print(f"cloudpc: {masked(message)}", style="red" if err.is_terminal else None)
    sys.exit(code)


if __name__ == "__main__":
    main()
