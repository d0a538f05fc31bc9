"""The screen of a machine whose host can hand over no socket, since it is another computer.

What libvirt tells from anywhere is enough: pictures of the screen, and keys that are pressed. A VNC server of our own
(RFB, RFC 6143) makes a screen of them, slower than the real one and without a mouse. So it takes no right that the host
has not given already, and nothing listens there.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import threading
import time
import zlib
from typing import NamedTuple
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt.connection import Connection
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.text import told

log = logging.getLogger(__name__)

_VERSION = b"RFB 003.008\n"
_NO_SECURITY = b"\x01\x01"
_NAME = b"console"
_EACH_SECONDS = 0.7
_AFTER_KEY_SECONDS = 0.15
_HOLD_MILLISECONDS = 40
_CHUNK = 256 * 1024
_TIGHT_PNG, _DESKTOP_SIZE, _QEMU_KEYS = -260, -223, -258
"""Encodings; with the last one a client tells keys by the codes that QEMU takes, whatever its keyboard's layout."""
_IS_PNG = b"\xa0"
"""Of what such a rectangle may hold."""
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST = (1 << 22) - 1
"""Bytes of a picture: Tight's lengths end there."""
_LENGTHS = {0: 19, 3: 9, 4: 7, 5: 5, 255: 11}
"""Of what clients send, without its first byte, where it is always the same."""
_SET_ENCODINGS, _WANTS_UPDATE, _CUT_TEXT, _QEMU = 2, 3, 6, 255
_MODIFIERS = frozenset({0x1D, 0x2A, 0x36, 0x38, 0x9D, 0xB8, 0xDB, 0xDC})
"""Both of control, shift, alt and the logo, as QEMU numbers them."""


class _Picture(NamedTuple):
    width: int
    height: int
    png: bytes


def shown(connection: Connection, machine_id: UUID) -> socket.socket:
    """A connection on which its screen speaks RFB, as long as the caller keeps it.

    Args:
        connection: nobody else's; closed at the end, or where this fails.
        machine_id: its domain's.

    Raises:
        libvirtError, ProvisioningError: there is no picture of it, or the host does not answer.
        ValueError: the host's libvirt takes pictures of another kind, or larger ones than a client can be sent.
    """
    with contextlib.ExitStack() as closing:
        closing.callback(connection.close)
        screen = _Screen(connection, machine_id)
        first = screen.picture()
        ours, theirs = socket.socketpair()
        later = closing.pop_all()
    threading.Thread(target=_serve, args=(screen, theirs, first, later), name="screen", daemon=True).start()
    return ours


def _serve(screen: _Screen, client: socket.socket, first: _Picture, later: contextlib.ExitStack) -> None:
    with later, client, contextlib.suppress(OSError, EOFError):  # the client has gone
        try:
            _Server(screen, client, first).run()
        except (ValueError, libvirt.libvirtError, ProvisioningError) as error:
            # its page hears only that it has ended; where a reason lasts, the next connection gets it in words
            log.warning("The screen of the domain %s is no longer shown: %s", screen.id, told(str(error)))


class _Screen:
    """A machine's, as libvirt has it."""

    def __init__(self, connection: Connection, machine_id: UUID) -> None:
        self._connection = connection
        self.id = machine_id

    def picture(self) -> _Picture:
        """Raises libvirtError, ProvisioningError, ValueError."""
        connection = self._connection.get()
        stream = connection.newStream()
        connection.lookupByUUID(self.id.bytes).screenshot(stream, 0)
        content = bytearray()
        while part := stream.recv(_CHUNK):
            content += part
        stream.finish()
        picture = _of_png(bytes(content)) if content.startswith(_PNG) else _of_ppm(bytes(content))
        if len(picture.png) > _LARGEST:
            raise ValueError("its picture has over 4 MiB; lower its resolution")  # a page shows 123 bytes of it
        return picture

    def press(self, keys: list[int]) -> None:
        """All at once, as QEMU numbers them. Raises libvirtError, ProvisioningError."""
        domain = self._connection.get().lookupByUUID(self.id.bytes)
        domain.sendKey(libvirt.VIR_KEYCODE_SET_QNUM, _HOLD_MILLISECONDS, keys, len(keys), 0)


def _of_png(content: bytes) -> _Picture:
    """Raises ValueError: it is cut off."""
    if len(content) < 24:
        raise ValueError("libvirt's picture is cut off")
    width, height = struct.unpack(">II", content[16:24])
    return _Picture(width, height, content)


def _of_ppm(content: bytes) -> _Picture:
    """What QEMU before 7.1 draws. Raises ValueError: it is something else."""
    kind, *size, rest = content.split(maxsplit=3)
    width, height = map(int, size)
    row, rgb = 3 * width, rest[4:]
    if kind != b"P6" or rest[:3] != b"255" or len(rgb) != row * height:
        raise ValueError("libvirt's picture is neither a PNG nor a PPM of 8 bits a colour")
    lines = b"".join(b"\0" + rgb[at : at + row] for at in range(0, len(rgb), row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return _Picture(width, height, _PNG + b"".join(map(_png_part, parts)))


def _png_part(part: tuple[bytes, bytes]) -> bytes:
    name, content = part
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


class _Server:
    """Of one client."""

    def __init__(self, screen: _Screen, client: socket.socket, first: _Picture) -> None:
        self._screen = screen
        self._client = client
        self._now = first
        self._size = (first.width, first.height)
        self._sent: _Picture | None = None
        self._takes_keys = self._told_keys = self._is_waiting = False
        self._next = 0.0
        self._pressed: set[int] = set()

    def run(self) -> None:
        """Until the client has gone. Raises EOFError, OSError, ValueError, libvirtError."""
        self._client.sendall(_VERSION)
        self._received(len(_VERSION))
        self._client.sendall(_NO_SECURITY)
        self._received(1)
        self._client.sendall(bytes(4))
        self._received(1)
        # 32 bits a pixel, of which 24 count; little-endian; red, green and blue from high to low
        format_ = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        size = struct.pack(">HH", self._now.width, self._now.height)
        self._client.sendall(size + format_ + struct.pack(">I", len(_NAME)) + _NAME)
        while True:
            pause = max(0.0, self._next - time.monotonic()) if self._is_waiting else None
            if pause == 0:  # first: who types without a pause sees it, too
                self._look()
            elif select.select([self._client], [], [], pause)[0]:
                self._answer(self._received(1)[0])

    def _received(self, count: int) -> bytes:
        content = self._client.recv(count, socket.MSG_WAITALL)
        if len(content) < count:
            raise EOFError
        return content

    def _answer(self, kind: int) -> None:
        if kind == _SET_ENCODINGS:
            (count,) = struct.unpack(">xH", self._received(3))
            taken = struct.unpack(f">{count}i", self._received(4 * count))
            if _TIGHT_PNG not in taken:
                raise ValueError("a client takes no PNG")
            self._takes_keys = _QEMU_KEYS in taken
        elif kind == _CUT_TEXT:
            (length,) = struct.unpack(">3xI", self._received(7))
            while length:  # nobody takes it; in parts, as a client may say 4 GiB
                length -= len(self._received(min(length, _CHUNK)))
        else:
            self._answer_short(kind, self._received(_LENGTHS[kind]) if kind in _LENGTHS else b"")

    def _answer_short(self, kind: int, content: bytes) -> None:
        if kind == _WANTS_UPDATE:
            self._is_waiting = True
            if not content[0]:  # all of it, whatever has changed
                self._sent = None
        elif kind == _QEMU:
            _, is_down, _, code = struct.unpack(">BHII", content)
            self._key(code, is_down=bool(is_down))
        elif kind not in _LENGTHS:
            raise ValueError(f"a client sends {kind}, which is no message of RFB")

    def _key(self, code: int, *, is_down: bool) -> None:
        """Modifiers are held here and pressed with the key they are for: libvirt lets go of all that it presses."""
        if code in _MODIFIERS:
            (self._pressed.add if is_down else self._pressed.discard)(code)
        elif is_down:
            self._screen.press([*sorted(self._pressed), code])
            self._next = min(self._next, time.monotonic() + _AFTER_KEY_SECONDS)  # each key must not put it off

    def _look(self) -> None:
        """Take a picture, and send what is new of it."""
        if self._sent is not None or self._next:
            self._now = self._screen.picture()
        self._next = time.monotonic() + _EACH_SECONDS
        rectangles = list(self._changes())
        if rectangles:
            self._client.sendall(struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles))
            self._sent, self._is_waiting = self._now, False

    def _changes(self) -> list[bytes]:
        now, sent = self._now, self._sent
        rectangles = []
        if self._takes_keys and not self._told_keys:
            self._told_keys = True
            rectangles.append(_rectangle(0, 0, _QEMU_KEYS))
        if self._size != (now.width, now.height):
            self._size = (now.width, now.height)
            rectangles.append(_rectangle(now.width, now.height, _DESKTOP_SIZE))
        if sent is None or sent.png != now.png:
            picture = _IS_PNG + _length(len(now.png)) + now.png
            rectangles.append(_rectangle(now.width, now.height, _TIGHT_PNG) + picture)
        return rectangles


def _length(count: int) -> bytes:
    """As Tight writes it: seven bits, seven bits, eight bits, the lowest first."""
    if count < 1 << 7:
        return bytes([count])
    if count < 1 << 14:
        return bytes([count & 0x7F | 0x80, count >> 7])
    return bytes([count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14])


def _rectangle(width: int, height: int, encoding: int) -> bytes:
    return struct.pack(">HHHHi", 0, 0, width, height, encoding)
