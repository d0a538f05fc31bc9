"""`cloudpc serve`: pages in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudpc.cli.context import Project
from cloudpc.cli.journal import own_name
from cloudpc.cli.output import CommandError, err, out

PORT = 8365
_NOT_THERE = (
    "pages need {name}, which is not installed; `pip install 'cloudpc[web]'` installs it. Where pipx has installed "
    "cloudpc, `pipx runpip cloudpc install 'cloudpc[web]'` does, and in a clone of the repository `tools/environment`"
)


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: a free one.")] = PORT,
    as_user: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="Pages as this user has them, not an admin's.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Have this tenant's users sign in by Microsoft Entra.")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="By this application; with --tenant (docs/pages.md).")
    ] = None,
    admin_role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Who has this role of the application is an admin.")
    ] = None,
    admin_group: Annotated[str | None, typer.Option(metavar="ID", help="Who is in this group is an admin.")] = None,
    behind: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where a proxy with TLS serves these pages; with --tenant."),
    ] = None,
) -> None:
    """Serve pages in a browser, on this machine: the fleet, its history and its actions.

    Prints an address that signs in whoever opens it, once; with --tenant, people sign in by Microsoft Entra, and who
    is no admin has their own Cloud PCs. Ends on Ctrl-C, after what pages have begun.
    """
    try:
        import jinja2  # noqa: F401 - whether it is there
        import websockets  # noqa: F401

        from cloudpc.web.person import Person
        from cloudpc.web.registration import Options, Registration
        from cloudpc.web.server import serve as serve_pages
        from cloudpc.web.sign_in import SignIn
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.startswith("cloudpc"):
            raise
        raise CommandError(_NOT_THERE.format(name=missing.name)) from None
    project = Project()
    _ = project.engine.backend  # reported here, and not by each page
    options = Options(tenant, client_id, admin_role, admin_group, behind, as_user)
    who: Person | SignIn = Person(own_name(), is_admin=True)
    if options.are_given:
        who = SignIn(Registration.of(options, project))
    elif as_user is not None:
        one = project.of_user(as_user)[0]
        who = Person(one.user_principal_name, user_id=one.user_id)
    serve_pages(project, port, who, lambda text: (out if text.startswith("http") else err).print(text))
