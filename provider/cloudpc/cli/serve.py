"""`cloudpc serve`: pages in a browser."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, err, out

PORT = 8365
_NOT_THERE = (
    "Pages need more than commands do: {name} is not installed. `pip install 'cloudpc[web]'` installs what is missing; "
    "in a checkout, `tools/environment` does"
)


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: a free one.")] = PORT,
    as_user: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="Pages as this user has them, not an admin's.")
    ] = None,
) -> None:
    """Serve pages in a browser, on this machine: the fleet, its history and its actions.

    Prints an address that signs in whoever opens it, once. Ends on Ctrl-C, after what pages have begun.
    """
    try:
        import jinja2  # noqa: F401 - whether it is there
        import websockets  # noqa: F401

        from cloudpc.web.person import Person
        from cloudpc.web.server import serve as serve_pages
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.startswith("cloudpc"):
            raise
        raise CommandError(_NOT_THERE.format(name=missing.name)) from None
    project = Project()
    _ = project.engine.backend  # told here, and not by each page
    if as_user is None:
        person = Person(_own_name(), is_admin=True)
    else:
        one = project.of_user(as_user)[0]
        person = Person(one.user_principal_name, user_id=one.user_id)
    serve_pages(project, port, person, lambda text: (out if "?token=" in text else err).print(text))


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        return "admin"
