"""A guest and a host as ssh sees them: two real sshd on loopback ports, and a user with a home of her own.

In a mount namespace, where /etc/passwd and /etc/shadow are the tests' own: ssh looks there for the home it reads its
configuration from, and sshd for passwords. The kernel ends it all when the tests end.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import wait_until

PASSWORD = "of alice, 1%s"
_DIE_WITH_TESTS = ("setpriv", "--pdeathsig", "KILL")
# What varies is passed as arguments: nothing of it becomes part of the script.
_NAMESPACE = """
set -eu
mkdir -p /run/sshd
mount -t tmpfs -o mode=0755 tmpfs /run/sshd
for file in passwd shadow group; do mount --bind "$1/$file" "/etc/$file"; done
"$2" -D -E "$1/guest.log" -f "$1/guest" &
"$2" -D -E "$1/host.log" -f "$1/host" &
echo ready
wait
"""
_SERVER = """
ListenAddress 127.0.0.1
ListenAddress ::1
Port {port}
HostKey {folder}/{name}.key
AuthorizedKeysFile {folder}/authorized.%u
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
MaxAuthTries 6
MaxStartups 100
AllowAgentForwarding yes
X11Forwarding yes
AcceptEnv *
"""
# The program that the tests find as `ssh`: the real one, with the tests' own users and homes, and an end.
_SSH = """#!/bin/sh
exec timeout 30 nsenter --mount=/proc/{pid}/ns/mnt --wd="$PWD" -- {ssh} "$@"
"""


@dataclass
class Station:
    """Where everything is."""

    folder: Path
    guest_port: int
    host_port: int
    process: subprocess.Popen[str]
    inside: str
    """The process that has the namespace."""

    @property
    def bin(self) -> Path:
        """To be first on PATH."""
        return self.folder / "bin"

    @property
    def home(self) -> Path:
        """Of whoever runs ssh."""
        return self.folder / "home"

    @property
    def user_key(self) -> Path:
        return self.folder / "user.key"

    def host_key(self, name: str) -> str:
        return " ".join((self.folder / f"{name}.key.pub").read_text().split()[:2])

    def configure(self, text: str) -> None:
        (self.home / ".ssh" / "config").write_text(text)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def forbid_programs(self, folder: Path) -> None:
        """Make this folder noexec where ssh runs."""
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,noexec "$1"'
        enter = ["nsenter", f"--mount=/proc/{self.inside}/ns/mnt"]
        subprocess.run([*enter, "sh", "-c", script, "sh", str(folder)], check=True)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def start(folder: Path, user: str = "alice") -> Station:
    """Start both."""
    ports = _ports(2)
    for name, port in zip(("guest", "host"), ports, strict=True):
        key(folder / f"{name}.key")
        (folder / name).write_text(_SERVER.format(port=port, folder=folder, name=name))
    key(folder / "user.key")
    for account in ("root", "admin"):
        shutil.copy(folder / "user.key.pub", folder / f"authorized.{account}")
    (folder / "home" / ".ssh").mkdir(parents=True)
    _accounts(folder, user)
    unshare = [*_DIE_WITH_TESTS, "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    sshd = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin") or "sshd"
    process = subprocess.Popen(
        [*unshare, "sh", "-c", _NAMESPACE, "namespace", str(folder), sshd], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    [inside] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (folder / "bin").mkdir()
    ssh = folder / "bin" / "ssh"
    ssh.write_text(_SSH.format(pid=inside, ssh=shutil.which("ssh")))
    ssh.chmod(0o755)
    station = Station(folder, *ports, process, inside)
    for port in ports:
        wait_until(lambda port=port: _listens(port), 20, "sshd does not listen")
    return station


def _accounts(folder: Path, user: str) -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    passwd = [
        f"root:x:0:0::{folder}/home:/bin/sh", "sshd:x:991:991::/run/sshd:/usr/sbin/nologin",
        f"{user}:x:65534:65534::/:/bin/sh", "admin:x:65533:65534::/:/bin/sh",
    ]  # fmt: skip
    shadow = ["root:*:19000::::::", "sshd:*:19000::::::", f"{user}:{hashed}:19000::::::", "admin:*:19000::::::"]
    (folder / "passwd").write_text("\n".join([*passwd, ""]))
    (folder / "shadow").write_text("\n".join([*shadow, ""]))
    (folder / "group").write_text("root:x:0:\nsshd:x:991:\nnogroup:x:65534:\n")


def key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_name(f"{path.name}.pub").read_text()


def _ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
