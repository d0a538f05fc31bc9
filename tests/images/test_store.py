from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from cloudpc.images import store
from cloudpc.images.store import Store, hash_file, known_hash


@pytest.fixture
def images(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def fill(images: Store, key: str, **files: bytes) -> None:
    with images.locked(key, print), images.working_folder(key) as work:
        made = work / "made"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
        images.put(key, made)


def test_an_entry_is_read_only_and_has_checksums(images: Store) -> None:
    fill(images, "one", disk=b"abc")
    files = images.get("one")
    assert files is not None
    assert files["disk"].sha256 == hash_file(files["disk"].path)
    assert files["disk"].size == 3
    assert files["disk"].path.stat().st_mode & 0o777 == 0o444
    assert images.get("other") is None


def test_nothing_is_left_when_making_it_fails(images: Store) -> None:
    def interrupted() -> None:
        with images.locked("one", print), images.working_folder("one") as work:
            (work / "half").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in images.folder.iterdir()] == [".lock-one"]
    assert images.get("one") is None


def test_what_a_killed_process_left_is_removed_by_the_next(images: Store) -> None:
    images.folder.mkdir()
    (images.folder / ".work-one-dead").mkdir()
    others = [images.folder / f".work-{name}-alive" for name in ("two", "one-more")]
    for folder in others:
        folder.mkdir()
    with images.locked("one", print), images.working_folder("one"):
        assert not (images.folder / ".work-one-dead").exists()
        assert all(folder.exists() for folder in others), "whose names begin alike"


def test_files_that_look_unchanged_are_not_hashed_again(images: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(images, "one", disk=b"abc")
    monkeypatch.setattr("cloudpc.images.store.hash_file", lambda path: pytest.fail(f"hashed {path}"))
    assert images.get("one")


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"abX")


def test_a_damaged_entry_is_no_entry(images: Store) -> None:
    fill(images, "one", disk=b"abc")
    damage(images.folder / "one" / "disk")
    assert images.get("one") is None


def test_damage_under_the_same_size_and_time_is_found(images: Store) -> None:
    fill(images, "one", disk=b"abc")
    path = images.folder / "one" / "disk"
    before = path.stat()
    damage(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert images.get("one") is None


def test_what_a_disk_does_by_itself_is_found_on_request(images: Store) -> None:
    fill(images, "one", disk=b"abc")
    path = images.folder / "one" / "disk"
    damage(path)
    (images.folder / "one" / "verified.json").write_text(json.dumps({"disk": store.stamp(path)}))
    assert images.get("one") is not None
    assert images.get("one", verify=True) is None


def test_a_touched_entry_is_hashed_once_and_good_again(images: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(images, "one", disk=b"abc")
    os.utime(images.folder / "one" / "disk", ns=(1, 1))
    assert images.get("one")
    monkeypatch.setattr("cloudpc.images.store.hash_file", lambda path: pytest.fail(f"hashed {path}"))
    assert images.get("one")


def test_an_entry_is_replaced_whole(images: Store) -> None:
    fill(images, "one", disk=b"old", extra=b"gone")
    fill(images, "one", disk=b"new")
    files = images.get("one")
    assert files is not None
    assert list(files) == ["disk"]
    assert files["disk"].path.read_bytes() == b"new"
    assert sorted(path.name for path in images.folder.iterdir()) == [".lock-one", "one"]


def test_an_entry_that_another_replaces_in_this_moment_is_not_there(
    images: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with images.locked("one", print), images.working_folder("one") as folder:
        (folder / "made").mkdir()
        (folder / "made" / "disk").write_bytes(b"bytes")
        images.put("one", folder / "made")

    def replaced(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr("cloudpc.images.store.hash_file", replaced)
    assert images.get("one", verify=True) is None


def test_the_second_waits_and_says_so(images: Store) -> None:
    notes: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with images.locked("one", notes.append):
            entered.set()

    with images.locked("one", print):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(5)
    assert entered.is_set()
    assert notes == ["waiting for another process that is making it"]


def test_a_known_hash_is_forgotten_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPC_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "disk"
    file.write_bytes(b"one")
    first = known_hash(file)
    assert known_hash(file) == first
    file.write_bytes(b"two, longer")
    assert known_hash(file) == hash_file(file) != first
