"""A screen of a host elsewhere: what a VNC client gets of libvirt's pictures, and which keys libvirt is to press."""

from __future__ import annotations

import select
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import libvirt
import pytest

from cloudpc.machines.libvirt import screen_afar
from tests.support.waiting import wait_until

RED, BLUE = b"\xff\0\0", b"\0\0\xff"
KEYS, PNG, SIZE = -258, -260, -223
CONTROL, DELETE = 0x1D, 0xD3
ID = UUID(int=7)
_HEAD = b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 2, 3)
_WANTS_CHANGES = struct.pack(">BB4H", 3, 1, 0, 0, 2, 3)


@dataclass
class Domain:
    """A connection, its domain and the stream of a picture in one; the screen has two pixels a row."""

    rows: list[bytes] = field(default_factory=lambda: [RED, RED, RED])
    pressed: list[list[int]] = field(default_factory=list)
    kind: bytes = b"P6"

    closed: int = 0
    png: bytes = b""

    def get(self) -> Domain:
        return self

    def close(self) -> None:
        self.closed += 1

    def lookupByUUID(self, _id: bytes) -> Domain:
        return self

    def newStream(self) -> Domain:
        return self

    def screenshot(self, _stream: object, _screen: int) -> None:
        header = b"%s\n2 %d\n255\n" % (self.kind, len(self.rows))
        self.parts = [self.png or header + b"".join(row * 2 for row in self.rows), b""]

    def recv(self, _size: int) -> bytes:
        return self.parts.pop(0)

    def finish(self) -> None:
        pass

    def sendKey(self, _set: int, _hold: int, keys: list[int], count: int, _flags: int) -> None:
        assert len(keys) == count
        self.pressed.append(keys)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Domain:
    monkeypatch.setattr(screen_afar, "_EACH_SECONDS", 0.01)
    return Domain()


@pytest.fixture
def client(domain: Domain) -> Iterator[socket.socket]:
    """After the handshake, as noVNC does it."""
    with screen_afar.shown(domain, ID) as ours:  # type: ignore[arg-type]
        ours.settimeout(10)
        assert _received(ours, 12) == b"RFB 003.008\n"
        ours.sendall(b"RFB 003.008\n")
        assert _received(ours, 2) == b"\1\1"
        ours.sendall(b"\1")
        assert _received(ours, 4) == bytes(4)
        ours.sendall(b"\1")
        width, height, *_, length = struct.unpack(">HH16xI", _received(ours, 24))
        assert (width, height, len(_received(ours, length))) == (2, 3, length)
        ours.sendall(b"\0\0\0\0" + struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 0, 8, 16))
        ours.sendall(struct.pack(">BxH3i", 2, 3, PNG, SIZE, KEYS))
        yield ours


def test_what_has_changed_is_sent(domain: Domain, client: socket.socket) -> None:
    assert _update(client, whole=True) == {KEYS: b"", PNG: [RED, RED, RED]}
    domain.rows[1] = BLUE
    assert _update(client) == {PNG: [RED, BLUE, RED]}
    domain.rows.append(RED)
    assert _update(client) == {SIZE: b"", PNG: [RED, BLUE, RED, RED]}


def test_a_picture_that_is_a_png_is_passed_on(domain: Domain, client: socket.socket) -> None:
    _update(client, whole=True)
    domain.png = _HEAD + bytes(range(256)) * 70
    assert _update(client) == {PNG: domain.png}


def test_a_key_is_pressed_with_the_modifiers_that_are_held(domain: Domain, client: socket.socket) -> None:
    for code, is_down in ((CONTROL, 1), (DELETE, 1), (DELETE, 0), (CONTROL, 0), (DELETE, 1)):
        client.sendall(struct.pack(">BBHII", 255, 0, is_down, 0, code))
    wait_until(lambda: domain.pressed == [[CONTROL, DELETE], [DELETE]], 10, "not pressed")


def test_who_types_without_a_pause_sees_it(
    domain: Domain, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_afar, "_EACH_SECONDS", 0.7)
    monkeypatch.setattr(screen_afar, "_AFTER_KEY_SECONDS", 0.5)
    _update(client, whole=True)
    domain.rows[1] = BLUE
    client.sendall(_WANTS_CHANGES)
    for _ in range(100):
        client.sendall(struct.pack(">BBHII", 255, 0, 1, 0, DELETE))
        if select.select([client], [], [], 0.05)[0]:
            break
    else:
        pytest.fail("nothing is seen while keys come")
    assert _sent(client) == {PNG: [RED, BLUE, RED]}


def test_a_clipboard_is_believed_in_parts(client: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, received = list[int](), screen_afar._Server._received

    def noted(server: screen_afar._Server, count: int) -> bytes:
        asked.append(count)
        return received(server, count)

    monkeypatch.setattr(screen_afar._Server, "_received", noted)
    long = 3 * screen_afar._CHUNK + 5
    client.sendall(b"\6\0\0\0" + struct.pack(">I", long) + bytes(long))
    assert PNG in _update(client, whole=True)
    assert max(asked) <= screen_afar._CHUNK


@pytest.mark.parametrize(
    ("png", "said"), [(_HEAD + bytes(1 << 22), "lower its resolution"), (_HEAD[:20], "cut off")], ids=["large", "cut"]
)
def test_a_picture_that_can_t_be_sent_says_why(
    domain: Domain, client: socket.socket, caplog: pytest.LogCaptureFixture, png: bytes, said: str
) -> None:
    _update(client, whole=True)
    domain.png = png
    client.sendall(_WANTS_CHANGES)
    assert client.recv(1) == b""
    wait_until(lambda: said in caplog.text, 10, "no word of it")
    with pytest.raises(ValueError, match=said):
        screen_afar.shown(domain, ID)  # type: ignore[arg-type]


def test_a_key_that_can_t_be_pressed_says_why(
    domain: Domain, client: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(*_: object) -> None:
        raise libvirt.libvirtError("domain is not running")

    monkeypatch.setattr(domain, "sendKey", off)
    client.sendall(struct.pack(">BBHII", 255, 0, 1, 0, DELETE))
    assert client.recv(1) == b""
    wait_until(lambda: "domain is not running" in caplog.text, 10, "no word of it")


def test_a_pointer_and_a_clipboard_change_nothing(domain: Domain, client: socket.socket) -> None:
    client.sendall(b"\5" + bytes(5) + b"\6\0\0\0" + struct.pack(">I", 3) + b"abc" + b"\4" + bytes(7))
    assert PNG in _update(client, whole=True)
    assert domain.pressed == []


@pytest.mark.parametrize("said", [b"\x63", struct.pack(">BxHi", 2, 1, 0)])
def test_it_ends_with_a_client_that_says_what_is_no_message_or_takes_no_png(client: socket.socket, said: bytes) -> None:
    client.sendall(said)
    assert client.recv(1) == b""


def test_nothing_of_it_stays_when_its_client_has_gone(domain: Domain, client: socket.socket) -> None:
    client.close()
    wait_until(lambda: all(thread.name != "screen" for thread in threading.enumerate()), 10, "a thread stays")
    assert domain.closed == 1


def test_pictures_of_another_kind_are_refused() -> None:
    other = Domain(kind=b"P5")
    with pytest.raises(ValueError, match="PNG"):
        screen_afar.shown(other, ID)  # type: ignore[arg-type]
    assert other.closed == 1


def _update(client: socket.socket, *, whole: bool = False) -> dict[int, bytes | list[bytes]]:
    """What comes, by encoding; a picture of ours as the colour of each row."""
    client.sendall(struct.pack(">BB4H", 3, not whole, 0, 0, 2, 3))
    return _sent(client)


def _sent(client: socket.socket) -> dict[int, bytes | list[bytes]]:
    """The same, of what was asked for before."""
    kind, count = struct.unpack(">BxH", _received(client, 4))
    assert kind == 0
    found: dict[int, bytes | list[bytes]] = {}
    for _ in range(count):
        *_, encoding = struct.unpack(">HHHHi", _received(client, 12))
        found[encoding] = _picture(client) if encoding == PNG else b""
    return found


def _picture(client: socket.socket) -> bytes | list[bytes]:
    assert _received(client, 1) == b"\xa0"
    length = shift = 0
    while shift < 21:
        byte = _received(client, 1)[0]
        length |= (byte if shift == 14 else byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    content = _received(client, length)
    if b"IDAT" not in content:
        return content
    rows = zlib.decompress(content[content.index(b"IDAT") + 4 : -16])
    return [rows[at + 1 : at + 4] for at in range(0, len(rows), 7)]


def _received(client: socket.socket, count: int) -> bytes:
    return client.recv(count, socket.MSG_WAITALL) if count else b""
