"""The server of the pages, on this machine alone."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit
from cloudpc.web import terminal
from cloudpc.web.app import create
from cloudpc.web.guard import Origins
from cloudpc.web.person import Person
from cloudpc.web.sessions import Session
from cloudpc.web.sign_in import SignIn
from cloudpc.web.site import Site

LOOPBACK = "127.0.0.1"


def serve(project: Project, port: int, who: Person | SignIn, tell: Callable[[str], None]) -> None:
    """Serve pages until SIGINT or SIGTERM; runs that pages have begun end in order first.

    Args:
        project: where.
        port: 0: any.
        who: whom the printed address signs in, once; or the tenant's sign-in.
        tell: is given what is to be said.

    Raises:
        CommandError: the port is taken.
    """
    listening = listen(port, by_name=isinstance(who, SignIn) and who.registration.behind is None)
    site = _site(project, listening[0].getsockname()[1], who, tell)
    server = _Server(site)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # raised again by uvicorn, once all is over
            server.run(sockets=listening)
    finally:
        if at_work := [run for run in site.runs.all() if not run.is_over]:
            tell(f"Ending what is at work: {'; '.join(run.shown for run in at_work)}. The next run finishes it.")
        site.runs.stop_all()
        for each in listening:
            each.close()
    tell("stopped")


def _site(project: Project, port: int, who: Person | SignIn, tell: Callable[[str], None]) -> Site:
    """One, with its address printed."""
    if isinstance(who, Person):
        address = f"http://{LOOPBACK}:{port}"
        site = Site.of(project, Origins([address]))
        tell(f"Pages for {who.name}, until Ctrl-C; this address works once:")

        def invite() -> None:
            tell(f"{address}/?token={site.sessions.invite(who)}")

        def ended(_: Session) -> None:
            if not site.sessions.anybody:  # else another one has taken its place
                tell("The session has ended; this address begins another one, once:")
                invite()

        def again() -> None:
            tell("This address works once, and ends the session before it:")
            invite()

        site.sessions.on_end.append(ended)
        invite()
        if terminal.is_there():
            tell("Enter prints another one.")
            terminal.on_enter(again)
        return site
    # by name: of http, Entra takes no other redirect URI than localhost's, and that at any port
    ours, own = who.registration, f"http://localhost:{port}"
    site = Site.of(project, Origins([ours.behind or own]))
    site.sign_in = who
    proxied = f"; the proxy of this address sends them to http://{LOOPBACK}:{port}" if ours.behind else ""
    tell(f"Pages for everybody whom the tenant {ours.tenant_id} signs in, until Ctrl-C{proxied}:")
    if not (ours.admin_role or ours.admin_group):
        tell("None of them is an admin: --admin-role or --admin-group says who is")
    tell(f"{ours.behind or own}/")
    return site


def listen(port: int, *, by_name: bool) -> list[socket.socket]:
    """Of this machine's loopback alone.

    Args:
        port: 0: any.
        by_name: whether browsers come to `localhost`, which may be ::1: nobody else may have that port there, who would
            be sent cookies and answers of the tenant.

    Raises:
        CommandError: the port is taken.
    """
    listening = [_bound(socket.AF_INET, LOOPBACK, port)]
    if not by_name:
        return listening
    try:
        listening.append(_bound(socket.AF_INET6, "::1", listening[0].getsockname()[1]))
    except CommandError:
        listening[0].close()
        raise
    except OSError:  # this machine has no IPv6, for nobody
        pass
    return listening


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen()  # whoever opens the address at once waits, and is not refused
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise
        message = f"Port {port} of {address} can't be used: {error.strerror}. `cloudpc serve --port 0` takes a free one"
        raise CommandError(message, Exit.INVALID) from None
    return listening


class _Server(uvicorn.Server):
    """Tells pages that wait for news that they need not."""

    def __init__(self, site: Site) -> None:
        super().__init__(
            uvicorn.Config(
                create(site),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
                ws="websockets-sansio",
            )
        )
        self._site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn."""
        self._site.is_ending = True
        super().handle_exit(signal.Signals(sig), frame)
