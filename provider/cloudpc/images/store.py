"""Where images are cached on this machine: read-only files with checksums, whole or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from cloudpc.files import folders
from cloudpc.images import commands
from cloudpc.images.commands import Note
from cloudpc.model.image import ImageFile

_MANIFEST = "image.json"
_VERIFIED = "verified.json"
_WORK_PREFIX = ".work-"


def cache_root() -> Path:
    """The folder of all caches: $CLOUDPC_CACHE, or the user's cache folder."""
    override = os.environ.get(folders.CACHE)
    return Path(os.path.expanduser(override)).absolute() if override else folders.cache()  # noqa: PTH111 - never raises


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_is_known(path: Path) -> bool:
    """Whether `known_hash` answers at once. Raises OSError."""
    return _known(path) is not None


def known_hash(path: Path) -> str:
    """SHA-256 of a file outside the cache, remembered until its size or time changes. Raises OSError."""
    if known := _known(path):
        return known
    at, found = stamp(path), hash_file(path)
    record = _record(path)
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        _write_json(record, {"path": str(path.resolve()), "stamp": at, "sha256": found})
    return found


def _known(path: Path) -> str | None:
    record = _read_json(_record(path))
    return str(record["sha256"]) if isinstance(record, dict) and record.get("stamp") == stamp(path) else None


def _record(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return cache_root() / "images" / "hashes" / f"{name[:32]}.json"


class Store:
    """A folder with one entry per key; an entry is a set of named files that never change.

    Args:
        folder: made when the first entry is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, *, verify: bool = False) -> dict[str, ImageFile] | None:
        """The files of an entry, or None if it is not there or damaged.

        Files are hashed again with `verify`, or when size or time differ from when they were last hashed.
        """
        entry = self.folder / key
        try:
            manifest = json.loads((entry / _MANIFEST).read_text("utf-8"))
            files = {
                name: ImageFile(entry / name, str(item["sha256"]), int(item["size"]))
                for name, item in manifest["files"].items()
            }
            stamps = {name: stamp(file.path) for name, file in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if not verify and stamps == _read_json(entry / _VERIFIED):
            return files
        if not all(_is_intact(file) for file in files.values()):
            return None
        with contextlib.suppress(OSError):  # a cache that can't be written is only slower
            _write_json(entry / _VERIFIED, stamps)
        return files

    @contextlib.contextmanager
    def locked(self, name: str, note: Note) -> Iterator[None]:
        """Hold the lock of that name over all processes, so that nothing is made twice at the same time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".lock-{name}").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note("waiting for another process that is making it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def working_folder(self, name: str) -> Iterator[Path]:
        """A temporary folder in the store, removed however the block ends. Use it with the lock of `name` held.

        What a killed process left under the same name goes first.
        """
        for left in self.folder.glob(f"{_WORK_PREFIX}{name}-*"):
            if left.name.rpartition("-")[0] == f"{_WORK_PREFIX}{name}":  # debian-12-desktop may be at work
                _remove(left)
        folder = Path(tempfile.mkdtemp(prefix=f"{_WORK_PREFIX}{name}-", dir=self.folder))
        try:
            yield folder
        finally:
            _remove(folder)

    def put(self, key: str, made: Path) -> dict[str, ImageFile]:
        """Take over a folder of finished files as the entry `key`: read-only, with checksums, in one rename.

        Args:
            key: of the entry; an old one of the same key is replaced.
            made: inside a working folder of this store.
        """
        entry = self.folder / key
        files: dict[str, dict[str, str | int]] = {}
        for path in sorted(made.iterdir()):
            path.chmod(0o444)
            files[path.name] = {"sha256": hash_file(path), "size": path.stat().st_size}
        stamps = {name: stamp(made / name) for name in files}
        _write_json(made / _MANIFEST, {"files": files})
        _write_json(made / _VERIFIED, stamps)
        made.chmod(0o755)
        if entry.exists():  # out of the way first, into the working folder, which is removed afterwards
            entry.rename(made.with_name("replaced"))
        made.rename(entry)
        return {name: ImageFile(entry / name, str(item["sha256"]), int(item["size"])) for name, item in files.items()}


def stamp(path: Path) -> list[int]:
    """By which a file is known not to have been written since."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]  # a copy may have any size and time of change


def _is_intact(file: ImageFile) -> bool:
    """Whether it is what its manifest says; one that another process replaces in this moment is not."""
    try:
        return file.path.stat().st_size == file.size and hash_file(file.path) == file.sha256
    except OSError:
        return False


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")  # several may write the same at once
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")
    temporary.replace(path)


def _remove(folder: Path) -> None:
    """Remove a folder; what belongs to a user namespace's users is removed from inside one."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        commands.run([*commands.as_root(), "rm", "-rf", "--", str(folder)])
