"""Old images are removed without a moment in which one that somebody needs could be lost, whatever ends us."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from cloudpc.machines.libvirt import images
from cloudpc.machines.libvirt.images import ImageStore
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import Pool
from cloudpc.model.image import DiskImage, ImageFile
from cloudpc.model.watch import Watch


class Lost(BaseException):
    """As if we were killed there."""


class Volumes:
    """A pool, as `Pool` and as libvirt has it: volumes, which of them are needed, and what happens at each look."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.needed: set[str] = set()
        self.at_look: list[Callable[[], None]] = []
        self.deleted: list[str] = []
        self.create_fails = False

    def open(self) -> Volumes:
        return self

    existing = open

    def look_again(self, _pool: object) -> None:
        pass

    def connect(self) -> None:
        pass

    def names(self, _pool: object) -> list[str]:
        return sorted(self.there)

    def storageVolLookupByName(self, name: str) -> Any:
        return SimpleNamespace(path=lambda: name)

    def delete(self, _pool: object, names: Iterable[str]) -> None:
        for name in names:
            self.deleted.append(name)
            self.there.discard(name)

    def create(self, _pool: object, xml: str, name: str) -> None:
        if self.create_fails:
            raise Lost
        assert ElementTree.fromstring(xml).findtext("name") == name
        self.there.add(name)

    def upload(self, _volume: object, _size: int, chunks: Iterator[bytes]) -> None:
        list(chunks)

    def needed_in(self, _connection: object, _pool: object, unwanted: Iterable[str]) -> set[str]:
        if self.at_look:
            self.at_look.pop(0)()
        return self.needed.intersection(unwanted)


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> Volumes:
    made = Volumes()
    monkeypatch.setattr(images.disks, "needed_in", made.needed_in)
    return made


@pytest.fixture
def image(tmp_path: Path) -> DiskImage:
    file = tmp_path / "disk.qcow2"
    file.write_bytes(b"disk")
    sha256 = hashlib.sha256(b"disk").hexdigest()
    return DiskImage(image_id="lab", digest=sha256, disk=ImageFile(file, sha256, 4))


@pytest.fixture
def store(volumes: Volumes, tmp_path: Path) -> ImageStore:
    return ImageStore(cast("Pool", volumes), HostLocks(tmp_path / "locks", "uri"))


@pytest.fixture
def stem(volumes: Volumes, store: ImageStore, image: DiskImage) -> str:
    """A set from before names said of which image, of the build that `image` is."""
    made = f"cloudpc-image-{image.digest[:16]}-{store._locks.scope}abcdef"
    volumes.there = {f"{made}.qcow2", f"{made}.complete"}
    return made


def test_what_nobody_needs_goes(volumes: Volumes, store: ImageStore, stem: str) -> None:
    assert store.discard_old([stem]) == [stem]
    assert (volumes.there, volumes.deleted[0]) == (set(), f"{stem}.complete")


def test_what_is_needed_has_its_marker_all_the_time(volumes: Volumes, store: ImageStore, stem: str) -> None:
    volumes.needed = {f"{stem}.qcow2"}
    assert store.discard_old([stem]) == []
    assert volumes.deleted == []


def test_what_has_come_into_use_meanwhile_gets_its_marker_again(volumes: Volumes, store: ImageStore, stem: str) -> None:
    volumes.at_look = [lambda: None, lambda: volumes.needed.add(f"{stem}.qcow2")]
    assert store.discard_old([stem]) == []
    assert volumes.there == {f"{stem}.qcow2", f"{stem}.complete"}


def test_where_it_can_not_be_told_what_is_needed_nothing_has_changed(
    volumes: Volumes, store: ImageStore, stem: str
) -> None:
    def lost() -> None:
        raise Lost

    volumes.at_look = [lambda: None, lost]
    with pytest.raises(Lost):
        store.discard_old([stem])
    assert volumes.there == {f"{stem}.qcow2", f"{stem}.complete"}


def test_a_set_that_has_lost_its_marker_under_a_machine_survives_the_next_upload(
    volumes: Volumes, store: ImageStore, stem: str, image: DiskImage
) -> None:
    volumes.at_look = [lambda: None, lambda: volumes.needed.add(f"{stem}.qcow2")]
    volumes.create_fails = True
    with pytest.raises(Lost):
        store.discard_old([stem])
    assert volumes.there == {f"{stem}.qcow2"}
    volumes.create_fails = False
    abandoned = f"{stem[:-6]}fedcba-{images._name_of(image)}.qcow2"
    volumes.there.add(abandoned)
    store.ensure(image, Watch())
    assert f"{stem}.qcow2" in volumes.there, "a machine's disk lies on it"
    assert abandoned not in volumes.there, "what an interrupted upload left goes"
    assert len(volumes.there) == 3
