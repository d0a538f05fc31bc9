"""This machine's own loopback."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody has at this moment; somebody may take it before it is used."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
