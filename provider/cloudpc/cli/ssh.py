"""ssh to a Cloud PC: with a configuration of its own, so that nobody's `Host *` changes how it is reached.

What the user's own configuration says counts on the way to the *host*, which is a connection of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudpc.cli.loopback import free_port
from cloudpc.cli.output import CommandError
from cloudpc.model import ssh_keys
from cloudpc.model.ssh_hop import SshHop

CONNECT_SECONDS = 60
"""Until a Cloud PC that does not answer is given up; one that boots under emulation may take its time."""
FAILED = 255
"""ssh's own exit code, where it is not the command's."""

_ASKPASS = Path(__file__).with_name("askpass")
_OWN_WAY_SECONDS = 10
_OPEN = "cloudpc-is-open"
"""Said there once ssh is in; a user's own start files may say something before."""
_WAITS_THERE = f"echo {_OPEN}; exec cat >/dev/null"
_ENDING_SECONDS = 5
# Nothing is forwarded into a guest, and nothing is run here because of it. The password comes first: a server counts
# each key that it is offered as an attempt. Keys come last, for users who have changed their password.
_SETTINGS = {
    "PreferredAuthentications": "password,keyboard-interactive,publickey",
    "NumberOfPasswordPrompts": "1",
    "HostKeyAlgorithms": "ssh-ed25519",
    "StrictHostKeyChecking": "yes",
    "UserKnownHostsFile": "known_hosts",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ForwardX11Trusted": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "Tunnel": "no",
    "ControlPath": "none",
    "ConnectTimeout": str(CONNECT_SECONDS),
    "LogLevel": "ERROR",
}


_BY_THE_USERS_SHELL = 'exec "${SHELL:-/bin/sh}" -c "exec $0"'
"""As ssh itself starts a ProxyCommand."""


@dataclass(frozen=True)
class Target:
    """A Cloud PC as ssh sees it.

    Args:
        name: the device's; the host key is pinned to it, since ports of a loopback address are given again.
        host: its address, as seen from the last of the way.
        port: of its ssh.
        user: the account.
        password: the account's.
        host_key: read through the hypervisor.
        way: the host through which it is reached; None: from here.
    """

    name: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    host_key: str
    way: SshHop | None = None

    @property
    def alias(self) -> str:
        """How ssh calls it."""
        return self.name.lower()


@dataclass(frozen=True)
class Ended:
    """How ssh ended, and whether it came as far as being asked for the password."""

    code: int
    was_asked: bool


def run(target: Target, command: Sequence[str]) -> Ended:
    """Open ssh on this terminal.

    Args:
        target: to what.
        command: several words are words there, too; a single one may be a line of shell; none is a session.

    Raises:
        CommandError: there is no ssh, or no place for its files.
    """
    with _prepared(target) as (ssh, folder, asked):
        argv = [*ssh, "--", target.alias]
        argv += [shlex.join(command) if len(command) > 1 else command[0]] if command else []
        code = subprocess.call(argv, env=_environment(target, folder), cwd=folder)
        return Ended(code, asked.is_set())


class NotIn(Exception):  # noqa: N818 - its caller asks why
    """ssh ended before anything was open."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(f"ssh ended with {ended.code}")
        self.ended = ended


@dataclass(frozen=True)
class Forwarded:
    """A port of the loopback here, and the ssh that has it."""

    port: int
    ssh: subprocess.Popen[bytes]

    @property
    def has_ended(self) -> bool:
        """Whether it no longer leads anywhere, since the connection is gone."""
        return self.ssh.poll() is not None


@contextlib.contextmanager
def forwarded(target: Target, port: int) -> Iterator[Forwarded]:
    """A port of the loopback here that leads to one of the Cloud PC's own loopback, until the block ends.

    What runs there meanwhile waits for the end of its input, so that nothing stays even if this process is killed.

    Raises:
        CommandError: there is no ssh, or no place for its files.
        NotIn: ssh did not get in; it has said why.
    """
    here = free_port()
    forward = ("-oClearAllForwardings=no", "-oExitOnForwardFailure=yes", "-T")
    with _prepared(target) as (ssh, folder, asked):
        argv = [*ssh, *forward, "-L", f"127.0.0.1:{here}:127.0.0.1:{port}", "--", target.alias, _WAITS_THERE]
        env = _environment(target, folder)
        with subprocess.Popen(argv, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None  # noqa: S101 - asked for above
                if not any(line.strip() == _OPEN.encode() for line in iter(process.stdout.readline, b"")):
                    raise NotIn(Ended(process.wait(), asked.is_set()))
                yield Forwarded(here, process)
            finally:
                process.terminate()


@contextlib.contextmanager
def opened(target: Target, port: int) -> Iterator[socket.socket]:
    """A connection to a port of the Cloud PC's own loopback, until the block ends, however it ends.

    Whether it came to one shows when it is used: it ends at once where ssh did not get in, or nothing listens there.

    Raises:
        CommandError: there is no ssh, or no place for its files.
    """
    ours, theirs = socket.socketpair()
    with ours, _prepared(target) as (ssh, folder, _):
        argv = [*ssh, "-W", f"127.0.0.1:{port}", "--", target.alias]
        # in a session of its own: we answer Ctrl-C, and end it properly
        process = subprocess.Popen(
            argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL,
            env=_environment(target, folder), cwd=folder, start_new_session=True,
        )  # fmt: skip
        theirs.close()  # only ssh keeps it open, so each side sees when the other ends
        try:
            yield ours
        finally:
            process.terminate()
            try:
                process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _prepared(target: Target) -> Iterator[tuple[list[str], Path, threading.Event]]:
    """The beginning of ssh's command line, the folder it is to be started in, and whether it has asked by now."""
    ssh = _program()
    with _folder() as folder, _handed_over(folder / "password", target.password) as asked:
        (folder / "known_hosts").write_text(f"{target.alias} {_checked(target.host_key)}\n", encoding="ascii")
        for name, text in (("config", configuration(target, _way(target))), ("way", _way_script())):
            # names of folders and of a user's own ways need not be UTF-8
            (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        # names in its configuration are relative, since no folder's name can then be taken for syntax
        yield [ssh, "-F", "config", "-l", target.user], folder, asked


def configuration(target: Target, way: Mapping[str, str]) -> str:
    """The whole of ssh's configuration for this connection.

    Args:
        target: to what.
        way: settings that say how its address is reached.
    """
    settings = {
        "HostName": target.host.replace("%", "%%"),
        "Port": str(target.port),
        "HostKeyAlias": target.alias,
        **_SETTINGS,
        **way,
    }
    return "Host *\n" + "".join(f"  {name} {value}\n" for name, value in settings.items())


def _way(target: Target) -> dict[str, str]:
    if target.way:
        return {"ProxyCommand": _jump(target.way, target.host, target.port)}
    # a loopback address is never the business of somebody's gateway; one of a network may be
    return {} if is_loopback(target.host) else _own_way(target.host, target.port)


def is_loopback(address: str) -> bool:
    """Whether only the machine that has this address reaches it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _own_way(host: str, port: int) -> dict[str, str]:
    """How the user's own ssh configuration reaches an address: its gateway, its interface."""
    try:
        argv = [_program(), "-G", "-p", str(port), "--", host]
        said = subprocess.run(argv, capture_output=True, timeout=_OWN_WAY_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    found = dict(line.partition(" ")[::2] for line in said.decode("utf-8", "surrogateescape").split("\n"))
    names = ("proxyusefdpass", "bindaddress", "bindinterface", "addressfamily")
    way = {name: found[name] for name in names if name in found}
    with contextlib.suppress(ValueError):
        if hop := SshHop.parse(found.get("proxyjump", "")):
            return {**way, "ProxyCommand": _jump(hop, host, port)}
    command = found.get("proxycommand", "none")
    if command == "none":
        return way
    # the name that was asked for is the address: the user's own configuration knows no other
    command = re.sub("%(.)", lambda token: "%h" if token[1] == "n" else token[0], command)
    return {**way, "ProxyCommand": _as_the_user("/bin/sh", "-c", _BY_THE_USERS_SHELL, command)}


def _jump(hop: SshHop, host: str, port: int) -> str:
    return _as_the_user(*hop.forwarding(host, port)).replace("%", "%%")


def _as_the_user(*argv: str) -> str:
    return shlex.join(["/bin/sh", "way", *argv])


def _way_script() -> str:
    """Runs a way there as the user would: from here, with the shell and the questions of the user's own."""
    lines = []
    with contextlib.suppress(OSError):  # somebody has removed the folder this was started in
        lines.append(f"cd -- {shlex.quote(str(Path.cwd()))}")
    for name in ("SHELL", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"):
        value = os.environ.get(name)
        lines.append(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
    return "\n".join([*lines, 'exec "$@"', ""])


def _environment(target: Target, folder: Path) -> dict[str, str]:
    return os.environ | {
        "SHELL": "/bin/sh",  # runs the ProxyCommand
        "SSH_ASKPASS": str(_ASKPASS),
        "SSH_ASKPASS_REQUIRE": "force",
        "CLOUDPC_ASKED_AS": f"{target.user}@{target.alias}",
        "CLOUDPC_PASSWORD_PIPE": str(folder / "password"),
    }


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for nobody else, with a pipe in it: the password itself is never on a disk, whatever ends us."""
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), None):
        if base is not None and not Path(base).is_absolute():
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudpc-", dir=base)))
            os.mkfifo(folder / "password", 0o600)
            later = stack.pop_all()
            break
    else:
        raise CommandError("there is no folder for temporary files; make /tmp writable, or name one in TMPDIR")
    with later:
        yield folder


@contextlib.contextmanager
def _handed_over(pipe: Path, password: str) -> Iterator[threading.Event]:
    """Give the password to whoever reads the pipe, until the block ends; only ssh's question does.

    Tells whether it was asked. The pipe has to be there still at the block's end: nothing but a reader wakes a thread
    that waits for one, and in a server it would stay, with the password.
    """
    asked, done = threading.Event(), threading.Event()

    def serve() -> None:
        with contextlib.suppress(FileNotFoundError):  # somebody has removed it
            while True:
                with pipe.open("wb", buffering=0) as reader:
                    if done.is_set():
                        return
                    asked.set()
                    with contextlib.suppress(BrokenPipeError):
                        reader.write(f"{password}\n".encode())

    thread = threading.Thread(target=serve, name="password", daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        done.set()
        with contextlib.suppress(FileNotFoundError):  # it has gone, so that nothing can wake the thread
            wakes = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            try:
                thread.join()
            finally:
                os.close(wakes)


def _checked(key: str) -> str:
    if not ssh_keys.is_ed25519(key) or key.count(" ") != 1 or not key.isprintable():
        raise CommandError(
            "state holds no ssh host key of this Cloud PC, so that it can't be told from another machine"
        )
    return key


def _program() -> str:
    found = shutil.which("ssh")
    if found is None:
        raise CommandError("there is no `ssh` on the PATH; install openssh-client")
    return str(Path(found).absolute())
