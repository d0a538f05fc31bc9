from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pycdlib
import pytest

from cloudpc.images import formats


def of_file(path: Path) -> formats.Format:
    with path.open("rb") as file:
        return formats.of_file(file)


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(__file__, "disk.vmdk")
    return made.getvalue()


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.write(__file__, "disk.vmdk")
    return made.getvalue()


def _iso() -> bytes:
    made, iso = io.BytesIO(), pycdlib.PyCdlib()
    iso.new()
    iso.write_fp(made)
    iso.close()
    content = bytearray(made.getvalue())
    content[510:512] = b"\x55\xaa"  # as installers for USB sticks have it, too
    return bytes(content)


def _raw(at: int, sign: bytes) -> bytes:
    content = bytearray(64 * 1024)
    content[at : at + len(sign)] = sign
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "name", "command"),
    [
        (gzip.compress(b"x"), "gzip", "gzip -dc"),
        (lzma.compress(b"x"), "xz", "xz -dc"),
        (bz2.compress(b"x"), "bzip2", "bzip2 -dc"),
        (b"\x28\xb5\x2f\xfd\x24\x01", "zstd", "zstd -dc"),
        (b"\x50\x2a\x4d\x18\4\0\0\0\0\0\0\0\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
        (lzma.compress(b"x", lzma.FORMAT_ALONE), "lzma", "xz --format=lzma"),
        (b"\x1f\x9d\x90x", "compress", "gzip -dc"),
        (b"\x89LZO\0\r\n\x1a\n\x10", "lzop", "lzop -dc"),
        (b"070701" + bytes(104), "cpio", "bsdtar"),
        (b"!<arch>\ndebian-binary", "ar archive", "ar x"),
        (b"x" * 4096 + b"koly" + bytes(508), "Apple", "-f dmg"),
        (b"\x04\x22\x4d\x18\x64", "lz4", "lz4 -dc"),
        (_zip(), "zip archive", "unzip"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip", "7z x"),
        (_tar(), "OVA", "tar -xf"),
        (_iso(), "ISO 9660", "cloud|installed"),
        (b"# Disk DescriptorFile\nversion=1", "VMDK", "-f vmdk"),
        (b"COWD\1\0", "VMDK", "-f vmdk"),
        (b"LUKS\xba\xbe\0\2", "LUKS", "inside"),
        (b"MSWIM\0\0\0", "WIM", "installed"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS", "git lfs pull"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "web page", "download again"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page", "download again"),
        (b'{"message": "not found"}', "a text", "download again"),
        ("nicht gefunden: Büro".encode() * 40, "a text", "download again"),
        (b"", "empty", "again"),
        (_raw(510, b"\x55\xaa"), "a raw disk", "-f raw"),
        (_raw(512, b"EFI PART"), "a raw disk", "-f raw"),
        (_raw(0x438, b"\x53\xef"), "a raw disk", "-f raw"),
        (bytes(4096), "not known", "-f raw"),
        (bytes(range(256)) * 3, "not known", "-f raw"),
    ],
)
def test_a_file_is_known_by_what_it_holds(content: bytes, name: str, command: str, tmp_path: Path) -> None:
    path = tmp_path / "own.qcow2"
    path.write_bytes(content)
    found = of_file(path)
    assert name in found.name
    assert any(word in found.remedy for word in command.split("|"))


@pytest.mark.parametrize(
    ("driver", "options", "name"),
    [
        ("vmdk", [], "VMDK"),
        ("vmdk", ["-o", "subformat=streamOptimized"], "VMDK"),
        ("vpc", [], "VHD"),
        ("vpc", ["-o", "subformat=fixed"], "VHD"),
        ("vhdx", [], "VHDX"),
        ("vdi", [], "VDI"),
        ("qed", [], "QED"),
        ("parallels", [], "Parallels"),
        ("raw", [], "raw disk"),
    ],
)  # fmt: skip
def test_a_disk_of_another_hypervisor_is_known(driver: str, options: list[str], name: str, tmp_path: Path) -> None:
    raw, made = tmp_path / "raw", tmp_path / "made"
    raw.write_bytes(_raw(510, b"\x55\xaa") * 16)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", driver, *options, str(raw), str(made)], check=True)
    found = of_file(made)
    assert name in found.name
    if driver != "raw":  # the command that is told does it
        command = found.remedy.partition(": ")[2].replace("FILE", str(made)).replace("NEW.qcow2", f"{made}.qcow2")
        subprocess.run(command.split(), check=True)
        assert of_file(made.with_suffix(".qcow2")).name == "a qcow2 disk"


@pytest.mark.parametrize(
    ("name", "found"),
    [("Own.QCOW2.XZ", "xz"), ("a.ova", "OVA"), ("a.iso", "ISO"), ("a.vhdx", "VHDX"), ("a.tar.gz", "gzip")],
)
def test_a_name_may_say_enough(name: str, found: str) -> None:
    known = formats.of_name(name)
    assert known is not None
    assert found in known.name


@pytest.mark.parametrize("name", ["own.qcow2", "own.img", "download", "", "xz", "disk.qcow2.1"])
def test_a_name_may_say_nothing(name: str) -> None:
    assert formats.of_name(name) is None


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_the_command_that_is_told_unpacks(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "own.qcow2"  # whatever its name ends with
    path.write_bytes(pack(b"QFI\xfb"))
    command = of_file(path).remedy.partition(": ")[2].partition(";")[0]
    script = command.replace("FILE", str(path)).replace("NEW.qcow2", str(tmp_path / "new"))
    subprocess.run(["sh", "-euc", script], check=True)
    assert (tmp_path / "new").read_bytes() == b"QFI\xfb"
