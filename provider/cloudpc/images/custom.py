"""Custom images: a qcow2 of one's own, by path or URL, used only if its SHA-256 is the one configured."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NoReturn
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cloudpc.images import commands, store
from cloudpc.images.commands import Note
from cloudpc.images.image import Firmware, Image, ImageFile
from cloudpc.provisioning.errors import ErrorCode, ProvisioningError

_MAGIC = b"QFI\xfb"
_DISK = "disk.qcow2"
_SECONDS_WITHOUT_DATA = 60
_SECONDS_BETWEEN_NOTES = 2.0
_BLOCK = 1 << 20


class CustomImage(BaseModel):
    """An entry of `cloudpc:images`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    path: str | None = Field(default=None, min_length=1, description="A qcow2 file; relative to the stacks folder.")
    url: str | None = Field(default=None, description="Where to download the qcow2 from, once: http or https.")
    sha256: str = Field(description="SHA-256 of the file, 64 hex digits; anything else is refused.")
    firmware: Firmware = Field(default="uefi", description="How the disk boots.")
    minimum_memory_in_mb: int = Field(
        default=512, alias="minimumMemoryInMB", ge=64, description="Service plans with less memory are refused."
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
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must be an http or https URL")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> CustomImage:
        if (self.path is None) == (self.url is None):
            raise ValueError("needs exactly one of path and url")
        return self


def problems(image: CustomImage, base_folder: Path) -> list[str]:
    """What is wrong with an image as far as can be said at once: nothing is downloaded or hashed."""
    if image.path is None:
        return []
    path = base_folder / image.path
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        return [f"{path} can't be read: {error.strerror}"]
    return [] if magic == _MAGIC else [f"{path} is not in qcow2 format; `qemu-img convert -O qcow2` makes it so"]


def resolve(name: str, image: CustomImage, base_folder: Path, note: Note) -> Image:
    """The image, verified: downloaded if it has to be, its SHA-256 and format checked.

    Args:
        name: its key in `cloudpc:images`.
        image: where it is and how it is used.
        base_folder: what a relative path is relative to.
        note: told about downloads and long checks.

    Raises:
        ProvisioningError: IMAGE_NOT_FOUND, IMAGE_INVALID; retriable only if the network failed.
    """
    disk = _local(name, image, base_folder / image.path, note) if image.path is not None else _cached(name, image, note)
    return Image(
        image_id=name,
        digest=image.sha256,
        disk=disk,
        firmware=image.firmware,
        minimum_memory_mib=image.minimum_memory_in_mb,
    )


def _local(name: str, image: CustomImage, path: Path, note: Note) -> ImageFile:
    try:
        size = path.stat().st_size
        if not store.hash_is_known(path):
            note(f"checking {path.name}")
        found = store.known_hash(path)
    except OSError as error:
        message = f"Image {name}: {path} can't be read: {error.strerror}."
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False) from None
    _check_hash(name, str(path), image.sha256, found)
    _check_format(name, path)
    return ImageFile(path.resolve(), found, size)


def _cached(name: str, image: CustomImage, note: Note) -> ImageFile:
    images = store.Store(store.cache_root() / "images" / "custom")
    if files := images.get(image.sha256):
        return files[_DISK]
    with images.locked(image.sha256, note):
        if files := images.get(image.sha256):
            return files[_DISK]
        with images.working_folder(image.sha256) as work:
            made = work / "made"
            made.mkdir()
            url = image.url or ""
            with (made / _DISK).open("wb") as file:
                found = _download(name, url, file, note)
            _check_hash(name, _shown(url), image.sha256, found)
            _check_format(name, made / _DISK)
            return images.put(image.sha256, made)[_DISK]


def _download(name: str, url: str, file: BinaryIO, note: Note) -> str:
    """Write what is at the URL into `file`; its SHA-256."""
    digest, received, noted = hashlib.sha256(), 0, 0.0
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS_WITHOUT_DATA) as response:  # noqa: S310 - http(s), checked
            total = int(response.headers.get("Content-Length") or 0)
            while block := response.read(_BLOCK):
                file.write(block)
                digest.update(block)
                received += len(block)
                if time.monotonic() - noted >= _SECONDS_BETWEEN_NOTES:
                    noted = time.monotonic()
                    share = f"{100 * received // total} %" if total else f"{received >> 20} MiB"
                    note(f"downloading {name} {share}")
    except urllib.error.HTTPError as error:
        retriable = error.code >= 500 or error.code == 429
        _not_downloaded(name, url, f"the server answers {error.code} {error.reason}", retriable=retriable)
    except urllib.error.URLError as error:
        _not_downloaded(name, url, str(error.reason), retriable=True)
    except (HTTPException, TimeoutError, ConnectionError) as error:
        _not_downloaded(name, url, str(error) or type(error).__name__, retriable=True)
    except OSError as error:
        message = f"Image {name} can't be written to the cache: {error.strerror} ({store.cache_root()})."
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False) from None
    if total and received != total:
        _not_downloaded(name, url, f"it ended after {received} of {total} bytes", retriable=True)
    return digest.hexdigest()


def _not_downloaded(name: str, url: str, reason: str, *, retriable: bool) -> NoReturn:
    message = f"Image {name} can't be downloaded from {_shown(url)}: {reason}."
    raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=retriable) from None


def _shown(url: str) -> str:
    """The URL without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _check_hash(name: str, source: str, wanted: str, found: str) -> None:
    if found != wanted:
        raise ProvisioningError(
            ErrorCode.IMAGE_INVALID,
            f"Image {name}: {source} has the SHA-256 {found}, configured is {wanted}.",
            retriable=False,
            hint="Either the file is damaged or not the one that was meant, or it is a new release: then check where "
            "it comes from and write its checksum into cloudpc:images.",
        )


def _check_format(name: str, path: Path) -> None:
    """A qcow2 that stands alone: others would make the hypervisor read further files, named by the image."""

    def refuse(reason: str, hint: str = "") -> NoReturn:
        message = f"Image {name}: {path.name} {reason}."
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False, hint=hint)

    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            refuse("is not in qcow2 format", "Convert it: qemu-img convert -O qcow2 OLD NEW")
    info = ["qemu-img", "info", "--force-share", "--format", "qcow2", "--output", "json", str(path)]
    try:
        ended = subprocess.run(info, env=commands.environment(), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        message = f"Image {name} can't be checked: qemu-img is not installed here."
        hint = "sudo apt-get install qemu-utils"
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False, hint=hint) from None
    if ended.returncode:
        refuse(f"is no sound qcow2: {ended.stderr.strip()}")
    described = json.loads(ended.stdout)
    specific = described.get("format-specific", {}).get("data", {})
    if backing := described.get("backing-filename"):
        refuse(f"is an overlay of {backing}", "Make it stand alone: qemu-img convert -O qcow2 OLD NEW")
    if data_file := specific.get("data-file"):
        refuse(f"keeps its data in another file, {data_file}", "Make it stand alone: qemu-img convert -O qcow2 OLD NEW")
    if described.get("encrypted"):
        refuse("is encrypted")
