"""Files as they are meant: not a pipe that nobody writes to, nor a device without an end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 100 * 1024 * 1024
"""Bytes; a directory of half a million users has fewer."""

_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
_INPUT = Path("/dev/stdin")


def read(path: Path, largest: int = LARGEST) -> bytes:
    """The contents of a file.

    Raises:
        OSError: it can't be read, is not a regular file, or has more bytes than that; `strerror` says it.
    """
    with opened(path) as file:
        return _up_to(largest, file, path)


def read_once(path: Path, largest: int = LARGEST) -> bytes:
    """The contents of what somebody has named for one command: a file, or a shell's `<(command)`.

    Raises:
        OSError: as `read`; a pipe with a name, which nobody may ever write to, is refused.
    """
    if not _is_of_a_shell(path):
        return read(path, largest)
    with path.open("rb") as file:
        return _up_to(largest, file, path)


def _is_of_a_shell(path: Path) -> bool:
    """Whether it is a pipe that this process has got from its shell; whoever writes to it has it open already."""
    try:
        is_handed_over = path.parent in _DESCRIPTORS or path == _INPUT
        return is_handed_over and stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def what_else(path: Path) -> str:
    """What is wrong with a name in a folder that is no regular file's; empty: nothing, or there is no such name."""
    if path.is_symlink() and not path.exists():
        return "is a link to nothing"
    return "is not a regular file" if path.exists() and not path.is_file() else ""


def _up_to(largest: int, file: BinaryIO, path: Path) -> bytes:
    content = file.read(largest + 1)
    if len(content) > largest:
        most = f"{largest // 1024**2} MB" if largest >= 1024**2 else f"{largest // 1024} KB"
        raise OSError(errno.EFBIG, f"has more than {most}", str(path))
    return content


def opened(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """The open file.

    Args:
        path: its name; the last part of it is no symbolic link where it is to be written.
        flags: for os.open.

    Raises:
        OSError: it can't be opened, or is not a regular file.
    """
    follow = os.O_NOFOLLOW if flags & os.O_WRONLY else 0
    try:
        if path.exists():
            _check(path.stat(), path)  # first: opening a device may do something to it
        # does not wait: a pipe that took its place, with nobody at its other end, is opened or refused at once
        descriptor = os.open(path, flags | follow | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except ValueError:  # a NUL in it
        raise OSError(errno.EINVAL, "no file can have such a name", str(path)) from None
    try:
        _check(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "ab" if flags & os.O_APPEND else "rb")


def _check(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
