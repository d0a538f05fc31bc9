"""A libvirtd of the tests' own, in a mount namespace: a client outside sees none of its files.

Started with the folders libvirt keeps its state in hidden under empty ones, reached by TCP or through its socket.
What it must share with the test (nothing but QEMU's program) is read-only for it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import libvirt

_HIDDEN = ("/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt")

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
printf 'stdio_handler = "file"\\n' > /etc/libvirt/qemu.conf
echo ready
exec sleep infinity
"""

_DIE_WITH_TESTS = ("setpriv", "--pdeathsig", "KILL")


class Daemon:
    """A running libvirtd, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._configuration = folder / "libvirtd.conf"
        self._configuration.write_text(_CONFIGURATION.format(port=self.port))
        self._pid = folder / "libvirtd.pid"
        self._log = (folder / "libvirtd.log").open("wb")
        self._namespace = subprocess.Popen(
            [*_DIE_WITH_TESTS, "unshare", "--mount", "sh", "-c", _NAMESPACE, "namespace", *_HIDDEN],
            stdout=subprocess.PIPE,
        )
        assert self._namespace.stdout is not None
        assert self._namespace.stdout.readline() == b"ready\n"
        self.start()

    @property
    def tcp_uri(self) -> str:
        return f"qemu+tcp://127.0.0.1:{self.port}/system"

    @property
    def socket_uri(self) -> str:
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    @property
    def namespace_pid(self) -> int:
        """A process in its mount namespace."""
        return self._namespace.pid

    @property
    def root(self) -> Path:
        """The daemon's own view of the file system, for tests that look behind the driver's back."""
        return Path(f"/proc/{self.namespace_pid}/root")

    def start(self) -> None:
        """Start it, or start it again after `kill`: it finds its guests."""
        self._process = subprocess.Popen(
            [
                *("nsenter", "--mount", f"--target={self.namespace_pid}", *_DIE_WITH_TESTS),
                *("libvirtd", "--listen", "--config", str(self._configuration), "--pid-file", str(self._pid)),
            ],
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 30
        while not self._listens():
            assert self._process.poll() is None, Path(self._log.name).read_text()
            assert time.monotonic() < deadline, "libvirtd does not listen"
            time.sleep(0.1)

    def kill(self) -> None:
        """As if it crashed: guests go on."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End guests, daemon and namespace."""
        if self._process.poll() is not None:
            self.start()
        connection = libvirt.open(self.tcp_uri)
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            domain.destroy()
        connection.close()
        for process in (self._process, self._namespace):
            process.terminate()
            process.wait(20)
        self._log.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> str:
    """Why none can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root: mount namespaces"
    tools = [
        tool for tool in ("libvirtd", "unshare", "nsenter", "setpriv", "qemu-system-x86_64") if not shutil.which(tool)
    ]
    return f"needs {', '.join(tools)}" if tools else ""
