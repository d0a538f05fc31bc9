"""The beginning of a qcow2, as far as it is looked at before anybody boots it."""

from __future__ import annotations

import struct


def header(size: int = 1 << 20) -> bytes:
    """The header of a disk of this many bytes."""
    return struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, size, 0, 1, 0, 0, 0, 0, 0)
