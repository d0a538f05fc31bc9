"""Files as they are meant: not a pipe that nobody writes to, nor a device without an end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LARGEST = 100 * 1024 * 1024
"""Bytes; a directory of half a million users has fewer."""


def read(path: Path, largest: int = LARGEST) -> bytes:
    """The contents of a file.

    Raises:
        OSError: it can't be read, is no regular file, or has more bytes than that; `strerror` says it.
    """
    try:
        # nothing is waited for: a pipe without a writer is opened at once, too, and then refused
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            check(file.fileno(), path)
            content = file.read(largest + 1)
    except ValueError:  # a NUL in it
        raise OSError(errno.EINVAL, "no file can have such a name", str(path)) from None
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest // 1024**2} MB", str(path))
    return content


def check(descriptor: int, path: Path) -> None:
    """Raises OSError if what is open is no regular file."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
