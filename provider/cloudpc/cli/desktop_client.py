"""`cloudpc connect --desktop`: RDP through ssh, whose host key is pinned, to a certificate that is pinned, too.

A guest serves its desktop on its own loopback, so that whoever sees it has come by ssh. The client gets the password by
a pipe: it is in no file, no argument and no environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from cloudpc.cli import ssh
from cloudpc.cli.desktop import PORT
from cloudpc.cli.output import CommandError, err
from cloudpc.cli.ssh import Forwarded, Target
from cloudpc.files import packaged
from cloudpc.model import thumbprints
from cloudpc.model.text import command_line, last_lines

READY_SECONDS = 120.0
"""Until a desktop that does not answer is given up: it starts after its guest is ready, and slowly without KVM."""
_ONE_TRY_SECONDS = 30.0
_PAUSE = 0.5
_HERE = "127.0.0.1"
# MS-RDPBCGR 2.2.1.1: TPKT, X.224 connection request, negotiation request for TLS alone
_ASKS_FOR_TLS = bytes.fromhex("030000130ee000000000000100080001000000")
_ANSWER_BYTES = 19
_TLS_ANSWER = (0x02, 0x01)
"""Type of the negotiation response, and the protocol that was chosen: TLS."""
_CLIENT_WENT_WRONG = 128
"""FreeRDP's exit codes from here on are failures; those below say how a session ended."""


@dataclass(frozen=True)
class _Session:
    """One desktop as a client sees it.

    Args:
        target: whose password and name they are.
        thumbprint: SHA-256 of its certificate, in hex.
        port: of the loopback here, which leads to it.
        owner: its user, as commands take them: the account's name may be another.
    """

    target: Target
    thumbprint: str
    port: int
    owner: str


def show(target: Target, thumbprint: str, owner: str) -> int:
    """Open a desktop in the first client that is there, until it is closed; its exit code.

    Args:
        target: the Cloud PC, as ssh reaches it.
        thumbprint: SHA-256 of the desktop's certificate, in hex.
        owner: its user, as commands take them.

    Raises:
        CommandError: there is no client; the desktop does not answer, or proves itself by another certificate.
        NotIn: ssh did not get in.
    """
    opened_by = _client()
    with ssh.forwarded(target, PORT) as way:
        _wait_until_proven(way, thumbprint, target.name)
        return opened_by(_Session(target, thumbprint, way.port, owner))


def write_rdp_file(path: Path, user: str, port: int) -> None:
    """Write what a remote desktop client opens, without a password.

    Args:
        path: a file that is not there yet.
        user: the account.
        port: of the loopback where it is opened.

    Raises:
        CommandError: it is there already, or can't be written.
    """
    try:
        with path.open("x", encoding="utf-8", newline="\r\n") as file:
            file.write(_rdp_file(user, port))
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}") from None


def _client() -> Callable[[_Session], int]:
    """What opens a desktop here. Raises CommandError: nothing does."""
    for name in ("xfreerdp3", "xfreerdp"):
        if program := shutil.which(name):
            if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                raise CommandError("there is no display here to show a desktop on; run it in a graphical session")
            return partial(_by_freerdp, program)
    if program := shutil.which("remmina"):
        return partial(_by_remmina, program)
    if program := shutil.which("mstsc.exe"):
        return partial(_by_mstsc, program)
    install = command_line("sudo", "apt-get", "install", "freerdp2-x11")
    raise CommandError(
        f"there is no remote desktop client on the PATH; install FreeRDP (`{install}`; freerdp3-x11 from Debian 13 on) "
        f"or Remmina; {_without_client()}"
    )


def _without_client() -> str:
    """What can be done where there is no client."""
    has_page = (packaged.root() / "build/web/@devolutions/iron-remote-desktop").is_dir() and find_spec("starlette")
    page = "`cloudpc serve` shows it in a browser; " if has_page else ""
    return f"{page}`--rdp-file FILE` writes a file for a client elsewhere"


def _wait_until_proven(way: Forwarded, thumbprint: str, name: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    was_told = False
    while (certificate := _certificate(way.port)) is None:
        if way.has_ended:
            raise CommandError(
                f"ssh to {name} has ended before its desktop answered; try again, or `cloudpc list` says more"
            )
        if time.monotonic() > deadline:
            raise CommandError(
                f"the desktop of {name} does not answer within {READY_SECONDS:.0f} s: in the guest, "
                "`systemctl status xrdp` says more"
            )
        if not was_told:
            err.print(f"cloudpc: waiting until {name} serves its desktop")
            was_told = True
        time.sleep(_PAUSE)
    if not thumbprints.is_of(thumbprint, certificate):
        found, recorded = thumbprints.shown(thumbprints.of(certificate)), thumbprints.shown(thumbprint)
        raise CommandError(
            f"the desktop of {name} proves itself by the certificate {found}, and {recorded} is "
            "recorded: no password was sent; if nobody has renewed it there, somebody else may be listening"
        )


def _certificate(port: int) -> bytes | None:
    """What the desktop proves itself by, as DER; None while it does not answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the caller compares it
    with suppress(OSError), socket.create_connection((_HERE, port), _ONE_TRY_SECONDS) as connection:
        connection.sendall(_ASKS_FOR_TLS)
        answer = connection.recv(_ANSWER_BYTES, socket.MSG_WAITALL)
        if len(answer) == _ANSWER_BYTES and (answer[11], answer[15]) == _TLS_ANSWER:
            with context.wrap_socket(connection) as proven:
                return proven.getpeercert(binary_form=True)
    return None


def _by_freerdp(program: str, session: _Session) -> int:
    argv = _freerdp(program, session)
    with tempfile.TemporaryFile() as said:
        ended = subprocess.run(
            argv, input=f"{session.target.password}\n".encode(), stdout=said, stderr=subprocess.STDOUT, check=False
        )
        if ended.returncode < _CLIENT_WENT_WRONG and ended.returncode >= 0:
            return 0
        said.seek(0)
        words = last_lines(said.read().decode("utf-8", "replace"))
    raise CommandError(f"{Path(program).name} ended with {ended.returncode}: {words}")


def _freerdp(program: str, session: _Session) -> list[str]:
    return [
        program, f"/v:{_HERE}:{session.port}", f"/u:{session.target.user}", "/from-stdin:force", "/sec:tls",
        f"/cert:deny,fingerprint:sha256:{thumbprints.shown(session.thumbprint)}", f"/t:{session.target.name}",
        "/size:80%", "+clipboard", "/log-level:ERROR",
    ]  # fmt: skip


def _by_remmina(program: str, session: _Session) -> int:
    """It sends no password, and takes none but by argument or file: xrdp asks for it, after a first try with none.

    The certificate has been compared; Remmina would ask about one that it can't pin.
    """
    lines = [
        "[remmina]", f"name={session.target.name}", "protocol=RDP", f"server={_HERE}:{session.port}",
        f"username={session.target.user}", "security=tls", "cert_ignore=1", "",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        file = Path(folder) / "desktop.remmina"
        file.write_text("\n".join(lines), encoding="utf-8")
        err.print(
            'cloudpc: Remmina sends no password; after "login failed" choose OK and type it there '
            f"(`{command_line('cloudpc', 'credentials', session.owner)}` shows it)"
        )
        subprocess.run([program, "-c", str(file)], check=False)
        return _until_interrupted()  # a client that runs already takes the file over, and this one ends at once


def _by_mstsc(program: str, session: _Session) -> int:
    """Windows' own, from its subsystem for Linux, whose loopback Windows reaches."""
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        file = Path(folder) / "desktop.rdp"
        write_rdp_file(file, session.target.user, session.port)
        err.print(
            "cloudpc: the certificate is the recorded one; Windows asks about it all the same, and may be told yes"
        )
        there = subprocess.run(["wslpath", "-w", str(file)], capture_output=True, text=True, check=False).stdout.strip()
        subprocess.run([program, there or str(file)], check=False)
    return 0


def _until_interrupted() -> int:
    err.print("cloudpc: the way to the desktop stays open until Ctrl-C")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def _rdp_file(user: str, port: int) -> str:
    """Such files can't pin a certificate: clients warn of one they don't know, and show it to be compared.

    So `authentication level` is 2, to warn and ask (Microsoft: supported RDP properties); 0 would connect to anything.
    """
    settings = [
        f"full address:s:{_HERE}:{port}", f"username:s:{user}", "prompt for credentials:i:1", "screen mode id:i:1",
        "enablecredsspsupport:i:0", "authentication level:i:2", "redirectclipboard:i:1", "drivestoredirect:s:",
        "redirectprinters:i:0",
    ]  # fmt: skip
    return "\n".join([*settings, ""])
