"""What a file is by what it holds, and how it becomes the qcow2 that an image has to be.

`qemu-img convert` takes whatever it does not know for a raw disk: of a compressed file it makes a qcow2 that no check
refuses and that never boots. So no command here lets it guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

QCOW2_MAGIC = b"QFI\xfb"
HEAD = 36 * 1024
"""Bytes from a file's beginning that tell what it is: an ISO 9660 says so after 32 KiB."""
_TAIL = 512
_TEXT = re.compile(r"[^\x00-\x08\x0e-\x1f\x7f]+")


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        name: as it follows "is", for example `a VMDK disk`.
        remedy: how a qcow2 is had from it, FILE standing for its name.
        magics: what is written where in a file of this kind; each is a sign of its own.
        suffixes: how the names of such files end.
        may_boot: whether a machine's disk may hold just this, as far as anybody can say.
    """

    name: str
    remedy: str
    magics: Sequence[tuple[int, bytes]] = ()
    suffixes: tuple[str, ...] = ()
    may_boot: bool = False


def _packed(name: str, command: str, magic: bytes, *suffixes: str, or_begins: Sequence[bytes] = ()) -> Format:
    remedy = f"Unpack it: {command} FILE > NEW.qcow2; the SHA-256 is that of what comes out"
    return Format(f"compressed with {name}", remedy, [(0, each) for each in (magic, *or_begins)], suffixes)


def _archive(name: str, command: str, *magics: tuple[int, bytes], suffixes: tuple[str, ...]) -> Format:
    return Format(name, f"Unpack it: {command} FILE; an image is the disk in it, in qcow2 format", magics, suffixes)


def _disk(name: str, driver: str, *magics: tuple[int, bytes], suffixes: tuple[str, ...] = ()) -> Format:
    return Format(name, f"Convert it: qemu-img convert -f {driver} -O qcow2 FILE NEW.qcow2", magics, suffixes)


_INSTALLER = "It installs a system, and is not one; take a disk with an installed system, in qcow2 format"
_FETCHED = "Whatever was downloaded is not the image; look at it with `head FILE`, and download again"
_AS_RAW = "qemu-img convert -f raw -O qcow2 FILE NEW.qcow2"
_RAW_MAGICS = ((510, b"\x55\xaa"), (512, b"EFI PART"), (4096, b"EFI PART"), (0x438, b"\x53\xef"))
_RAW = Format("a raw disk", f"Convert it: {_AS_RAW}", _RAW_MAGICS, may_boot=True)
_UNKNOWN = Format("in a format that is not known here", f"If it is a raw disk: {_AS_RAW}", may_boot=True)
_EMPTY = Format("empty", "Download or copy it again", may_boot=True)
_WEB_PAGE = Format("a web page, mostly a server's word on why there is no file", _FETCHED)
_WORDS = Format("a text", _FETCHED, may_boot=True)
_SKIPPED_FRAMES = [bytes([kind]) + b"\x2a\x4d\x18" for kind in range(0x50, 0x60)]
"""What pzstd begins with."""
_DMG = _disk("an Apple disk image", "dmg", suffixes=(".dmg",))
_VHD = _disk("a VHD disk", "vpc", (0, b"conectix"), suffixes=(".vhd",))

_FORMATS = (
    _packed("gzip", "gzip -dc", b"\x1f\x8b", ".gz", ".tgz"),
    _packed("xz", "xz -dc", b"\xfd7zXZ\0", ".xz", ".txz"),
    _packed("bzip2", "bzip2 -dc", b"BZh", ".bz2"),
    _packed("zstd", "zstd -dc", b"\x28\xb5\x2f\xfd", ".zst", or_begins=_SKIPPED_FRAMES),
    _packed("lzma", "xz --format=lzma -dc", b"\x5d\0\0", ".lzma"),
    _packed("compress", "gzip -dc", b"\x1f\x9d", ".z"),
    _packed("lzop", "lzop -dc", b"\x89LZO\0\r\n\x1a\n", ".lzo"),
    _packed("lz4", "lz4 -dc", b"\x04\x22\x4d\x18", ".lz4"),
    _packed("lzip", "lzip -dc", b"LZIP", ".lz"),
    _archive("a zip archive", "unzip", (0, b"PK\3\4"), (0, b"PK\5\6"), (0, b"PK\7\x08"), suffixes=(".zip",)),
    _archive("a 7-Zip archive", "7z x", (0, b"7z\xbc\xaf\x27\x1c"), suffixes=(".7z",)),
    _archive(
        "a cpio archive", "bsdtar -xf", *((0, b"07070" + kind) for kind in (b"1", b"2", b"7")), suffixes=(".cpio",)
    ),
    _archive("an ar archive, perhaps a package", "ar x", (0, b"!<arch>\n"), suffixes=(".deb",)),
    _archive("a RAR archive", "unrar x", (0, b"Rar!\x1a\x07"), suffixes=(".rar",)),
    _archive("a tar archive, perhaps an OVA", "tar -xf", (257, b"ustar"), suffixes=(".tar", ".ova")),
    _disk("a VMDK disk", "vmdk", (0, b"KDMV"), (0, b"COWD"), (0, b"# Disk DescriptorFile"), suffixes=(".vmdk",)),
    _VHD,
    _DMG,
    _disk("a VHDX disk", "vhdx", (0, b"vhdxfile"), suffixes=(".vhdx",)),
    _disk("a VDI disk", "vdi", (64, b"\x7f\x10\xda\xbe"), suffixes=(".vdi",)),
    _disk("a QED disk", "qed", (0, b"QED\0")),
    _disk("a Parallels disk", "parallels", (0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt")),
    _disk("a qcow2 disk", "qcow2", (0, QCOW2_MAGIC)),
    Format("an encrypted LUKS volume", "Take the disk that is inside it", ((0, b"LUKS\xba\xbe"),)),
    Format("a SquashFS file system", _INSTALLER, ((0, b"hsqs"),), (".squashfs",)),
    Format("a Windows image (WIM)", _INSTALLER, ((0, b"MSWIM\0\0\0"),), (".wim", ".esd")),
    Format("an ISO 9660 image", _INSTALLER, ((0x8001, b"CD001"),), (".iso",)),
    Format("what Git LFS has instead of the file", "Fetch it: git lfs pull", ((0, b"version https://git-lfs"),)),
    _RAW,
)


def of_file(file: BinaryIO) -> Format:
    """What the file is. Raises OSError."""
    file.seek(0)
    head = file.read(HEAD)
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    # A VHD of a fixed size is the raw disk with a footer, and so is an Apple disk image.
    for footer, known in ((b"conectix", _VHD), (b"koly", _DMG)):
        if tail.startswith(footer):
            return known
    return of_bytes(head)


def of_bytes(head: bytes) -> Format:
    """What begins like this, given HEAD bytes of it or all there are."""
    if not head:
        return _EMPTY
    for known in _FORMATS:
        if any(head[at : at + len(magic)] == magic for at, magic in known.magics):
            return known
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
        return _WEB_PAGE
    return _WORDS if _is_text(head[:512]) else _UNKNOWN


def _is_text(start: bytes) -> bool:
    try:
        return _TEXT.fullmatch(start.decode("utf-8")) is not None
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and _TEXT.fullmatch(start[: error.start].decode("utf-8")) is not None


def of_name(name: str) -> Format | None:
    """What a file of this name must be that can't be an image; None where the name says nothing."""
    return next((known for known in _FORMATS if name.lower().endswith(known.suffixes)), None)
