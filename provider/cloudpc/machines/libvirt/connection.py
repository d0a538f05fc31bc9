"""One connection to a host's libvirt, shared by all threads, opened when needed and again after it broke."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import libvirt

from cloudpc.machines.libvirt import events
from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.errors import classified, unreachable
from cloudpc.model import patience
from cloudpc.model.errors import ErrorCode, ProvisioningError

OPEN_TIMEOUT = 20.0
"""Seconds until a host that does not answer counts as unreachable; ssh may need several."""

_KEEPALIVE_INTERVAL = 5
_KEEPALIVE_COUNT = 3
REMEMBER_FAILURE = 1.0
"""Seconds for which a host that could not be reached is not tried again."""
REMEMBER_SILENCE = 60.0
"""The same of one that let us wait until `OPEN_TIMEOUT`: each who tries it loses as much."""


class Connection:
    """The way to one host's libvirt. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.watchers = events.Watchers()
        self._lock = threading.Lock()
        self._open: Any = None
        self._failure: tuple[float, ProvisioningError] | None = None
        """Until when the last one is remembered, and what it was."""

    def get(self) -> Any:
        """The live `virConnect`; opens it if there is none, or the last one broke.

        Raises:
            ProvisioningError: HOST_UNREACHABLE.
        """
        with patience.calling("connect"), self._lock:  # whoever waits for another's attempt is watched as well
            if self._open is not None:
                if self._is_alive():
                    return self._open
                self._discard()
            # Thirty threads must not each wait for the same dead host, one after the other.
            if self._failure is not None and time.monotonic() < self._failure[0]:
                raise self._failure[1]
            began = time.monotonic()
            try:
                self._open = self._connect()
            except ProvisioningError as error:
                now = time.monotonic()
                has_cost = now - began > OPEN_TIMEOUT / 2
                self._failure = (now + (REMEMBER_SILENCE if has_cost else REMEMBER_FAILURE), error)
                raise
            self._failure = None
            return self._open

    def close(self) -> None:
        """Let go of the connection; a later `get` opens it again."""
        with self._lock:
            self._discard()

    def _is_alive(self) -> bool:
        try:
            return bool(self._open.isAlive())
        except libvirt.libvirtError:
            return False

    def _discard(self) -> None:
        connection, self._open = self._open, None
        if connection is not None:
            self.watchers.detach(connection)
            with suppress(libvirt.libvirtError):  # it was broken already
                connection.close()

    def _connect(self) -> Any:
        events.ensure_loop()
        connection = _open_within(self.address, OPEN_TIMEOUT)
        with classified(f"connect to {self.address.uri}", ErrorCode.HOST_UNREACHABLE):
            try:
                connection.setKeepAlive(_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT)
                self.watchers.attach(connection)
            except libvirt.libvirtError:
                self.watchers.detach(connection)
                connection.close()
                raise
        return connection


_OPEN = "import sys, libvirt; libvirt.open(sys.argv[1])"


def _start_daemon(uri: str, timeout: float) -> None:
    """Have a process of its own start a session's daemon, where none is running.

    libvirt forks twice for that, and closes all files in between. In a process with gRPC, as the engine's are, gRPC's
    fork handlers then meet their closed files at the second fork, and abort it. Whatever goes wrong here, our own
    opening reports.
    """
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-c", _OPEN, uri], timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _open_within(address: Address, timeout: float) -> Any:
    """Open the connection, or give up after `timeout` seconds: libvirt's own open may wait for ever."""
    lock = threading.Lock()
    done = threading.Event()
    opened: list[Any] = []
    failed: list[libvirt.libvirtError] = []
    given_up = False

    def connect() -> None:
        if address.is_session and address.is_local:
            _start_daemon(address.for_opening, timeout)
        try:
            connection = libvirt.open(address.for_opening)
        except libvirt.libvirtError as error:
            failed.append(error)
        else:
            with lock:
                if given_up:
                    connection.close()
                else:
                    opened.append(connection)
        done.set()

    threading.Thread(target=connect, name="libvirt-open", daemon=True).start()
    done.wait(timeout)
    with lock:
        given_up = not done.is_set()
    if opened:
        return opened[0]
    if failed:
        raise unreachable(failed[0], f"connect to {address.uri}") from failed[0]
    raise ProvisioningError(
        ErrorCode.HOST_UNREACHABLE,
        f"Could not connect to {address.uri}: no answer within {timeout:.0f} s.",
        hint="Check that the host is up, and that a firewall lets this connection through.",
    )
