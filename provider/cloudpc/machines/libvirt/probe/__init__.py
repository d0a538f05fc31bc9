"""A guest of 64 KiB that shows whether an accelerator really runs guests.

`rom.S` is its source, `rom.z` its bytes compressed, made from the source by `build.py`.
"""

from __future__ import annotations

import zlib
from importlib import resources

SIZE = 64 * 1024

PROGRESS = b"RPLKUB"
"""What the guest writes to its serial port, one letter for each thing it has done; rom.S says which."""


def rom() -> bytes:
    """The ROM, as QEMU's firmware."""
    return zlib.decompress(resources.files(__name__).joinpath("rom.z").read_bytes())
