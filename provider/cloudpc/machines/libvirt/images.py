"""Base images on a host: uploaded once, verified on the way, complete only when their marker is there.

A base is a set of volumes `cloudpc-image-<digest>-<nonce>-<name>.{qcow2,kernel,initrd}`; the marker `….complete` is
made last, so that an interrupted upload is never booted from. By the name, which is the image's as a hash, older
builds of the same image are known: they are removed when nothing is based on them any longer.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloudpc.machines.libvirt import disks, pools
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.shared_volumes import IMAGE_PREFIX
from cloudpc.machines.libvirt.storage import Pool, file_chunks, raw_volume_xml
from cloudpc.model.digest import digest
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage, ImageFile, unreadable
from cloudpc.model.watch import Watch

log = logging.getLogger(__name__)

_MARKER = ".complete"
_UPLOAD_LOCK_TIMEOUT = 3600.0
_NOTE_EVERY = 1.0


@dataclass(frozen=True)
class BaseImage:
    """Paths, on the host, of an image's files."""

    disk: str
    kernel: str | None
    initrd: str | None


class ImageStore:
    """The base images in one pool."""

    def __init__(self, pool: Pool, locks: HostLocks) -> None:
        self._pool = pool
        self._locks = locks
        self._tidied: set[str] = set()

    def ensure(self, image: DiskImage, watch: Watch) -> None:
        """Upload the image unless it is there. Costs one question to libvirt if it is.

        Raises:
            ProvisioningError: IMAGE_INVALID (its files aren't what they were), IMAGE_UPLOAD_FAILED.
        """
        pool = self._pool.open()
        with classified(f"look for the image {image.image_id}", ErrorCode.IMAGE_UPLOAD_FAILED):
            is_there = self._stem(pool, image) is not None
        if image.digest not in self._tidied:
            self._tidied.add(image.digest)
            self._tidy(image)
        if is_there:
            return
        purpose = f"image-{image.digest[:16]}"
        with (
            self._locks.hold(purpose, timeout=_UPLOAD_LOCK_TIMEOUT, cancel=watch.cancel),
            classified(f"upload the image {image.image_id}", ErrorCode.IMAGE_UPLOAD_FAILED, takes_its_time=True),
        ):
            if self._stem(pool, image) is None:
                self._upload(pool, image, watch)

    def locate(self, image: DiskImage) -> BaseImage:
        """Where the host has the image's files.

        Raises:
            ProvisioningError: IMAGE_NOT_FOUND, if `ensure` was not called or somebody removed them since.
        """
        pool = self._pool.open()
        with classified(f"look for the image {image.image_id}", ErrorCode.IMAGE_NOT_FOUND):
            stem = self._stem(pool, image)
            if stem is None:
                raise ProvisioningError(
                    ErrorCode.IMAGE_NOT_FOUND, f"The image {image.image_id} is no longer on the host."
                )
            paths = {suffix: pool.storageVolLookupByName(stem + suffix).path() for suffix, _file in _files(image)}
        return BaseImage(paths[".qcow2"], paths.get(".kernel"), paths.get(".initrd"))

    def _stem(self, pool: Any, image: DiskImage) -> str | None:
        names = set(self._pool.names(pool))
        prefix = f"{IMAGE_PREFIX}{image.digest[:16]}-"
        for name in sorted(names):
            if name.startswith(prefix) and name.endswith(_MARKER):
                stem = name.removesuffix(_MARKER)
                if all(stem + suffix in names for suffix, _file in _files(image)):
                    return stem
        return None

    def _tidy(self, image: DiskImage) -> None:
        """The same, but a failure does not keep a machine from being made."""
        try:
            self.tidy(image)
        except ProvisioningError as error:
            log.info("older builds of %s stay for now: %s", image.image_id, error.message)

    def tidy(self, image: DiskImage) -> None:
        """Remove what this user uploaded here of other builds of the image, if nothing is based on it any longer.

        Whoever is about to make a machine of one uploads it again.
        """
        pool = self._pool.open()
        with classified(f"look for older builds of {image.image_id}", ErrorCode.DISK_FAILED):
            older = self._older(pool, image)
            if not older:
                return
            self._remove_unneeded(pool, _by_set(older))

    def old(self) -> list[str]:
        """Sets from before names said of which image, uploaded by this user here, on which nothing is based.

        `tidy` does not know of what they are builds, so that they would stay for ever.
        """
        pool = self._pool.existing()
        if pool is None:
            return []
        with classified("look for old images", ErrorCode.DISK_FAILED):
            self._pool.look_again(pool)
            sets = self._old_sets(pool)
            return sorted(sets.keys() - self._needed(pool, sets))

    def discard_old(self, stems: Collection[str]) -> list[str]:
        """Remove these, as far as they are still such ones; returns which are gone."""
        pool = self._pool.existing()
        if pool is None or not stems:
            return []
        with classified("remove old images", ErrorCode.DISK_FAILED):
            self._pool.look_again(pool)
            return self._remove_unneeded(
                pool, {stem: names for stem, names in self._old_sets(pool).items() if stem in stems}
            )

    def _old_sets(self, pool: Any) -> dict[str, list[str]]:
        """Names of the volumes of each complete one."""
        form = re.compile(rf"{IMAGE_PREFIX}[0-9a-f]{{16}}-{re.escape(self._locks.scope)}[0-9a-f]{{6}}")
        sets = _by_set(name for name in self._pool.names(pool) if form.fullmatch(_set_of(name)))
        return {stem: names for stem, names in sets.items() if stem + _MARKER in names}

    def _remove_unneeded(self, pool: Any, sets: Mapping[str, list[str]]) -> list[str]:
        """Remove those on which nothing is based; returns which are gone.

        Nobody makes a disk on one without its marker, which goes first; who has made one meanwhile keeps it. One that
        is needed at the first look is not touched, so that it has its marker whatever ends us.
        """
        unneeded = sets.keys() - self._needed(pool, sets)
        self._pool.delete(pool, [stem + _MARKER for stem in sorted(unneeded)])
        try:
            needed = self._needed(pool, {stem: sets[stem] for stem in unneeded})
        except BaseException:
            self._mark(pool, unneeded)
            raise
        self._mark(pool, needed)
        gone = sorted(unneeded - needed)
        self._pool.delete(pool, [name for stem in gone for name in sets[stem] if not name.endswith(_MARKER)])
        return gone

    def _needed(self, pool: Any, sets: Mapping[str, Collection[str]]) -> set[str]:
        """Those of which a disk, a template or a domain needs a file."""
        if not sets:
            return set()
        names = [name for its in sets.values() for name in its]
        paths = {name: pools.path_of(pool, name) for name in names}
        needed = disks.needed_in(pool.connect(), pool, [path for path in paths.values() if path])
        return {_set_of(name) for name, path in paths.items() if path in needed}

    def _mark(self, pool: Any, stems: Iterable[str]) -> None:
        for stem in stems:
            self._pool.create(pool, raw_volume_xml(stem + _MARKER, 0, "0644"), stem + _MARKER)

    def _older(self, pool: Any, image: DiskImage) -> list[str]:
        names = [name for name in self._pool.names(pool) if name.startswith(IMAGE_PREFIX)]
        whole = {_set_of(name) for name in names if name.endswith(_MARKER)}
        return [name for name in names if _set_of(name) in whole and self._is_older(_set_of(name), image)]

    def _is_older(self, stem: str, image: DiskImage) -> bool:
        build, _, rest = stem.removeprefix(IMAGE_PREFIX).partition("-")
        mine = rest.startswith(self._locks.scope) and rest.endswith(f"-{_name_of(image)}")
        return mine and build != image.digest[:16]

    def _upload(self, pool: Any, image: DiskImage, watch: Watch) -> None:
        # What an interrupted upload of ours left. Those of other clients of the host may be under way. One that was
        # complete is not touched, even if a part of it is gone: overlays may need the rest. Nor is one that lost its
        # marker when it was about to be removed, and something was based on it just then.
        mine = f"{IMAGE_PREFIX}{image.digest[:16]}-{self._locks.scope}"
        sets = _by_set(name for name in self._pool.names(pool) if name.startswith(mine))
        left = {stem: names for stem, names in sets.items() if stem + _MARKER not in names}
        needed = self._needed(pool, left)
        self._pool.delete(pool, [name for stem, names in left.items() if stem not in needed for name in names])
        stem = f"{mine}{secrets.token_hex(3)}-{_name_of(image)}"
        told = _Progress(image, watch)
        for suffix, file in _files(image):
            size = _size(image, file)
            volume = self._pool.create(pool, raw_volume_xml(stem + suffix, size, "0644"), stem + suffix)
            try:
                self._pool.upload(volume, size, _verified(image, file, told.more, watch))
            except BaseException:
                self._pool.delete(pool, [stem + suffix])
                raise
        self._pool.create(pool, raw_volume_xml(stem + _MARKER, 0, "0644"), stem + _MARKER)


def _set_of(volume: str) -> str:
    return volume.rpartition(".")[0]


def _by_set(volumes: Iterable[str]) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for name in volumes:
        sets.setdefault(_set_of(name), []).append(name)
    return sets


def _name_of(image: DiskImage) -> str:
    return digest(image.image_id).hex()[:8]


def _files(image: DiskImage) -> Iterator[tuple[str, ImageFile]]:
    yield ".qcow2", image.disk
    if image.kernel is not None:
        yield ".kernel", image.kernel
        if image.initrd is not None:
            yield ".initrd", image.initrd


def _size(image: DiskImage, file: ImageFile) -> int:
    try:
        size = file.path.stat().st_size
    except OSError as error:
        raise unreadable(image.image_id, file.path, error) from error
    if size != file.size:
        raise _changed(image, file)
    return size


def _verified(image: DiskImage, file: ImageFile, more: Callable[[int], None], watch: Watch) -> Iterator[bytes]:
    """The file's pieces; raises at its end if they weren't what the image says, before the upload is accepted."""
    sha256 = hashlib.sha256()
    try:
        for chunk in file_chunks(file.path):
            watch.check()
            sha256.update(chunk)
            yield chunk
            more(len(chunk))
    except OSError as error:
        raise unreadable(image.image_id, file.path, error) from error
    if sha256.hexdigest() != file.sha256.lower():
        raise _changed(image, file)


def _changed(image: DiskImage, file: ImageFile) -> ProvisioningError:
    return ProvisioningError(
        ErrorCode.IMAGE_INVALID,
        f"{file.path} of the image {image.image_id} is not the file that was verified: size or SHA-256 differ.",
        retriable=False,
        hint="Build or download the image again.",
    )


class _Progress:
    """Says how far the upload is, at most once a second."""

    def __init__(self, image: DiskImage, watch: Watch) -> None:
        self._image = image
        self._watch = watch
        self._total = max(1, sum(file.size for _suffix, file in _files(image)))
        self._sent = 0
        self._said = float("-inf")

    def more(self, count: int) -> None:
        self._sent += count
        if time.monotonic() - self._said >= _NOTE_EVERY:
            self._said = time.monotonic()
            self._watch.note(f"uploading {self._image.image_id} {100 * self._sent // self._total} %")
