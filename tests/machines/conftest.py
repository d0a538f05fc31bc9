"""A libvirtd of the tests' own, the micro image, and machines that are removed however a test ends."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import libvirt
import pytest

from cloudpc.images import gallery
from cloudpc.machines.libvirt.configuration import this_machine
from cloudpc.model.image import DiskImage

from .daemon import Daemon, missing
from .desk import Desk, open_desk

RECIPES = Path(__file__).parents[2] / "vm-images"


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A libvirtd whose files nobody here sees."""
    if why := missing():
        pytest.skip(why)
    running = Daemon(tmp_path_factory.mktemp("libvirtd"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[libvirt.virConnect]:
    """libvirt itself, beside the driver: to look, and to do what people do by hand."""
    opened = libvirt.open(daemon.tcp_uri)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def micro() -> DiskImage:
    """The smallest real guest there is; built if nobody did yet."""
    return gallery.build(RECIPES, "micro", print)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Locks and what is known of accelerators, for all tests of this process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def desk(daemon: Daemon, micro: DiskImage, cache: Path) -> Iterator[Desk]:
    """The tests' own libvirtd, over TCP, as a remote host is reached."""
    yield from open_desk(daemon.tcp_uri, micro, cache, "cloudpc")


@pytest.fixture
def own_system(micro: DiskImage, cache: Path) -> Iterator[Desk]:
    """This machine's libvirtd over its socket (a user's own, where it is not root), in a pool of the test's own."""
    uri = this_machine().uri
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        pytest.skip(f"no libvirtd runs here: {error}")
    pool = f"cloudpc-test-{secrets.token_hex(4)}"
    with ExitStack() as later:
        later.callback(connection.close)
        later.callback(_remove_pool, connection, pool)
        yield from open_desk(uri, micro, cache, pool)


def _remove_pool(connection: libvirt.virConnect, name: str) -> None:
    pool = connection.storagePoolLookupByName(name)
    for volume in pool.listAllVolumes():
        volume.delete(0)
    pool.destroy()
    pool.delete(0)
    pool.undefine()
