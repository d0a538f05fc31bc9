"""libvirt's event loop, run once per process, and what its events mean to those who wait for a guest."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any
from uuid import UUID

import libvirt

log = logging.getLogger(__name__)

_PAUSE_AFTER_ERROR = 0.1
_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


class Happening(Enum):
    """What happened to a machine that someone waits for."""

    STOPPED = auto()
    CRASHED = auto()
    AGENT_CONNECTED = auto()
    AGENT_DISCONNECTED = auto()
    DISK_FAILED = auto()
    CONNECTION_LOST = auto()


def ensure_loop() -> None:
    """Start the event loop unless it runs. Before the first connection: keep-alive and events need it."""
    global _loop
    with _loop_lock:
        if _loop is not None:
            return
        # Otherwise libvirt prints each error to stderr; ours are raised, classified and shown once.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        _loop = threading.Thread(target=_run_loop, name="libvirt-events", daemon=True)
        _loop.start()


def _run_loop() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            # without this thread nobody would hear of anything, on any connection
            log.warning("libvirt's event loop: %s", error.get_error_message())
            time.sleep(_PAUSE_AFTER_ERROR)


class Watchers:
    """Hands a connection's events to the threads that wait for one machine each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[UUID, list[queue.SimpleQueue[Happening]]] = defaultdict(list)
        self._generation = 0
        self._registered: list[int] = []

    @contextmanager
    def watch(self, machine_id: UUID) -> Iterator[queue.SimpleQueue[Happening]]:
        """A queue of everything that happens to the machine from now on."""
        happenings: queue.SimpleQueue[Happening] = queue.SimpleQueue()
        with self._lock:
            self._queues[machine_id].append(happenings)
        try:
            yield happenings
        finally:
            with self._lock:
                self._queues[machine_id].remove(happenings)
                if not self._queues[machine_id]:
                    del self._queues[machine_id]

    def attach(self, connection: Any) -> None:
        """Listen to a new connection."""
        self._generation += 1
        self._registered = []
        for event, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._agent),
        ):
            self._registered.append(connection.domainEventRegisterAny(None, event, callback, None))
        connection.registerCloseCallback(self._closed, self._generation)

    def detach(self, connection: Any) -> None:
        """Stop listening, without which libvirt would keep the connection open. One that broke may refuse."""
        self._generation += 1
        with suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        for number in self._registered:
            with suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(number)

    def _lifecycle(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: object) -> None:
        if event in (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED):
            self._tell(domain, Happening.STOPPED)
        elif event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
            self._tell(domain, Happening.CRASHED)
        elif event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED and detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR:
            self._tell(domain, Happening.DISK_FAILED)

    def _agent(self, _connection: Any, domain: Any, state: int, _reason: int, _opaque: object) -> None:
        connected = state == libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
        self._tell(domain, Happening.AGENT_CONNECTED if connected else Happening.AGENT_DISCONNECTED)

    def _closed(self, _connection: Any, _reason: int, generation: int) -> None:
        if generation != self._generation:
            return  # one that has been replaced already
        with self._lock:
            for queues in self._queues.values():
                for happenings in queues:
                    happenings.put(Happening.CONNECTION_LOST)

    def _tell(self, domain: Any, happening: Happening) -> None:
        machine_id = UUID(bytes=domain.UUID())
        with self._lock:
            for happenings in self._queues.get(machine_id, ()):
                happenings.put(happening)
