"""HTTP/1.1 on loopback, with connections that stay open, and that can be ended."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is to be sent back."""

    status: int
    body: Any = None
    """JSON; None: nothing."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """An answer as it is sent."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    @classmethod
    def of(cls, answer: Answer) -> Reply:
        """Its JSON as it is now."""
        content = b"" if answer.body is None else json.dumps(answer.body).encode()
        return cls(answer.status, content, answer.headers)


Respond = Callable[[Received], Reply | None]


class Server:
    """Answers requests until it is closed.

    Args:
        respond: the answer to a request; None: end the connection without one.
        port: 0 for any that is free.
        content_type: of answers that don't say their own.
    """

    def __init__(self, respond: Respond, port: int = 0, content_type: str = "application/json") -> None:
        self._http = _Http(("127.0.0.1", port), respond, content_type)
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True, name="fake service")

    def wrap(self, wrapped: Callable[[socket.socket], socket.socket]) -> None:
        """Put TLS around the listening socket, before the start."""
        self._http.socket = wrapped(self._http.socket)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End the server and all connections to it."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.end_connections()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], respond: Respond, content_type: str) -> None:
        self.respond = respond
        self.content_type = content_type
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def connected(self, connection: socket.socket, yes: bool) -> None:
        with self._lock:
            (self._connections.add if yes else self._connections.discard)(connection)

    def end_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is none of our business; anything else is shown as usual."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.connected(self.connection, True)

    def finish(self) -> None:
        self.server.connected(self.connection, False)
        super().finish()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.respond(Received(self.command, self.path, self.headers, body))
        if reply is None:
            # without a word: what a client sees when something between it and the service breaks
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        headers: Mapping[str, str] = {
            **({"Content-Type": self.server.content_type} if reply.content else {}),
            **({} if reply.status == 204 else {"Content-Length": str(len(reply.content))}),
            **reply.headers,
        }
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """The service keeps its own log."""


def until_interrupted() -> None:
    """For servers that are started by hand: returns at Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
