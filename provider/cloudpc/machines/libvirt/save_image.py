"""The head of a file that libvirt saves a domain's memory in: its XML is rewritten, what follows stays as it is.

The format is libvirt's own and no promise (src/qemu/qemu_saveimage.h): 16 bytes that name it, five 32-bit words
(version, length of the data, whether it ran, compression, where the cookie is in the data), 56 bytes unused; then the
data: XML, NUL, cookie, NUL and zeros. QEMU's stream follows. Whatever is not as expected is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

_FIXED = struct.Struct("<16s5I56s")
_MAGIC = b"LibvirtQemudSave"
_VERSION = 2
_LONGEST = 16 * 1024 * 1024
FIXED_LENGTH = _FIXED.size


class UnknownSaveFormatError(Exception):
    """It is not as libvirt has written it so far."""


@dataclass(frozen=True)
class Head:
    """All that comes before QEMU's stream."""

    data_length: int
    was_running: int
    compression: int
    unused: bytes
    xml: str
    cookie: bytes

    @property
    def length(self) -> int:
        """In bytes, with what is unused."""
        return FIXED_LENGTH + self.data_length

    def with_xml(self, xml: str) -> Head:
        """The same memory as that of another domain."""
        return replace(self, xml=xml)

    def to_bytes(self) -> bytes:
        """As long as it was read. Raises UnknownSaveFormatError: the XML has no room in it."""
        xml = self.xml.encode() + b"\0"
        data = xml + (self.cookie + b"\0" if self.cookie else b"")
        if len(data) > self.data_length:
            raise UnknownSaveFormatError(f"its head has room for {self.data_length} bytes, and {len(data)} are needed")
        at = len(xml) if self.cookie else 0
        words = (_VERSION, self.data_length, self.was_running, self.compression, at)
        return _FIXED.pack(_MAGIC, *words, self.unused) + data.ljust(self.data_length, b"\0")


def data_length(fixed: bytes) -> int:
    """How much data follows the first FIXED_LENGTH bytes. Raises UnknownSaveFormatError."""
    return _unpacked(fixed)[1]


def read(content: bytes) -> Head:
    """The head that these bytes begin with. Raises UnknownSaveFormatError."""
    _version, length, was_running, compression, cookie_at, unused = _unpacked(content)
    data = content[FIXED_LENGTH : FIXED_LENGTH + length]
    if len(data) < length or cookie_at > length:
        raise UnknownSaveFormatError("it is shorter than it says")
    try:
        xml = data[: cookie_at or None].split(b"\0", 1)[0].decode()
    except UnicodeDecodeError as error:
        raise UnknownSaveFormatError("it has no XML where that should be") from error
    if not xml.lstrip().startswith("<"):
        raise UnknownSaveFormatError("it has no XML where that should be")
    cookie = data[cookie_at:].split(b"\0", 1)[0] if cookie_at else b""
    return Head(length, was_running, compression, unused, xml, cookie)


def _unpacked(fixed: bytes) -> tuple[int, int, int, int, int, bytes]:
    if len(fixed) < FIXED_LENGTH:
        raise UnknownSaveFormatError("it is shorter than its head")
    magic, version, length, was_running, compression, cookie_at, unused = _FIXED.unpack_from(fixed)
    if magic != _MAGIC or version != _VERSION:
        raise UnknownSaveFormatError(f"it is of the kind {magic!r}, version {version}; {_MAGIC!r}, {_VERSION} is known")
    if length > _LONGEST:
        raise UnknownSaveFormatError(f"its head says that it is {length} bytes long")
    return version, length, was_running, compression, cookie_at, unused
