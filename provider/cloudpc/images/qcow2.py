"""The parts of a qcow2 file that say whether it can be used, read here: nothing that parses more sees it before.

The format is described in QEMU's docs/interop/qcow2.txt. Nothing in a file is believed that the file itself can't keep:
each table must lie inside it, and so must all that the tables name.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cloudpc.files import regular_file
from cloudpc.images import formats

_STANDALONE: Final = "Make it stand alone: qemu-img convert -f qcow2 -O qcow2 FILE NEW.qcow2"
ANOTHER_COPY: Final = (
    "Copy or download it again; if the original is like that, `qemu-img check -r all FILE` may repair it "
    "(then the SHA-256 is another one)"
)
_HEADER_V2: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_V3: Final = struct.Struct(">QQQII")
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION_TYPE, _EXTENDED_L2 = (1 << bit for bit in range(5))
_OFFSET: Final = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED: Final = 1 << 62
_LARGEST_L1: Final = 32 << 20
_LONGEST_NAME: Final = 1023
_TABLES_LOOKED_AT: Final = 64 << 20
"""Bytes of second-level tables that are read: enough for 512 GiB in clusters of the usual size."""


class UnusableError(Exception):
    """The file can't be an image; the message completes "FILE …"."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Header:
    """What the header says, within the format's own limits.

    Args:
        version: 2 or 3.
        size: bytes that a guest sees.
        cluster_bits: a cluster has 2 to the power of this bytes.
        features: incompatible_features of version 3.
        encryption: 0 for none.
        backing_file: offset and length of its name; 0 for none.
        l1: offset and entries of the first-level table.
        refcounts: offset and bytes of the refcount table.
    """

    version: int
    size: int
    cluster_bits: int
    features: int
    encryption: int
    backing_file: tuple[int, int]
    l1: tuple[int, int]
    refcounts: tuple[int, int]

    @property
    def cluster(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.cluster_bits


def read_header(file: BinaryIO) -> Header:
    """The header alone.

    Raises:
        UnusableError: it is none, or says what no qcow2 can.
        OSError: it can't be read.
    """
    file.seek(0)
    head = file.read(_HEADER_V2.size)
    if not head.startswith(formats.QCOW2_MAGIC):
        found = formats.of_file(file)
        raise UnusableError(f"is {found.name}, not in qcow2 format", found.remedy)
    if len(head) >= 8 and (version := int.from_bytes(head[4:8], "big")) not in (2, 3):
        if version == 1:
            remedy = "Convert it: qemu-img convert -f qcow -O qcow2 FILE NEW.qcow2"
            raise UnusableError("is in the old format qcow, not in qcow2 format", remedy)
        raise UnusableError(f"is in qcow2 format of a version that is not known, {version}", ANOTHER_COPY)
    if len(head) < _HEADER_V2.size:
        raise _cut_off(len(head), _HEADER_V2.size)
    return _parsed(head, file.read(_HEADER_V3.size))


def _parsed(head: bytes, more: bytes) -> Header:
    (_, version, backing, backing_length, cluster_bits, size, encryption, l1_entries, l1, refcounts, refcount_clusters,
     *_rest) = _HEADER_V2.unpack(head)  # fmt: skip
    features = 0
    if version == 3:
        if len(more) < _HEADER_V3.size:
            raise _cut_off(len(head) + len(more), len(head) + _HEADER_V3.size)
        features = _HEADER_V3.unpack(more)[0]
    if not 9 <= cluster_bits <= 21:
        raise UnusableError(f"is not a sound qcow2: it has clusters of 2^{cluster_bits} bytes", ANOTHER_COPY)
    return Header(
        version, size, cluster_bits, features, encryption, (backing, backing_length), (l1, l1_entries),
        (refcounts, refcount_clusters << cluster_bits),
    )  # fmt: skip


def check(path: Path) -> bool:
    """A qcow2 that is whole and stands alone: others would make the hypervisor read files that the image names.

    Returns:
        Whether `check_start` has seen all that it looks at; else it is packed or spread so that QEMU alone reads it.

    Raises:
        UnusableError: it is something else, damaged, cut off, encrypted or needs another file.
        OSError: it can't be read.
    """
    with regular_file.opened(path) as file:
        header = read_header(file)
        _refuse_features(header, file)
        tables = _Tables(file, header)
        tables.check()
        first = tables.first_bytes()
    check_start(first)
    return len(first) >= min(header.size, formats.HEAD)


def check_start(first: bytes) -> None:
    """What a guest finds at its disk's start must not be a file of another format: then it was converted as raw.

    Args:
        first: the first 36 KiB, or what there is of them.

    Raises:
        UnusableError: it is such a file.
    """
    found = formats.of_bytes(first)
    if not found.may_boot:
        raise UnusableError(
            f"holds a file that is {found.name}, not a disk: `qemu-img convert` took it for a raw one",
            "Begin with the original: " + found.remedy[0].lower() + found.remedy[1:],
        )


def _refuse_features(header: Header, file: BinaryIO) -> None:
    offset, length = header.backing_file
    if offset:
        raise UnusableError(f"is an overlay of {_name(file, offset, length)}", _STANDALONE)
    if header.features & _DATA_FILE:
        raise UnusableError("keeps its data in another file", _STANDALONE)
    if header.encryption:
        raise UnusableError("is encrypted", "Take the disk without: qemu-img convert with the secret, into a new qcow2")
    if header.features & _CORRUPT:
        raise UnusableError("is marked as corrupt", ANOTHER_COPY)
    if header.features & _DIRTY:
        raise UnusableError("was not closed: a machine used it when it was copied, or crashed", ANOTHER_COPY)
    if unknown := header.features & ~(_COMPRESSION_TYPE | _EXTENDED_L2):
        raise UnusableError(f"needs features that are not known here ({unknown:#x})", _STANDALONE)
    if not header.size:
        raise UnusableError("has a disk of no size", ANOTHER_COPY)


def _name(file: BinaryIO, offset: int, length: int) -> str:
    file.seek(offset)
    name = file.read(min(length, _LONGEST_NAME)).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in name) or "another file"


def _cut_off(size: int, needed: int) -> UnusableError:
    message = f"is cut off: it has {size} bytes, and by its own tables at least {needed}"
    return UnusableError(message, "Copy or download it again, and compare its size with the original's")


class _Tables:
    """The file's tables, followed as far as a guest's disk goes."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._header = header
        self._size = file.seek(0, 2)
        self._entry_size = 16 if header.features & _EXTENDED_L2 else 8

    def check(self) -> None:
        """Raises UnusableError."""
        l1_offset, entries = self._header.l1
        if entries * 8 > _LARGEST_L1 or entries < self._l1_entries_needed():
            raise UnusableError("is not a sound qcow2: its first-level table has not the disk's size", ANOTHER_COPY)
        self._refuse_outside(*self._header.refcounts)
        tables = self._read(l1_offset, entries * 8)
        seen: set[int] = set()
        for index, entry in enumerate(tables):
            offset = entry & _OFFSET
            if not offset or offset in seen:
                continue
            seen.add(offset)
            if len(seen) << self._header.cluster_bits > _TABLES_LOOKED_AT:
                break
            self._check_clusters(index, offset)

    def _per_table(self) -> int:
        return self._header.cluster // self._entry_size

    def _l1_entries_needed(self) -> int:
        return -(-self._header.size // (self._per_table() << self._header.cluster_bits))

    def _read(self, offset: int, length: int) -> array[int]:
        """A table, all of which must be there."""
        if offset % self._header.cluster:
            raise UnusableError("is not a sound qcow2: one of its tables begins inside a cluster", ANOTHER_COPY)
        self._refuse_outside(offset, length)
        self._file.seek(offset)
        table = array("Q", self._file.read(length))
        if sys.byteorder == "little":
            table.byteswap()
        return table

    def _refuse_outside(self, offset: int, length: int) -> None:
        if offset + length > self._size:
            raise _cut_off(self._size, offset + length)

    def _check_clusters(self, index: int, table_offset: int) -> None:
        needed = max(self._ends(index, table_offset), default=0)
        self._refuse_outside(needed, 0)

    def _ends(self, index: int, table_offset: int) -> Iterator[int]:
        """For each cluster that a second-level table names, where its data ends in the file."""
        table = self._read(table_offset, self._header.cluster)
        first, step = index * self._per_table(), self._entry_size // 8
        for number, entry in enumerate(table[::step]):
            if entry & _COMPRESSED:
                offset, length = self._compressed(entry)
                yield offset + length
            elif offset := entry & _OFFSET:
                left = self._header.size - ((first + number) << self._header.cluster_bits)
                used = self._header.cluster
                if step == 2:
                    used = (table[2 * number + 1] & 0xFFFF_FFFF).bit_length() << (self._header.cluster_bits - 5)
                yield offset + max(0, min(used, left))

    def _compressed(self, entry: int) -> tuple[int, int]:
        """Where a compressed cluster lies, to the end of its last sector."""
        bits = 62 - (self._header.cluster_bits - 8)
        offset = entry & ((1 << bits) - 1)
        sectors = (entry & (_COMPRESSED - 1)) >> bits
        return offset, (sectors + 1) * 512 - offset % 512

    def first_bytes(self) -> bytes:
        """The beginning of the guest's disk as far as its first cluster says it: nothing where zstd has packed that."""
        offset = self._read(self._header.l1[0], 8)[0] & _OFFSET
        entry = self._read(offset, self._header.cluster)[0] if offset else 0
        if entry & _COMPRESSED:
            offset, length = self._compressed(entry)
            if self._header.features & _COMPRESSION_TYPE:
                return b""
            return _inflated(self._at(offset, length))
        length = min(self._header.cluster, formats.HEAD)
        return self._at(entry & _OFFSET, length) if entry & _OFFSET else bytes(length)

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)


def _inflated(packed: bytes) -> bytes:
    """The beginning of a cluster compressed with zlib; nothing where that can't be read, which QEMU then says."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, formats.HEAD)
    except zlib.error:
        return b""
