"""An ssh destination on the way to a machine: the host of a hypervisor, or what stands before it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from urllib.parse import unquote

_DESTINATION = re.compile(
    r"(?:(?P<user>[^\s,]+)@)?(?:\[(?P<six>[^\]\s@,]+)\]|(?P<host>[^\s\[\]:@/,]+))(?::(?P<port>[0-9]{1,5}))?"
)
# what only matters to a session of one's own there, and would break, widen or outlive a mere way through
_WAY_ONLY = (
    "ForwardAgent=no", "ForwardX11=no", "ForwardX11Trusted=no", "PermitLocalCommand=no", "ClearAllForwardings=yes",
    "Tunnel=no", "RemoteCommand=none", "RequestTTY=no", "StdinNull=no", "ForkAfterAuthentication=no",
    "ControlMaster=no",
)  # fmt: skip


@dataclass(frozen=True)
class SshHop:
    """Where ssh signs in on its way, with what the user's own ssh configuration says of it.

    Args:
        host: name, alias of the ssh configuration, or address, an IPv6 one without brackets.
        user: empty: as ssh is configured.
        port: None: as ssh is configured.
        options: of ssh, by name.
        through: destinations before this one, as ssh's -J takes them.
        program: the ssh to run.
    """

    host: str
    user: str = ""
    port: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    through: str = ""
    program: str = "ssh"

    @classmethod
    def parse(cls, destinations: str) -> SshHop | None:
        """What ssh's -J takes: `[user@]host[:port]` or `ssh://…`, several with commas; None for `none` or nothing.

        Raises:
            ValueError: it is none of these.
        """
        if destinations in ("", "none"):
            return None
        *_, (user, host, port) = [_taken_apart(each) for each in destinations.split(",")]
        return cls(host, user, port, through=destinations.rpartition(",")[0])

    @property
    def destination(self) -> str:
        """The same as ssh's -J takes it, without options."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        at = f"{self.user}@{host}" if self.user else host
        here = f"{at}:{self.port}" if self.port else at
        return f"{self.through},{here}" if self.through else here

    @property
    def shown(self) -> str:
        """The command that signs in there, for people to try."""
        return shlex.join([self.program, *self._arguments(), self.host])

    def forwarding(self, host: str, port: int) -> list[str]:
        """The command that connects its standard input and output with a port that the last destination reaches."""
        settings = [f"-o{setting}" for setting in _WAY_ONLY]
        return [self.program, *settings, *self._arguments(), "-W", f"[{host}]:{port}", "--", self.host]

    def _arguments(self) -> list[str]:
        argv = [f"-o{name}={value}" for name, value in self.options]
        argv += ["-J", self.through] if self.through else []
        argv += ["-l", self.user] if self.user else []
        return [*argv, "-p", str(self.port)] if self.port else argv


def check_names(user: str, host: str) -> None:
    """Both as programs are given them: decoded, for a percent sign can hide what is refused where it is written.

    Raises:
        ValueError: a program would take one for something else; in words.
    """
    for what, name, marks in (("user", user, ","), ("host", host, ",/@[]")):
        if name.startswith("-"):
            raise ValueError(
                f"has a {what} whose name begins with a hyphen, which programs take for an option; leave it out"
            )
        if " " in name or not name.isprintable() or set(name) & set(marks):
            raise ValueError(
                f"has a {what} whose name contains a blank, a control character or any of `{marks}`; leave it out"
            )


def _taken_apart(destination: str) -> tuple[str, str, int | None]:
    is_url = destination.startswith("ssh://")
    found = _DESTINATION.fullmatch(destination.removeprefix("ssh://").removesuffix("/"))
    port = int(found["port"]) if found and found["port"] else None
    if not found or port == 0 or (port or 0) > 65535:
        raise ValueError("must be what ssh's -J takes, [user@]host[:port], an IPv6 address in brackets")
    user, host = found["user"] or "", found["six"] or found["host"]
    if is_url:
        user, host = unquote(user), unquote(host)
    check_names(user, host)
    return user, host, port
