"""A tar archive becomes a qcow2 disk with one ext4 file system, byte for byte the same each time, without root.

ext4 and not ext2, because Cloud PCs live for years: a journal, and times after 2038. mke2fs fills a file system from a
folder without mounting it, but e2fsprogs before 1.47.1 takes the change and access times from this machine's own disk;
one debugfs script over all files puts them right afterwards.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
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
# $1 archive, $2 folder, then the file system's maker with its arguments. Device nodes are left out: no user namespace
# may make them, and the guest's kernel fills /dev anyway.
_POPULATE = """
archive=$1 folder=$2; shift 2
mkdir "$folder"
trap 'rm -rf "$folder"' EXIT
tar --extract --file="$archive" --directory="$folder" --numeric-owner --same-permissions --exclude='./dev/*'
"$@"
"""


def make_disk(archive: Path, disk: Path, *, size_mib: int, journal_mib: int, epoch: int, on_line: Note) -> None:
    """Write the qcow2 `disk` with the files of `archive`. Temporary files are made beside it.

    Raises:
        ToolError: a program failed, for example because the files need more room than `size_mib`.
    """
    raw, folder, script = disk.with_suffix(".raw"), disk.with_suffix(".tree"), disk.with_suffix(".debugfs")
    config = disk.with_suffix(".mke2fs.conf")
    env = {"E2FSPROGS_FAKE_TIME": str(epoch), "SOURCE_DATE_EPOCH": str(epoch), "MKE2FS_CONFIG": str(config)}
    config.write_text(_MKE2FS_CONF, "ascii")
    script.write_text("\n".join(_times(archive, epoch)) + "\n", "utf-8")
    make = [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1"),
        *("-O", _FEATURES, "-J", f"size={journal_mib}", "-L", LABEL, "-U", _UUID, "-e", "remount-ro"),
        # No lazy initialisation: the first boot would write the inode tables into every overlay.
        *("-E", f"hash_seed={_HASH_SEED},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard"),
        *("-d", str(folder), str(raw), f"{size_mib}M"),
    ]
    populate = ["sh", "-euc", _POPULATE, "populate", str(archive), str(folder), *make]
    commands.run([*commands.as_root(), *populate], env=env, on_line=on_line)
    _set_times(raw, script, env)
    commands.run(["e2fsck", "-f", "-n", str(raw)], env=env, on_line=on_line)
    # Compressed: a third of the size to upload and cache; boots were measured to take as long as from a plain one.
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    commands.run([*convert, str(raw), str(disk)], on_line=on_line)
    for path in (raw, script, config):
        path.unlink()


def _set_times(raw: Path, script: Path, env: dict[str, str]) -> None:
    """Run the script; debugfs ends with status 0 even if a command of it fails, but it says so."""
    said: list[str] = []
    commands.run(["debugfs", "-w", "-f", str(script), str(raw)], env=env, on_line=said.append)
    if failed := [line for line in said if not line.startswith(("debugfs:", "debugfs "))]:
        raise commands.ToolError("debugfs", 1, failed)


def _times(archive: Path, epoch: int) -> Iterator[str]:
    """Commands for debugfs that set the times which tar and mke2fs took from this machine."""
    names = {"/"}
    with tarfile.open(archive) as tar:
        names.update("/" + member.name.removeprefix("./") for member in tar if not member.name.startswith("./dev/"))
    for name in sorted(names - {"/."}):
        quoted = name.replace('"', '""')
        for field in ("ctime", "atime"):
            yield f'set_inode_field "{quoted}" {field} @{epoch}'
