"""Reaching a guest from outside, and waiting for what the outside can see."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from uuid import UUID

from cloudpc.model.access import Access
from cloudpc.model.guests import Completed, Script
from cloudpc.model.machines import Host
from cloudpc.model.watch import Watch


def greeting(endpoint: Access) -> bytes:
    """What answers there."""
    said = b""

    def answers() -> bytes:
        nonlocal said
        said = answer(endpoint.host, endpoint.port)
        return said

    wait_until(answers, 60, "nothing answers")
    return said


def ran(host: Host, machine_id: UUID, *argv: str, stdin: bytes = b"", timeout: float = 10) -> Completed:
    """What became of a command in the guest."""
    script = Script(text='exec "$@"', arguments=argv, stdin=stdin, timeout=timeout)
    [done] = host.guest(machine_id).run([script], Watch())
    return done


def wait_until(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait for something that tells nobody when it happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def answer(host: str, port: int, patience: float = 5) -> bytes:
    """The first words of what listens there; nothing if nothing does, or QEMU alone, for a guest that doesn't yet."""
    try:
        with socket.create_connection((host, port), patience) as connection:
            return connection.recv(4)
    except OSError:
        return b""
