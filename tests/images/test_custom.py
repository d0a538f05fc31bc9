from __future__ import annotations

import functools
import hashlib
import lzma
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cloudpc.images import custom
from cloudpc.images.custom import CustomImage
from cloudpc.images.store import Store
from cloudpc.model.errors import ErrorCode, ProvisioningError
from tests.support.waiting import wait_until

ZSTD = ["-c", "-o", "compression_type=zstd"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOUDPC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "files" / "disk.qcow2"
    path.parent.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    return path


@pytest.fixture
def server(disk: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(disk.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _converted(disk: Path, content: bytes, *options: str) -> CustomImage:
    raw = disk.with_name("raw")
    raw.write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(raw), str(disk)], check=True)
    return CustomImage(path=str(disk), sha256=sha256(disk))


def refused(image: CustomImage, folder: Path, note: Callable[[str], None] = print) -> ProvisioningError:
    with pytest.raises(ProvisioningError) as caught:
        custom.resolve("mine", image, folder, note)
    return caught.value


def test_a_file_is_used_where_it_is(disk: Path) -> None:
    image = CustomImage(path="disk.qcow2", sha256=sha256(disk).upper(), firmware="bios")
    assert custom.problems(image, disk.parent) == []
    found = custom.resolve("mine", image, disk.parent, print)
    assert (found.image_id, found.digest, found.firmware) == ("mine", sha256(disk), "bios")
    assert (found.disk.path, found.disk.size) == (disk, disk.stat().st_size)
    assert found.kernel is None


def test_a_file_is_hashed_only_once(disk: Path) -> None:
    image = CustomImage(path=str(disk), sha256=sha256(disk))
    notes: list[str] = []
    for _ in range(2):
        custom.resolve("mine", image, Path("/"), notes.append)
    assert notes == ["checking disk.qcow2"]


def test_a_download_is_kept(disk: Path, server: str, cache: Path) -> None:
    image = CustomImage(url=f"{server}/disk.qcow2?token=secret", sha256=sha256(disk))
    notes: list[str] = []
    found = custom.resolve("mine", image, Path("/"), notes.append)
    assert found.disk.path.read_bytes() == disk.read_bytes()
    assert found.disk.path.is_relative_to(cache)
    assert any(note.startswith("downloading mine") for note in notes)
    disk.unlink()
    assert custom.resolve("mine", image, Path("/"), print) == found


def test_a_wrong_checksum_is_refused_and_nothing_kept(disk: Path, server: str, cache: Path) -> None:
    for source in ({"path": str(disk)}, {"url": f"{server}/disk.qcow2?token=secret"}):
        error = refused(CustomImage(sha256="0" * 64, **source), Path("/"))
        assert error.code is ErrorCode.IMAGE_INVALID
        assert not error.retriable
        assert sha256(disk) in error.message
        assert "0" * 64 in error.message
        assert "secret" not in error.message
    assert not list(cache.rglob("*.qcow2"))


def test_a_wrong_download_is_tried_once_in_a_run(disk: Path, server: str) -> None:
    image = CustomImage(url=f"{server}/disk.qcow2", sha256="0" * 64)
    first = refused(image, Path("/"))
    disk.unlink()  # the server would say 404 now
    assert refused(image, Path("/")) is first


def test_who_waited_for_a_download_that_failed_does_not_try_it_again(cache: Path) -> None:
    image = CustomImage(url="http://127.0.0.1:1/disk.qcow2", sha256="0" * 64)
    notes: list[str] = []
    errors: list[ProvisioningError] = []
    waiting = threading.Thread(target=lambda: errors.append(refused(image, Path("/"), notes.append)))
    with Store(cache / "images" / "custom").locked(image.sha256, print):
        waiting.start()
        wait_until(lambda: notes, 10, "it does not wait")
        failure = ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, "")
        custom._failures[image.url, image.sha256] = (time.monotonic(), failure)
    waiting.join()
    assert errors == [failure]
    assert refused(image, Path("/")) is not failure  # a later attempt of its own


def test_what_the_cache_has_under_a_hash_must_have_it(disk: Path, server: str, cache: Path) -> None:
    pinned = sha256(disk)
    images = Store(cache / "images" / "custom")
    with images.locked(pinned, print), images.working_folder(pinned) as work:
        (made := work / "made").mkdir()
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(made / "disk.qcow2"), "2M"], check=True)
        images.put(pinned, made)
    found = custom.resolve("mine", CustomImage(url=f"{server}/disk.qcow2", sha256=pinned), Path("/"), print)
    assert found.disk.sha256 == pinned == sha256(found.disk.path)


@pytest.mark.parametrize("why", ["is cut off", "compressed with xz"])
def test_a_cached_image_is_looked_at_again(why: str, disk: Path, server: str, cache: Path) -> None:
    if why == "is cut off":
        os.truncate(disk, disk.stat().st_size - 1)  # both as older versions of ours took them
    else:
        _converted(disk, lzma.compress(bytes(1 << 20)) + bytes(1 << 17), *ZSTD)
    pinned = sha256(disk)
    images = Store(cache / "images" / "custom")
    with images.locked(pinned, print), images.working_folder(pinned) as work:
        (made := work / "made").mkdir()
        shutil.copy(disk, made / "disk.qcow2")
        images.put(pinned, made)
    error = refused(CustomImage(url=f"{server}/disk.qcow2", sha256=pinned), Path("/"))
    assert why in error.message


def test_a_page_instead_of_the_image_is_told(disk: Path, server: str) -> None:
    disk.with_name("own.qcow2").write_text("<!DOCTYPE html><title>Sign in</title>")
    url = f"{server.replace('//', '//ci:S3cretPw@')}/own.qcow2?sig=S3cretPw"
    error = refused(CustomImage(url=url, sha256="0" * 64), Path("/"))
    assert (error.code, error.retriable) == (ErrorCode.IMAGE_INVALID, False)
    assert "a web page" in error.message
    assert "own.qcow2?…" in error.message
    assert "S3cretPw" not in error.message + error.hint


@pytest.mark.parametrize("damage", ["cut", "corrupt", "xz"])
def test_what_can_be_seen_is_found_before_any_run(damage: str, disk: Path) -> None:
    words, command = "", "opy or download it again"
    match damage:
        case "cut":
            os.truncate(disk, 100000)
            words = "is cut off"
        case "corrupt":
            with disk.open("r+b") as file:
                file.seek(72)
                file.write((2).to_bytes(8, "big"))
            words = "is marked as corrupt"
        case "xz":
            disk.write_bytes(lzma.compress(disk.read_bytes()))
            words, command = "is compressed with xz", "xz -dc disk.qcow2 > NEW.qcow2"
    image = CustomImage(path=disk.name, sha256=sha256(disk))
    [told] = custom.problems(image, disk.parent)
    assert words in told
    assert command in told
    error = refused(image, disk.parent)
    assert (error.code, error.retriable) == (ErrorCode.IMAGE_INVALID, False)
    assert words in error.message
    assert command in error.hint


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], None], disk: Path) -> None:
    disk.unlink()
    make(disk)
    image = CustomImage(path=disk.name, sha256="0" * 64)
    assert "can't be read" in custom.problems(image, disk.parent)[0]
    assert refused(image, disk.parent).code is ErrorCode.IMAGE_NOT_FOUND


def test_a_name_is_quoted_in_the_command_that_is_told(disk: Path) -> None:
    odd = disk.with_name("my disk;rm.xz")
    odd.write_bytes(lzma.compress(disk.read_bytes()))
    assert "xz -dc 'my disk;rm.xz' >" in custom.problems(CustomImage(path=odd.name, sha256="0" * 64), disk.parent)[0]


def test_damage_that_only_qemu_sees_is_found(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(2 * 65536)  # the first refcount block: nothing is in use, it says
        file.write(bytes(64))
    error = refused(CustomImage(path=str(disk), sha256=sha256(disk)), Path("/"))
    assert "qemu-img check" in error.message
    assert not error.retriable


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        (lzma.compress(bytes(1 << 20)), ZSTD, "compressed with xz"),
        (bytes(0x8001) + b"CD001", ["-o", "cluster_size=4096"], "an ISO 9660 image"),
        (bytes(0x8001) + b"CD001", ["-c", "-o", "cluster_size=512"], "an ISO 9660 image"),
        (bytes(0x8001) + b"CD001", [*ZSTD, "-o", "cluster_size=4096"], "an ISO 9660 image"),
    ],
)
def test_another_format_that_qemu_alone_can_see_is_found(
    content: bytes, options: list[str], why: str, disk: Path
) -> None:
    error = refused(_converted(disk, content + bytes(1 << 17), *options), disk.parent)
    assert error.code is ErrorCode.IMAGE_INVALID
    assert f"holds a file that is {why}" in error.message


def test_a_disk_that_zstd_packs_is_taken(disk: Path) -> None:
    image = _converted(disk, b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa" + os.urandom(1 << 16), *ZSTD)
    assert custom.resolve("mine", image, disk.parent, print).disk.path == disk


def test_a_start_that_cannot_be_unpacked_is_damage(disk: Path) -> None:
    _converted(disk, b"a" * (1 << 17), *ZSTD)
    packed = disk.read_bytes().index(b"\x28\xb5\x2f\xfd")
    with disk.open("r+b") as file:
        file.seek(packed)
        file.write(bytes(16))
    error = refused(CustomImage(path=str(disk), sha256=sha256(disk)), disk.parent)
    assert "is damaged where its disk begins" in error.message


def test_what_cannot_be_had_says_why(disk: Path, server: str) -> None:
    missing = CustomImage(path="nowhere.qcow2", sha256="0" * 64)
    assert "No such file" in custom.problems(missing, disk.parent)[0]
    error = refused(missing, disk.parent)
    assert (error.code, error.retriable) == (ErrorCode.IMAGE_NOT_FOUND, False)
    error = refused(CustomImage(url=f"{server}/nowhere.qcow2", sha256="0" * 64), disk.parent)
    assert (error.code, error.retriable) == (ErrorCode.IMAGE_NOT_FOUND, False)
    assert "404" in error.message
    error = refused(CustomImage(url="http://127.0.0.1:1/disk.qcow2", sha256="0" * 64), disk.parent)
    assert (error.code, error.retriable) == (ErrorCode.IMAGE_NOT_FOUND, True)


def test_only_a_qcow2_that_stands_alone_is_taken(disk: Path) -> None:
    raw, overlay = disk.with_name("raw.img"), disk.with_name("overlay.qcow2")
    outside, split = disk.with_name("outside.raw"), disk.with_name("split.qcow2")
    raw.write_bytes(b"\0" * 510 + b"\x55\xaa")
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*create, "-b", str(disk), "-F", "qcow2", str(overlay)], check=True)
    subprocess.run([*create, "-o", f"data_file={outside}", str(split), "1M"], check=True)
    for path, words in ((raw, "not in qcow2 format"), (overlay, "overlay of"), (split, "another file")):
        image = CustomImage(path=str(path), sha256=sha256(path))
        error = refused(image, Path("/"))
        assert (error.code, error.retriable) == (ErrorCode.IMAGE_INVALID, False)
        assert words in error.message
        assert "qemu-img convert" in error.hint
    assert "qcow2" in custom.problems(CustomImage(path=str(raw), sha256="0" * 64), Path("/"))[0]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"path": "a", "url": "http://b/c"}, "exactly one"),
        ({}, "exactly one"),
        ({"path": "a", "sha256": "abc"}, "64 hex digits"),
        ({"url": "file:///etc/shadow"}, "http or https"),
        ({"url": "https://images.example/own.qcow2.xz?x=y"}, "xz -dc own.qcow2.xz"),
        ({"url": "https://images.example/own.ova"}, "an OVA"),
        ({"url": "https://images.example:port/own.qcow2"}, "not a URL that can be requested"),
        ({"url": "https://h/x", "maximumSizeInGB": 0}, "greater than or equal to 1"),
        ({"path": "a", "sha": "x"}, "Extra inputs"),
        ({"path": "a", "firmware": "coreboot"}, "bios"),
    ],
)
def test_a_wrong_configuration_is_explained(fields: dict[str, str], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        CustomImage.model_validate({"sha256": "0" * 64, **fields})


def test_the_names_are_those_of_the_configuration() -> None:
    image = CustomImage.model_validate({"path": "a", "sha256": "0" * 64, "minimumMemoryInMB": 2048})
    assert image.minimum_memory_in_mb == 2048
