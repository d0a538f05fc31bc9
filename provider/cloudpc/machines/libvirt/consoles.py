"""The consoles that this process reads: until a machine is finished or deleted, later errors show its tail, too."""

from __future__ import annotations

import threading
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.console import Console
from cloudpc.machines.libvirt.domains import Domains


class Consoles:
    """Those of one host, by their machines' identity."""

    def __init__(self, connection: Connection, domains: Domains) -> None:
        self._connection = connection
        self._domains = domains
        self._open: dict[UUID, Console] = {}
        self._lock = threading.Lock()

    def keep(self, machine_id: UUID, console: Console | None) -> None:
        """Keep this one instead of the previous one; None: keep none."""
        with self._lock:
            previous = self._open.pop(machine_id, None)
            if console is not None:
                self._open[machine_id] = console
        if previous is not None and previous is not console:
            previous.close()

    def of(self, machine_id: UUID) -> Console | None:
        """The one that is read, or None."""
        return self._open.get(machine_id)

    def opened(self, machine_id: UUID) -> Console | None:
        """The same; that of a machine which another process started is opened now: better late than not at all."""
        if (console := self.of(machine_id)) is None:
            domain, _definition = self._domains.need(machine_id)
            try:
                console = Console(self._connection.get(), domain)
            except libvirt.libvirtError:
                return None
            self.keep(machine_id, console)
        return console

    def tail(self, machine_id: UUID) -> str:
        """What it said last; nothing if nobody has read it."""
        console = self.of(machine_id)
        return "" if console is None else console.tail()

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            consoles, self._open = list(self._open.values()), {}
        for console in consoles:
            console.close()
