"""Reaching a guest from outside."""

from __future__ import annotations

import socket
import time

from cloudpc.machines.interface import Endpoint


def greeting(endpoint: Endpoint) -> bytes:
    """What answers there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection((endpoint.host, endpoint.port), 5) as connection:
                connection.settimeout(5)
                if data := connection.recv(4):
                    return data
        except OSError:
            pass
        assert time.monotonic() < deadline, "nothing answers"
        time.sleep(0.2)
