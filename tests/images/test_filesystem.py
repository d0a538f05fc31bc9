from __future__ import annotations

import io
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from cloudpc.images import commands, filesystem
from cloudpc.images.commands import ToolError

EPOCH = 1735689600
NAMES = ["plain", "with space", 'with "quotes"', "with 'quotes'", "back\\slash", "ümlaut", "-dash", "a&b;c$d(e)"]


def archive(path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("./folder one")
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o750, EPOCH - 1000
        tar.addfile(folder)
        for number, name in enumerate(NAMES):
            entry = tarfile.TarInfo(f"./folder one/{name}")
            entry.uid, entry.gid, entry.mode, entry.mtime, entry.size = 1000, 100, 0o4755, EPOCH - number, 5
            tar.addfile(entry, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("./link")
        link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "folder one/plain", EPOCH
        tar.addfile(link)
        device = tarfile.TarInfo("./dev/null")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(device)
    return path


def make(tar: Path, disk: Path, size: int = 32) -> Path:
    disk.parent.mkdir()
    filesystem.make_disk(["cat", str(tar)], disk, size_mib=size, journal_mib=4, epoch=EPOCH, on_line=lambda line: None)
    return disk


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    tar = archive(tmp_path / "a.tar")
    first = make(tar, tmp_path / "one" / "disk.qcow2")
    time.sleep(1.1)  # times on disks are in seconds
    second = make(tar, tmp_path / "two" / "disk.qcow2")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["disk.qcow2"]


def test_files_keep_owner_mode_time_and_content(tmp_path: Path) -> None:
    disk = make(archive(tmp_path / "a.tar"), tmp_path / "one" / "disk.qcow2")
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(disk), str(raw)], check=True)

    def ask(request: str) -> str:
        argv = ["debugfs", "-R", request, str(raw)]
        return subprocess.run(argv, env=commands.environment(), capture_output=True, text=True, check=True).stdout

    for name in NAMES:
        quoted = name.replace('"', '""')
        assert "hello" in ask(f'cat "/folder one/{quoted}"')
        described = ask(f'stat "/folder one/{quoted}"')
        assert "Mode:  04755" in described
        assert "User:  1000   Group:   100" in described
        for kind in ("ctime", "atime", "crtime"):
            assert f"{kind}: 0x{EPOCH:08x}:00000000" in described
    features = ask("features")
    for feature in ("has_journal", "extent", "metadata_csum", "resize_inode"):
        assert feature in features
    assert "extra_isize" in features  # inodes of 256 bytes: times beyond 2038
    assert "null" not in ask("ls /dev")


def test_too_many_files_for_the_disk_are_an_error(tmp_path: Path) -> None:
    tar = tmp_path / "big.tar"
    with tarfile.open(tar, "w") as file:
        entry = tarfile.TarInfo("./big")
        entry.size = 40 << 20
        file.addfile(entry, io.BytesIO(b"x" * entry.size))
    with pytest.raises(ToolError) as caught:
        make(tar, tmp_path / "one" / "disk.qcow2")
    assert "Could not allocate block" in "\n".join(caught.value.lines)


_CLEANS_UP = """
trap 'sleep 0.5; echo cleaned >"$1"; exit 1' INT
echo begun >&2
while :; do sleep 0.1; done
"""


def test_an_interrupted_writer_has_cleaned_up_before_the_interrupt_goes_on(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt(line)

    (tmp_path / "one").mkdir()
    writer = ["sh", "-c", _CLEANS_UP, "writer", str(tmp_path / "cleaned")]
    with pytest.raises(KeyboardInterrupt):
        filesystem.make_disk(
            writer, tmp_path / "one" / "disk.qcow2", size_mib=32, journal_mib=4, epoch=EPOCH, on_line=interrupt
        )
    assert (tmp_path / "cleaned").exists()


def test_a_writer_that_fails_before_it_has_written_makes_no_disk(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    disk = tmp_path / "one" / "disk.qcow2"
    said: list[str] = []
    with pytest.raises(ToolError) as raised:
        filesystem.make_disk(
            ["sh", "-c", "echo E: no mirror >&2; exit 25"], disk, size_mib=32, journal_mib=4, epoch=EPOCH,
            on_line=said.append,
        )  # fmt: skip
    assert "E: no mirror" in said
    assert "E: no mirror" in raised.value.lines
    assert not disk.exists()
