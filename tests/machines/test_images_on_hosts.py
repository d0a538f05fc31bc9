"""Base images on a host: uploaded once, whole, verified."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cloudpc.images.sizes import disk_gib
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage, ImageFile
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with
from tests.support.orders import seed

from .daemon import Daemon
from .desk import Desk

pytestmark = pytest.mark.machine


@pytest.fixture
def image(tmp_path: Path) -> DiskImage:
    """An image of random bytes inside, that no host has yet: 24 MiB, so that its upload takes several notes."""
    raw, disk = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(secrets.token_bytes(24 << 20))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
    content = disk.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return DiskImage(image_id="random", digest=sha256, disk=ImageFile(disk, sha256, len(content)))


def files(daemon: Daemon, image: DiskImage) -> list[Path]:
    pool = daemon.root / "var/lib/libvirt/images/cloudpc"
    return sorted(pool.glob(f"cloudpc-image-{image.digest[:16]}-*"))


def test_it_arrives_once_and_whole(desk: Desk, daemon: Daemon, image: DiskImage) -> None:
    notes: list[str] = []
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(desk.host.making.bring_image, image, Watch(tell=notes.append)) for _ in range(8)]
        for future in futures:
            future.result()
    marker, disk = files(daemon, image)
    assert (marker.suffix, disk.suffix) == (".complete", ".qcow2")
    assert disk.read_bytes() == image.disk.path.read_bytes()
    assert notes
    assert all(note.startswith("placing: uploading random ") for note in notes)


def test_an_interrupted_upload_is_never_used_and_goes(desk: Desk, daemon: Daemon, image: DiskImage) -> None:
    cancel = Cancellation()
    with pytest.raises(Cancelled):
        desk.host.making.bring_image(image, Watch(cancel, lambda _: cancel.cancel()))
    assert files(daemon, image) == []
    spec = desk.spec()
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.create_disk(spec, image, seed("u-1"))
    assert caught.value.code is ErrorCode.IMAGE_NOT_FOUND
    # As a killed client leaves it: no marker.
    desk.host.making.bring_image(image, Watch())
    marker, unfinished = files(daemon, image)
    pool = desk.host._pool.open()
    pool.storageVolLookupByName(marker.name).delete(0)
    desk.host.making.bring_image(image, Watch())
    assert unfinished not in files(daemon, image)
    assert len(files(daemon, image)) == 2


def test_a_changed_file_is_refused(desk: Desk, daemon: Daemon, image: DiskImage) -> None:
    wrong = replace(image, disk=replace(image.disk, sha256="0" * 64))
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.bring_image(wrong, Watch())
    assert caught.value.code is ErrorCode.IMAGE_INVALID
    assert not caught.value.retriable
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.bring_image(replace(image, disk=replace(image.disk, size=1)), Watch())
    assert caught.value.code is ErrorCode.IMAGE_INVALID
    image.disk.path.unlink()
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.bring_image(image, Watch())
    assert caught.value.code is ErrorCode.IMAGE_NOT_FOUND
    assert files(daemon, image) == []


def test_a_disk_is_never_smaller_than_its_image(tmp_path: Path) -> None:
    disk = tmp_path / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "5G"], check=True)
    content = disk.read_bytes()
    file = ImageFile(disk, hashlib.sha256(content).hexdigest(), len(content))
    image = DiskImage(image_id="large", digest="ab" * 32, disk=file, disk_gib=disk_gib("large", disk))
    with fails_with(ErrorCode.IMAGE_INVALID, "5.0 GB", "1 GB"):
        image.check_fits(128, 1)


def test_older_builds_go_when_nothing_lies_on_them_any_more(desk: Desk, daemon: Daemon, image: DiskImage) -> None:
    """Neither a disk nor a kernel: those of living machines stay, and what is another image's or not ours."""
    builds = [replace(image, digest=f"{n}" * 64) for n in range(4)]
    other = replace(builds[0], image_id="other", digest="9" * 64)
    for each in (builds[0], other):
        desk.host.making.bring_image(each, Watch())
    spec = desk.spec()
    desk.host.claim(spec, Watch())
    desk.host.making.create_disk(spec, builds[0], seed("u-1"))
    for build in builds[1:3]:
        desk.host.making.bring_image(build, Watch())
    assert [bool(files(daemon, each)) for each in (*builds, other)] == [True, False, True, False, True]
    desk.host.delete(spec.id, Watch())
    desk.another().making.bring_image(builds[2], Watch())  # each run looks once
    assert [bool(files(daemon, each)) for each in (*builds, other)] == [False, False, True, False, True]


def test_sets_of_before_names_said_whose_builds_they_are_go_when_asked_for_and_nothing_needs_them(
    desk: Desk, daemon: Daemon, image: DiskImage
) -> None:
    ours, theirs = (replace(image, digest=digit * 64) for digit in "ef")
    for each in (ours, theirs):
        desk.host.making.bring_image(each, Watch())
        for file in files(daemon, each):
            before = file.with_name(file.stem.rpartition("-")[0] + file.suffix)
            file.rename(before if each is ours else before.with_name(f"{before.stem[:-12]}ffffffffffff{before.suffix}"))
    [stem] = {file.stem for file in files(daemon, ours)}
    spec = desk.spec()
    desk.host.claim(spec, Watch())
    desk.host.making.create_disk(spec, ours, seed("u-1"))
    assert stem not in desk.host.old_images()
    assert desk.host.discard_images([stem]) == [], "who has been faster with a disk on it keeps it"
    assert {file.suffix for file in files(daemon, ours)} == {".qcow2", ".complete"}
    desk.host.delete(spec.id, Watch())
    assert desk.host.old_images() == [stem]
    assert len(files(daemon, ours)) == 2, "nothing goes unasked"
    assert desk.host.discard_images([stem, files(daemon, theirs)[0].stem]) == [stem]
    assert (files(daemon, ours), len(files(daemon, theirs))) == ([], 2)
    assert desk.host.old_images() == []
