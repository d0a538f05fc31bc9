"""A tar archive becomes a qcow2 disk with one ext4 file system, byte for byte the same each time, without root.

ext4 and not ext2, because Cloud PCs live for years: a journal, and times after 2038. mke2fs fills a file system from a
folder without mounting it, but e2fsprogs before 1.47.1 takes the change and access times from this machine's own disk;
one debugfs script over all files puts them right afterwards.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cloudpc.images import commands
from cloudpc.images.commands import Note

_UUID = "6d1f3c1e-5a52-4a0b-8d0e-5f7c1c0d9a01"
_HASH_SEED = "0b6a5a8e-3f0b-4f4e-9d6f-0a4f5b7c2e02"
LABEL = "cloudpc-root"
# Named one by one, so that the host's own mke2fs.conf and version decide nothing.
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum"
)
_MKE2FS_CONF = """
[fs_types]
ext4 = {
    inode_ratio = 16384
}
small = {
    inode_ratio = 16384
}
"""
# $1 folder, $2 a file for the names of all that is in it, then the file system's maker with its arguments; the archive
# comes by standard input. Device nodes are left out: no user namespace may make them, and the kernel makes them.
_POPULATE = """
folder=$1 names=$2; shift 2
mkdir "$folder"
trap 'rm -rf "$folder"' EXIT
tar --extract --file=- --directory="$folder" --numeric-owner --same-permissions --exclude='./dev/*'
(cd "$folder" && find . -mindepth 1 -print0) >"$names"
"$@"
"""
# $1 what reads it, as a line of shell, then the archive's writer with its arguments: side by side, and it has failed if
# one of them has. What the writer says goes where all does, to this shell's standard output. An interrupt reaches both
# by themselves; the shells wait until the writer has cleaned up.
_PIPED = """
reader=$1; shift
exec 3>&1
trap : INT
status=$(
    trap : INT
    { { trap : INT; "$@" 2>&3 3>&- 4>&- && echo 0 >&4 || echo $? >&4; } | sh -c "$reader" >&3 2>&1 3>&- 4>&-; } 4>&1
)
exit "$status"
"""


def make_disk(
    writer: Sequence[str], disk: Path, *, size_mib: int, journal_mib: int, epoch: int, on_line: Note,
    stdin: str | None = None, env: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write the qcow2 `disk` with the files of an archive. Temporary files are made beside it.

    Args:
        writer: a program that writes the archive to its standard output. What it still has to clean up after that goes
            on beside the making of the file system.
        disk: the file.
        size_mib: of the disk.
        journal_mib: of the file system's journal.
        epoch: of all times that nobody has set.
        on_line: told what programs say.
        stdin: for the writer.
        env: for the writer.

    Raises:
        ToolError: a program failed, for example because the files need more room than `size_mib`.
    """
    raw, folder, script = disk.with_suffix(".raw"), disk.with_suffix(".tree"), disk.with_suffix(".debugfs")
    config, names = disk.with_suffix(".mke2fs.conf"), disk.with_suffix(".names")
    fixed = {"E2FSPROGS_FAKE_TIME": str(epoch), "SOURCE_DATE_EPOCH": str(epoch), "MKE2FS_CONFIG": str(config)}
    config.write_text(_MKE2FS_CONF, "ascii")
    make = [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1"),
        *("-O", _FEATURES, "-J", f"size={journal_mib}", "-L", LABEL, "-U", _UUID, "-e", "remount-ro"),
        # No lazy initialisation: the first boot would write the inode tables into every overlay.
        *("-E", f"hash_seed={_HASH_SEED},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard"),
        *("-d", str(folder), str(raw), f"{size_mib}M"),
    ]
    populate = ["sh", "-euc", _POPULATE, "populate", str(folder), str(names), *make]
    reader = ["env", *(f"{name}={value}" for name, value in fixed.items()), *commands.as_root(), *populate]
    piped = ["sh", "-euc", _PIPED, "piped", shlex.join(reader), *writer]
    commands.run(piped, stdin=stdin, env=env, on_line=on_line)
    on_line("I: finishing the disk...")
    script.write_bytes(b"\n".join(_times(names, epoch)) + b"\n")
    _set_times(raw, script, fixed)
    commands.run(["e2fsck", "-f", "-n", str(raw)], env=fixed, on_line=on_line)
    # Compressed: a third of the size to upload and cache; boots were measured to take as long as from a plain one.
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    commands.run([*convert, str(raw), str(disk)], on_line=on_line)
    for path in (raw, script, config, names):
        path.unlink()


def _set_times(raw: Path, script: Path, env: dict[str, str]) -> None:
    """Run the script; debugfs ends with status 0 even if a command of it fails, but it says so."""
    said: list[str] = []
    commands.run(["debugfs", "-w", "-f", str(script), str(raw)], env=env, on_line=said.append)
    if failed := [line for line in said if not line.startswith(("debugfs:", "debugfs "))]:
        raise commands.ToolError("debugfs", 1, failed)


def _times(names: Path, epoch: int) -> Iterator[bytes]:
    """Commands for debugfs that set the times which tar and mke2fs took from this machine."""
    found = [name.removeprefix(b".") for name in names.read_bytes().split(b"\0") if name]
    for name in sorted([b"/", *found]):
        quoted = name.replace(b'"', b'""')
        for field in (b"ctime", b"atime"):
            yield b'set_inode_field "%s" %s @%d' % (quoted, field, epoch)
