"""A libvirt connection URI taken apart as libvirt does it: the one place that knows how a host is reached."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import unquote

from cloudpc.files import folders
from cloudpc.model.problems import closest
from cloudpc.model.ssh_hop import SshHop, check_names

_URI = re.compile(
    r"(?P<driver>[a-z0-9]+)(?:\+(?P<transport>[a-z0-9]+))?://(?:(?P<user>[^/@?#\[\]]*)@)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[^\]/?#@]+)?)\]|(?P<host>[^/:@?#\[\]]*))(?::(?P<port>[0-9]+))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?"
)
_TRANSPORTS = ("unix", "ssh", "ext", "tls", "tcp", "libssh2", "libssh")
_SSH = ("ssh", "libssh", "libssh2")
_PORTS = {"tls": 16514, "tcp": 16509, **dict.fromkeys(_SSH, 22)}
_METHODS = {
    "agent": "publickey",
    "privkey": "publickey",
    "password": "password",
    "keyboard-interactive": "keyboard-interactive",
}
"""What libvirt's `sshauth` names, as ssh calls it."""
_PARAMETERS = frozenset(
    "auth command keyfile known_hosts known_hosts_verify mode name netcat no_sanity no_tty no_verify pkipath proxy "
    "socket sshauth tls_priority".split()
)
"""What libvirt reads after the `?` (https://libvirt.org/uri.html). It passes over all others without a word."""


class Address:
    """Which transport, whose libvirt, whether that is this machine's, and how ssh reaches the same host.

    Raises:
        ValueError: libvirt can't use it; in words.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        parts = _URI.fullmatch(uri)
        if parts is None or not uri.isprintable() or " " in uri:
            raise ValueError("is not a URI that libvirt reads, such as qemu+ssh://admin@kvm1:2222/system")
        # a server without a transport means TLS to it
        named = unquote(parts["six"] or parts["host"] or "")
        self.transport = parts["transport"] or ("tls" if named else "unix")
        self.host = named or ("" if self.transport in ("unix", "ext") else "localhost")
        self.port = int(parts["port"] or 0) or None
        self.user = unquote(parts["user"] or "")
        self.path = (parts["path"] or "").rstrip("/")
        self.is_session = self.path.endswith("/session")
        self._parameters = dict(_parameters(parts["query"] or ""))
        self._fragment = parts["fragment"] or ""
        self._check()

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's: a transport to `localhost` may lead into a container, or through a tunnel."""
        return self.transport == "unix"

    @property
    def place(self) -> tuple[object, ...]:
        """Whose libvirt it leads to, as far as its spelling says: the same for two spellings of one."""
        if self.transport == "ext":
            return (self.uri,)
        socket = self._parameters.get("socket", "")
        if self.is_local:
            # there is no session of root's: it is served by the system's daemon
            path = "/system" if self.is_session and os.geteuid() == 0 else self.path
            return ("", None, path, "", socket)
        port = None if self.port == _PORTS[self.transport] else self.port
        user = self.user if self.is_session else ""  # of the system there is one, whoever asks
        return (self.host.lower().rstrip("."), port, self.path, user, socket)

    @property
    def for_opening(self) -> str:
        """The URI to open: ssh must fail rather than ask for a password nobody can type."""
        if self.transport != "ssh" or "no_tty" in self._parameters:
            return self.uri
        # added to what was written, which libvirt decodes in its own way
        before = self.uri.removesuffix(self._fragment)
        return f"{before}{'&' if '?' in before else '?'}no_tty=1{self._fragment}"

    @property
    def unprotected(self) -> str:
        """What a connection to another machine lacks, in words: proof of the host, or encryption; empty: nothing."""
        given = self._parameters
        if self.is_local or self.transport == "ext":
            return ""
        if self.transport == "tcp":
            return (
                "" if _is_loopback(self.host) else "qemu+tcp by itself neither encrypts nor proves which host answers"
            )
        if given.get("no_verify", "0") != "0":
            return "no_verify: nothing proves which host answers"
        verify = given.get("known_hosts_verify", "").lower()
        if self.transport != "ssh" and verify in ("ignore", "auto"):
            return f"known_hosts_verify={verify}: " + (
                "nothing proves which host answers" if verify == "ignore" else "a host's first key is believed"
            )
        return ""

    @property
    def hop(self) -> SshHop | None:
        """How ssh reaches the host, by what the URI says; None where it is this machine's, or says nothing of that."""
        if self.is_local or not self.host:
            return None
        if self.transport not in _SSH:
            return SshHop(self.host)  # the port and the user are libvirt's own
        program = self._parameters.get("command", "ssh") if self.transport == "ssh" else "ssh"
        return SshHop(self.host, self.user, self.port, tuple(self._ssh_options()), program=program)

    def _check(self) -> None:
        if self.transport not in _TRANSPORTS:
            raise ValueError(f"has a transport that libvirt does not know; known are: {', '.join(_TRANSPORTS)}")
        if self.transport == "unix" and self.host:
            raise ValueError(f"names the host {self.host}, which a unix socket does not reach; use qemu+ssh")
        if self.transport == "ext" and not self._parameters.get("command"):
            raise ValueError("needs ?command=… to say which program makes the connection")
        check_names(self.user, self.host)
        if self.port is not None and self.port > 65535:
            raise ValueError("has a port above 65535")

        for name, value in self._parameters.items():
            if set(value) & set("\0\n\r"):
                raise ValueError(f"has a NUL or a line end in the parameter {name!r}, which ends a value; leave it out")
            if name and name not in _PARAMETERS:
                raise ValueError(
                    f"has a parameter that libvirt does not know, {name!r}{closest(name, _PARAMETERS)}; leave it out"
                )

    def _ssh_options(self) -> Iterator[tuple[str, str]]:
        given = self._parameters
        if file := given.get("keyfile"):
            # ssh itself reads what it is given with -i for tokens such as %d, libssh does not
            yield "IdentityFile", _quoted(file if self.transport == "ssh" else _without_tokens(file))
        if given.get("no_verify") == "1":
            yield "StrictHostKeyChecking", "no"
        if self.transport != "ssh":
            yield from self._options_of_the_library()

    def _options_of_the_library(self) -> Iterator[tuple[str, str]]:
        """Libssh knows hosts from another file than ssh does, and takes parameters that libvirt gives no ssh."""
        given = self._parameters
        libvirts = str(folders.config("libvirt") / "known_hosts")
        known = [_without_tokens(given.get("known_hosts") or libvirts)]
        known += [] if given.get("known_hosts") else ["~/.ssh/known_hosts"]
        match given.get("known_hosts_verify", "").lower():
            case "ignore":
                yield "StrictHostKeyChecking", "no"
                known = [os.devnull]
            case "auto":
                yield "StrictHostKeyChecking", "accept-new"
        yield "UserKnownHostsFile", " ".join(map(_quoted, known))
        methods = [_METHODS.get(name.strip(), "") for name in given.get("sshauth", "").split(",")]
        if any(methods):
            yield "PreferredAuthentications", ",".join(dict.fromkeys(filter(None, methods)))


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """Names in any case, the last of a name counts, and a plus is a plus."""
    for part in re.split("[&;]", query):
        name, _, value = part.partition("=")
        yield unquote(name).lower(), unquote(value)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(host.partition("%")[0]).is_loopback
    return host.lower().rstrip(".") == "localhost"


def _quoted(path: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", path) + '"'


def _without_tokens(path: str) -> str:
    return path.replace("%", "%%")
