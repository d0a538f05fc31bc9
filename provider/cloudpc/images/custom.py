"""Custom images: a qcow2 of one's own, by path or URL, used only if its SHA-256 is the one configured."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from cloudpc.images import commands, formats, qcow2, store
from cloudpc.images.commands import Note
from cloudpc.images.download import DownloadError, address, download
from cloudpc.images.entries import ImageEntry
from cloudpc.images.qcow2 import UnusableError
from cloudpc.images.sizes import disk_gib
from cloudpc.images.sources import Places, Tell, tell_missing
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import QCOW2, DiskImage, Firmware, ImageFile, UsedImage
from cloudpc.model.masking import masked_value
from cloudpc.model.text import with_hint

_DISK = "disk.qcow2"
_SECONDS_BETWEEN_NOTES = 2.0
_DAMAGES, _ROOM_WASTED = 2, 3
"""Exit codes of `qemu-img check`."""


class CustomImage(ImageEntry):
    """An entry of `cloudpc:images` that is a file."""

    NAMED_BY = ("path", "url")

    path: str | None = Field(default=None, min_length=1, description="A qcow2 file; relative to the stacks folder.")
    url: str | None = Field(
        default=None,
        description="Where to download the qcow2 from, once: http or https. User and password in it go to "
        "its own host alone, and are shown nowhere.",
    )
    sha256: str = Field(description="SHA-256 of the file, 64 hex digits; anything else is refused.")
    firmware: Firmware = Field(default="uefi", description="How the disk boots.")
    maximum_size_in_gb: int = Field(
        default=64, alias="maximumSizeInGB", ge=1, le=65536, description="Downloads that are larger are refused."
    )

    @field_validator("sha256")
    @classmethod
    def _hex(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValueError("must be 64 hex digits, as `sha256sum` prints them")
        return value.lower()

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address(value)
        if found := formats.of_name(_name(value)):
            raise ValueError(f"names a file that is {found.name}, no qcow2. {_remedy(found.remedy, _name(value))}")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> CustomImage:
        if (self.path is None) == (self.url is None):
            raise ValueError("needs exactly one of path and url")
        return self

    @property
    def signs_in(self) -> bool:
        """Whether its URL has a user or a password."""
        return self.url is not None and bool(address(self.url).userinfo)


def problems(image: CustomImage, base_folder: Path) -> list[str]:
    """What is wrong with an image as far as can be said at once: nothing is downloaded or hashed."""
    if image.path is None:
        return []
    path = base_folder / image.path
    try:
        _look_at(path, *store.stamp(path))
    except UnusableError as error:
        return [with_hint(f"{path} {error}", _remedy(error.hint, path.name))]
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return [f"{path} can't be read: {error.strerror if isinstance(error, OSError) else error}"]
    return []


def resolve(name: str, image: CustomImage, base_folder: Path, note: Note) -> DiskImage:
    """The image, verified: downloaded if it has to be, its SHA-256 and format checked.

    Args:
        name: its key in `cloudpc:images`.
        image: where it is and how it is used.
        base_folder: what a relative path is relative to.
        note: gets downloads and long checks.

    Raises:
        ProvisioningError: IMAGE_NOT_FOUND, IMAGE_INVALID; retriable only if the network failed.
    """
    disk = _local(name, image, base_folder / image.path, note) if image.path is not None else _cached(name, image, note)
    return DiskImage(
        image_id=name,
        digest=image.sha256,
        disk=disk,
        disk_gib=disk_gib(name, disk.path),
        firmware=image.firmware,
        minimum_memory_mib=image.minimum_memory_in_mb,
        guest_os=image.guest_os,
        has_desktop=image.has_desktop,
    )


class Files:
    """Implements cloudpc.images.sources.Source: the entries of `cloudpc:images` that are files."""

    image_type = "custom"
    kind = QCOW2
    entry = CustomImage

    def __init__(self, places: Places) -> None:
        self._images = places.custom
        self._folder = places.stacks

    def has(self, image_id: str) -> bool:
        """See Source."""
        return self._file(image_id) is not None

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        """See Source."""
        image = self._file(image_id)
        if image is None:
            tell_missing(self._images, image_id, CustomImage, tell)
            return None
        wrong = problems(image, self._folder)
        for message in wrong:
            tell(f"cloudpc:images.{image_id}", message, None)
        if wrong:
            return None
        return UsedImage(image.sha256, image.guest_os, image.minimum_memory_in_mb, has_desktop=image.has_desktop)

    def image(self, image_id: str, _digest: str, note: Note) -> DiskImage:
        """See Source."""
        if (image := self._file(image_id)) is None:
            message = f"The image {image_id} of cloudpc:images is no longer a file."
            raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False)
        return resolve(image_id, image, self._folder, note)

    def _file(self, image_id: str) -> CustomImage | None:
        image = self._images.get(image_id)
        return image if isinstance(image, CustomImage) else None


def _local(name: str, image: CustomImage, path: Path, note: Note) -> ImageFile:
    with _told(name, path, path.name):
        _look_at(path, *store.stamp(path))
        size = path.stat().st_size
        if not store.hash_is_known(path):
            note(f"checking {path.name}")
        found = store.known_hash(path)
        _check_hash(image.sha256, found)
        _check_with_qemu(path, *store.stamp(path))
        return ImageFile(path.resolve(), found, size)


def _cached(name: str, image: CustomImage, note: Note) -> ImageFile:
    images = store.Store(store.cache_root() / "images" / "custom")
    asked = time.monotonic()
    if (disk := _in_cache(image, images)) is None:
        with images.locked(image.sha256, note):
            disk = _in_cache(image, images) or _fetched(name, image, images, note, asked)
    return disk


def _in_cache(image: CustomImage, images: store.Store) -> ImageFile | None:
    """The image, if what the cache has under its hash has that hash: the entry's own list may say something else."""
    disk = (images.get(image.sha256) or {}).get(_DISK)
    if disk is None or disk.sha256 != image.sha256:
        return None
    try:
        if not _look_at(disk.path, *store.stamp(disk.path)):
            _check_with_qemu(disk.path, *store.stamp(disk.path))
    except (UnusableError, OSError):
        return None  # accepted by an older version, or damaged since: it is downloaded again, which shows
    return disk


_failures: dict[tuple[str | None, str], tuple[float, ProvisioningError]] = {}
"""When a download failed in this run, and how: hundreds of Cloud PCs may wait for the same one."""


def _fetched(name: str, image: CustomImage, images: store.Store, note: Note, asked: float) -> ImageFile:
    """Downloaded into the cache. Whoever has waited for another's download takes its failure as their own.

    Args:
        name: its key in `cloudpc:images`.
        image: what is wanted.
        images: the cache; the lock of this image is held.
        note: gets how far it is.
        asked: when it was asked for, by the monotonic clock.
    """
    key = (image.url, image.sha256)
    if known := _failures.get(key):
        failed, error = known
        if failed >= asked or not error.retriable:
            raise error
    try:
        with images.working_folder(image.sha256) as work:
            return images.put(image.sha256, _checked_download(name, image, work / "made", note))[_DISK]
    except ProvisioningError as failure:
        _failures[key] = (time.monotonic(), failure)
        raise


def _checked_download(name: str, image: CustomImage, made: Path, note: Note) -> Path:
    """The new folder `made` with the image in it."""
    made.mkdir()
    disk, url = made / _DISK, image.url or ""
    found = _download(name, image, disk, note)
    with _told(name, disk, masked_value(url), _name(url)):
        _look_at(disk, *store.stamp(disk))
        _check_hash(image.sha256, found)
        _check_with_qemu(disk, *store.stamp(disk))
    return made


def _download(name: str, image: CustomImage, path: Path, note: Note) -> str:
    """Write what is at the image's URL into a new file; its SHA-256."""
    url, writing = image.url or "", _Writing(name, path, note)
    try:
        with writing.file:
            download(url, image.maximum_size_in_gb << 30, writing.take)
    except DownloadError as error:
        message = f"Image {name} can't be downloaded from {masked_value(url)}: {error}."
        code = ErrorCode.IMAGE_NOT_FOUND
        raise ProvisioningError(code, message, retriable=error.retriable, hint=error.hint) from None
    except OSError as error:
        message = f"Image {name} can't be written to the cache: {error.strerror} ({store.cache_root()})."
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False) from None
    return writing.digest.hexdigest()


class _Writing:
    """Takes a download's pieces, and says how far it is."""

    def __init__(self, name: str, path: Path, note: Note) -> None:
        self.file = path.open("wb")
        self.digest = hashlib.sha256()
        self._name, self._folder, self._note = name, path.parent, note
        self._received, self._noted = 0, float("-inf")

    def take(self, piece: bytes, whole: int | None) -> None:
        if not self._received and whole is not None:
            self._check_room(whole)
        self.file.write(piece)
        self.digest.update(piece)
        self._received += len(piece)
        if time.monotonic() - self._noted >= _SECONDS_BETWEEN_NOTES:
            self._noted = time.monotonic()
            share = f"{100 * self._received // whole} %" if whole else f"{self._received >> 20} MiB"
            self._note(f"downloading {self._name} {share}")

    def _check_room(self, whole: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if whole > free:
            reason = f"it has {whole / 1024**3:.1f} GB, and {store.cache_root()} has room for {free / 1024**3:.1f} GB"
            raise DownloadError(reason, hint="Free room there, or let CLOUDPC_CACHE name another folder.")


def _name(url: str) -> str:
    """The name of the file at a URL."""
    return unquote(urlsplit(url).path).rpartition("/")[2] or "the file"


def _remedy(hint: str, name: str) -> str:
    return hint.replace("FILE", shlex.quote(name))


@contextlib.contextmanager
def _told(name: str, path: Path, source: str, file_name: str = "") -> Iterator[None]:
    """What is wrong with an image, as the error of whoever needs it: image, where it comes from, what to do."""
    try:
        yield
    except UnusableError as error:
        hint = _remedy(error.hint, file_name or source)
        message = f"Image {name}: {source} {error}."
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False, hint=hint) from None
    except OSError as error:
        message = f"Image {name}: {path} can't be read: {error.strerror}."
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False) from None


def _check_hash(wanted: str, found: str) -> None:
    if found != wanted:
        raise UnusableError(
            f"has the SHA-256 {found}, configured is {wanted}",
            "Either the file is damaged or not the one that was meant, or it is a new release: then check where it "
            "comes from and write its checksum into cloudpc:images.",
        )


@functools.cache
def _look_at(path: Path, *_stamp: int) -> bool:
    """Our own opinion, once for each file and not for each Cloud PC: see `qcow2.check`."""
    return qcow2.check(path)


@functools.cache
def _check_with_qemu(path: Path, *_stamp: int) -> None:
    """QEMU's own opinion. Comes last, since a crafted file could exploit qemu-img.

    Raises:
        UnusableError: it is damaged.
        ProvisioningError: it can't be asked.
    """
    ended = _asked("qemu-img", "check", "-q", "--force-share", "-f", "qcow2", str(path))
    if ended.returncode == _DAMAGES:
        raise UnusableError("is damaged: `qemu-img check` finds errors in it", qcow2.ANOTHER_COPY)
    if ended.returncode not in (0, _ROOM_WASTED):
        why = ended.stderr.strip() or "checking it took too much time or memory"
        raise UnusableError(f"is not a sound qcow2: {why}", qcow2.ANOTHER_COPY)
    if not _look_at(path, *_stamp):
        qcow2.check_start(_start(path))


def _start(path: Path) -> bytes:
    """What a guest finds first, as QEMU unpacks it. Raises as `_check_with_qemu`."""
    with path.open("rb") as file:
        length = min(qcow2.read_header(file).size, formats.HEAD)
    ended = _asked("qemu-io", "-r", "-U", "-f", "qcow2", "-c", f"read -v 0 {length}", str(path))
    # a line for each 16 bytes: address, bytes in hex, two blanks, the same as text
    lines = re.findall(r"^[0-9a-f]{8}:  ((?:[0-9a-f]{2} )+)", ended.stdout, re.MULTILINE)
    found = bytes.fromhex("".join(lines))
    if ended.returncode or len(found) < length:
        why = (ended.stderr or ended.stdout).strip() or "reading it took too much time or memory"
        raise UnusableError(f"is damaged where its disk begins: {why}", qcow2.ANOTHER_COPY)
    return found


def _asked(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return commands.run_limited(argv)
    except FileNotFoundError as error:
        message = f"Images can't be checked: {error.filename} is not installed here."
        hint = "sudo apt-get install qemu-utils util-linux coreutils"
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False, hint=hint) from None
