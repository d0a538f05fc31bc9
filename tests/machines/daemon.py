"""A libvirtd of the tests' own, in namespaces: a client outside sees none of its files.

Started with the folders libvirt keeps its state in hidden under empty ones, reached by TCP or through its socket.
What it must share with the test (nothing but QEMU's program) is read-only for it. Its processes are in a namespace,
too: when the tests end, however they end, the kernel ends them all, QEMUs that left the daemon's session included.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import libvirt

from cloudpc.machines.libvirt.networks import PORTS

_HIDDEN = ("/run/libvirt", "/run/lock", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt")
"""The second one because libvirt locks consoles there by process number, which means another process outside."""

_CONFIGURATION = """
listen_tls = 0
listen_tcp = 1
listen_addr = "127.0.0.1"
tcp_port = "{port}"
auth_tcp = "none"
"""

# What varies is passed as arguments: nothing of it becomes part of the script.
_NAMESPACE = """
set -eu
for folder in "$@"; do mkdir -p "$folder"; mount -t tmpfs -o mode=0755 tmpfs "$folder"; done
mkdir -p /etc/libvirt/qemu /var/lib/libvirt/images /var/lib/libvirt/qemu /var/lib/libvirt/boot /var/lib/libvirt/dnsmasq
# in libvirt's cgroup all guests together would get one process's share of a busy machine, and time out
printf 'stdio_handler = "file"\\ncgroup_controllers = []\\n' > /etc/libvirt/qemu.conf
sleep infinity &
echo ready
wait  # and so collect the guests that have ended, as process 1 must: libvirt waits until they are gone
"""

_DIE_WITH_TESTS = ("setpriv", "--pdeathsig", "KILL")


class Daemon:
    """A running libvirtd, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self._reserved = _reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self._configuration = folder / "libvirtd.conf"
        self._configuration.write_text(_CONFIGURATION.format(port=self.port))
        self._pid = folder / "libvirtd.pid"
        self._log = (folder / "libvirtd.log").open("wb")
        unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._namespace = subprocess.Popen(
            [*_DIE_WITH_TESTS, *unshare, "sh", "-c", _NAMESPACE, "namespace", *_HIDDEN], stdout=subprocess.PIPE
        )
        try:
            assert self._namespace.stdout is not None
            assert self._namespace.stdout.readline() == b"ready\n"
            self.namespace_pid = _child(self._namespace.pid)
            self.start()
        except BaseException:
            self._end(self._namespace)
            self._reserved.close()
            raise

    @property
    def tcp_uri(self) -> str:
        return f"qemu+tcp://127.0.0.1:{self.port}/system"

    @property
    def socket_uri(self) -> str:
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    @property
    def root(self) -> Path:
        """The daemon's own view of the file system, for tests that look behind the driver's back."""
        return Path(f"/proc/{self.namespace_pid}/root")

    def start(self, within: float = 60) -> None:
        """Start it, or start it again after `kill`: it finds its guests. It answers then, which is more than to listen.

        libvirtd listens before its drivers are there, and ends if one of them fails; and another program may listen.
        """
        self._killed = False
        self._process = self._run()
        deadline = time.monotonic() + within
        while not self._answers():
            assert time.monotonic() < deadline, f"libvirtd does not answer: {self._said()}"
            time.sleep(0.1)
            if self._process.poll() is not None:  # for example because its port is not free yet
                self._process = self._run()

    def _run(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(*_DIE_WITH_TESTS, "nsenter", "--mount", "--pid", f"--target={self.namespace_pid}"),
                *("libvirtd", "--listen", "--config", str(self._configuration), "--pid-file", str(self._pid)),
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def kill(self) -> None:
        """As if it crashed: guests go on."""
        self._killed = True
        os.kill(_child(self._process.pid), signal.SIGKILL)
        self._process.wait(20)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """For what kills it: after that it runs again, for the next test."""
        try:
            yield
        finally:
            if self._killed:  # by another thread, perhaps, to which its end is not known yet
                self._process.wait(20)
                self._let_go()
                self.start()

    def _let_go(self) -> None:
        """As an admin does: killed before a domain's QEMU was there, libvirtd (9.0) would keep it locked for ever."""
        for status in (self.root / "run/libvirt/qemu").glob("*.xml"):
            if "pid='0'" in status.read_text():
                status.unlink()

    def stop(self) -> None:
        """End guests, daemon and namespace. If the daemon ended by itself before, that is the news."""
        ended = None if self._killed else self._process.poll()
        self._end(self._namespace)
        self._end(self._process)
        self._log.close()
        self._reserved.close()
        assert ended is None, f"libvirtd ended by itself ({ended}): {self._said()}"

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        """By the signal that nothing can put off: the namespace's first process goes with `unshare`, all with it."""
        process.kill()
        process.wait(20)

    def _answers(self) -> bool:
        """Whether this very daemon does what it is there for."""
        if self._process.poll() is not None:
            return False
        try:
            for uri in (self.socket_uri, self.tcp_uri):  # first the one where nobody else can be
                libvirt.open(uri).close()
        except libvirt.libvirtError:
            return False
        return self._process.poll() is None

    def _said(self) -> str:
        return Path(self._log.name).read_text(errors="replace")[-4000:]


def _child(parent: int) -> int:
    """The process that `unshare` or `nsenter` runs."""
    deadline = time.monotonic() + 10
    while True:
        found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False).stdout.split()
        if found:
            return int(found[0])
        assert time.monotonic() < deadline, f"process {parent} has started nothing"
        time.sleep(0.02)


def _reserved_port() -> socket.socket:
    """A socket bound to a port that is the daemon's alone, also between `kill` and `start`, while it is open.

    Below those that clients are given, and those that guests' ssh is forwarded from: a guest would take it meanwhile.
    """
    clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    below = min(clients, PORTS[0])
    while True:
        reserved = socket.socket()
        with suppress(OSError):
            reserved.bind(("127.0.0.1", random.randrange(below - 8000, below)))
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # libvirtd, which asks for it, shares it now
            return reserved
        reserved.close()


def missing() -> str:
    """Why none can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root: mount namespaces"
    needed = ("libvirtd", "unshare", "nsenter", "setpriv", "pgrep", "qemu-system-x86_64")
    tools = [tool for tool in needed if not shutil.which(tool)]
    return f"needs {', '.join(tools)}" if tools else ""
