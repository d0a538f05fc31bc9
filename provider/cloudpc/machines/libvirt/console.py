"""Keeps the tail of a guest's serial console, read through libvirt's stream, so that it works from afar."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import libvirt

from cloudpc.model.text import plain

_KEPT = 64 * 1024
_PANIC = b"Kernel panic - not syncing"


class Console:
    """Collects what a domain's console says until the domain ends or `close`.

    The stream is read by the event loop. A thread that waited in its `recv` would hold up the other calls on the
    connection, each until the next keep-alive (measured: five seconds).
    """

    def __init__(self, connection: Any, domain: Any) -> None:
        """Open the console. Raises libvirtError; another reader (`virsh console`) makes way for us."""
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._panicked = False
        self._stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        events = libvirt.VIR_STREAM_EVENT_READABLE | libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP
        self._stream.eventAddCallback(events, self._happened, None)

    @property
    def panicked(self) -> bool:
        """Whether a Linux guest has said that it gives up."""
        return self._panicked

    @property
    def ended(self) -> bool:
        """Whether no more will come."""
        return self._ended.is_set()

    @property
    def content(self) -> bytes:
        """The last 64 KiB."""
        with self._lock:
            return bytes(self._kept)

    def tail(self, lines: int = 15) -> str:
        """The last lines that say something, without control characters."""
        return tail_of(self.content, lines)

    def drain(self, timeout: float) -> None:
        """Wait until the stream has ended, as it does soon after its domain did."""
        self._ended.wait(timeout)

    def close(self) -> None:
        """Stop reading; what was read stays."""
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
        with suppress(libvirt.libvirtError):  # the domain or the connection may have ended by itself
            self._stream.eventRemoveCallback()
        with suppress(libvirt.libvirtError):
            self._stream.abort()

    def _happened(self, stream: Any, events: int, _opaque: object) -> None:
        """On the event loop's thread: it must not wait, nor raise."""
        over = False
        try:
            if events & libvirt.VIR_STREAM_EVENT_READABLE:
                over = not self._read(stream)
        except libvirt.libvirtError:
            over = True
        if over or events & (libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP):
            self.close()

    def _read(self, stream: Any) -> bool:
        """Take what is there; False at the end of the stream."""
        while isinstance(data := stream.recv(16 * 1024), bytes):  # a number: nothing there now
            if not data:
                return False
            with self._lock:
                self._kept += data
                del self._kept[:-_KEPT]
                self._panicked = self._panicked or _PANIC in self._kept
        return True


def tail_of(content: bytes, lines: int) -> str:
    """The last lines of a console's bytes, for people; where a kernel panicked, what came around that."""
    told = [line for line in map(str.rstrip, plain(content.decode(errors="replace")).split("\n")) if line]
    start = max(0, len(told) - lines)
    for number, line in enumerate(told):
        if _PANIC.decode() in line:
            start = min(start, max(0, number - lines // 2))
    return "\n".join(told[start : start + lines])
