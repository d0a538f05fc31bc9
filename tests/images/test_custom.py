from __future__ import annotations

import functools
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cloudpc.images import custom
from cloudpc.images.custom import CustomImage
from cloudpc.provisioning.errors import ErrorCode, ProvisioningError


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


def refused(image: CustomImage, folder: Path) -> ProvisioningError:
    with pytest.raises(ProvisioningError) as caught:
        custom.resolve("mine", image, folder, print)
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
    raw.write_bytes(b"\0" * 4096)
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
