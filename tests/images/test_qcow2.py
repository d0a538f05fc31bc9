from __future__ import annotations

import contextlib
import lzma
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpc.images import qcow2
from cloudpc.images.qcow2 import UnusableError

_SIZE = 4 << 20
_OPTIONS = [
    [],
    ["-c"],
    ["-c", "-o", "compression_type=zstd"],
    ["-o", "compat=0.10"],
    ["-o", "extended_l2=on"],
    ["-o", "cluster_size=512"],
    ["-o", "cluster_size=2M"],
    ["-o", "preallocation=metadata"],
    ["-o", "preallocation=full"],
    ["-o", "lazy_refcounts=on"],
    ["-o", "refcount_bits=1"],
]


def _made(folder: Path, content: bytes, *options: str) -> Path:
    raw, path = folder / "disk.raw", folder / "own.qcow2"
    raw.write_bytes(content)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options]
    subprocess.run([*convert, str(raw), str(path)], check=True)
    return path


def _disk(size: int = _SIZE) -> bytes:
    """Something that can't be compressed, and has data at its very end."""
    return b"\xeb\x63\x90" + os.urandom(size - 3)


def _refused(path: Path) -> UnusableError:
    with pytest.raises(UnusableError) as caught:
        qcow2.check(path)
    return caught.value


def _patch(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize("options", _OPTIONS, ids=" ".join)
@pytest.mark.parametrize("size", [_SIZE, _SIZE + 512])
def test_a_sound_one_is_taken_and_its_size_read(options: list[str], size: int, tmp_path: Path) -> None:
    path = _made(tmp_path, _disk(size), *options)
    qcow2.check(path)
    with path.open("rb") as file:
        assert qcow2.read_header(file).size == size


@pytest.mark.parametrize("options", _OPTIONS, ids=" ".join)
@pytest.mark.parametrize("share", [0.999, 0.5, 0.02])
def test_one_that_was_cut_off_is_refused(options: list[str], share: float, tmp_path: Path) -> None:
    path = _made(tmp_path, _disk(), *options)
    os.truncate(path, int(path.stat().st_size * share))
    error = _refused(path)
    assert "is cut off" in str(error)
    assert "again" in error.hint


@pytest.mark.parametrize("cut", [1, 512])
@pytest.mark.parametrize("options", [[], ["-c"], ["-o", "compat=0.10"], ["-o", "extended_l2=on"]], ids=" ".join)
def test_the_last_byte_counts(options: list[str], cut: int, tmp_path: Path) -> None:
    path = _made(tmp_path, _disk(), *options)
    os.truncate(path, path.stat().st_size - cut)
    assert "is cut off" in str(_refused(path))


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (0, "was not closed"),
        (1, "marked as corrupt"),
        (2, "another file"),
        (5, "not known here"),
        (63, "not known here"),
    ],
)
def test_features_that_make_it_useless(feature: int, words: str, tmp_path: Path) -> None:
    path = _made(tmp_path, _disk())
    _patch(path, 72, (1 << feature).to_bytes(8, "big"))
    assert words in str(_refused(path))


@pytest.mark.parametrize(
    ("offset", "content", "words"),
    [
        (4, (1).to_bytes(4, "big"), "the old format qcow"),
        (4, (4).to_bytes(4, "big"), "a version that is not known, 4"),
        (20, (8).to_bytes(4, "big"), "clusters of 2^8"),
        (20, (63).to_bytes(4, "big"), "clusters of 2^63"),
        (24, (0).to_bytes(8, "big"), "a disk of no size"),
        (24, (1 << 62).to_bytes(8, "big"), "first-level table"),
        (32, (2).to_bytes(4, "big"), "is encrypted"),
        (36, (1 << 31).to_bytes(4, "big"), "first-level table"),
        (36, (0).to_bytes(4, "big"), "first-level table"),
        (40, (1 << 60).to_bytes(8, "big"), "is cut off"),
        (40, (1).to_bytes(8, "big"), "begins inside a cluster"),
        (48, (1 << 60).to_bytes(8, "big"), "is cut off"),
    ],
)
def test_headers_that_no_qcow2_has(offset: int, content: bytes, words: str, tmp_path: Path) -> None:
    path = _made(tmp_path, _disk())
    _patch(path, offset, content)
    assert words in str(_refused(path))


def test_what_needs_another_file_is_refused(tmp_path: Path) -> None:
    base, path = _made(tmp_path, _disk()), tmp_path / "other.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    for options, words in (
        (["-b", str(base), "-F", "qcow2"], f"is an overlay of {base}"),
        (["-o", f"data_file={tmp_path}/outside.raw"], "keeps its data in another file"),
    ):
        size = [] if "-b" in options else ["1M"]
        subprocess.run([*create, *options, str(path), *size], check=True)
        assert words in str(_refused(path))


def test_a_name_in_the_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = _made(tmp_path, _disk())
    _patch(path, 8, (1 << 16).to_bytes(8, "big") + (5).to_bytes(4, "big"))
    _patch(path, 1 << 16, b"\x1b[2Jx")
    assert str(_refused(path)) == "is an overlay of ?[2Jx"


@pytest.mark.parametrize("options", [[], ["-c"], ["-o", "cluster_size=512"]], ids=" ".join)
def test_a_compressed_file_that_was_converted_as_if_it_were_a_disk(options: list[str], tmp_path: Path) -> None:
    path = _made(tmp_path, lzma.compress(_disk(1 << 17), preset=0), *options)
    error = _refused(path)
    assert "holds a file that is compressed with xz" in str(error)
    assert "xz -dc" in error.hint


def test_a_qcow2_inside_a_qcow2(tmp_path: Path) -> None:
    inner = _made(tmp_path, _disk(1 << 16)).read_bytes()
    assert "a qcow2 disk" in str(_refused(_made(tmp_path, inner)))


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "own.qcow2"
    path.write_bytes(lzma.compress(b"x"))
    assert str(_refused(path)) == "is compressed with xz, not in qcow2 format"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed", str(path), "1M"], check=True)
    assert "-f vpc" in _refused(path).hint  # what tells it is at the end
    path.write_bytes(b"")
    assert str(_refused(path)) == "is empty, not in qcow2 format"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        qcow2.check(tmp_path / "pipe")


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 110), changed=st.binary(min_size=1, max_size=12), cut=st.integers(0, 1 << 18))
def test_no_header_however_crafted_breaks_the_reader(
    at: int, changed: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    sound = folder / "own.qcow2"
    if not sound.exists():
        _made(folder, _disk())
    content = bytearray(sound.read_bytes())
    content[at : at + len(changed)] = changed
    path = folder / "crafted"
    path.write_bytes(content[: len(content) - cut])
    with contextlib.suppress(UnusableError):
        qcow2.check(path)
