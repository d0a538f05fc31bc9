"""What a test works with: one host, an installation of its own on it, and the image of its machines."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.driver import connect
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.image import DiskImage
from cloudpc.model.machines import Amount, Network, Order
from cloudpc.model.tags import Tag
from cloudpc.model.watch import Watch
from tests.support.orders import order, seed

SIZE = Amount(vcpus=1, memory_mib=160, disk_gib=1)


@dataclass
class Desk:
    """One host with an installation of its own, and what a test needs to work on it."""

    host: LibvirtHost
    config: LibvirtHostConfig
    cache: Path
    installation: str
    image: DiskImage

    def spec(self, user: str = "u-1", size: Amount = SIZE, network: Network | None = None) -> Order:
        """A machine of this user."""
        return order(self.tag(user), size, network, image=self.image)

    def tag(self, user: str = "u-1") -> Tag:
        return Tag(self.installation, "policy", user, "plan", 1, "CPC-1", "settings")

    def claim(self, user: str = "u-1", size: Amount = SIZE, network: Network | None = None) -> Order:
        """Claim a machine and make its disk: all there is to do before its start."""
        spec = self.spec(user, size, network)
        self.host.claim(spec, Watch())
        self.host.making.bring_image(self.image, Watch())
        self.host.making.create_disk(spec, self.image, seed(user))
        return spec

    def boot(self, user: str = "u-1", size: Amount = SIZE, network: Network | None = None) -> Order:
        """A machine that is ready."""
        spec = self.spec(user, size, network)
        self.host.claim(spec, Watch())
        self.host.make(spec, Watch())
        return spec

    def with_command_line(self, more: str) -> DiskImage:
        """The image, booted with more on its kernel's command line."""
        return replace(self.image, command_line=f"{self.image.command_line} {more}")

    def another(self) -> LibvirtHost:
        """The same host as another process sees it."""
        return connect(self.config, cache=self.cache)


def open_desk(
    uri: str, image: DiskImage, cache: Path, pool: str, config: LibvirtHostConfig | None = None
) -> Iterator[Desk]:
    """A desk; when the test is over, whatever it left is removed and nothing may be left."""
    config = config or LibvirtHostConfig(
        name="lab", uri=uri, pool=pool, sshDestination="", vCpuOvercommit=32, diskOvercommit=32
    )
    host = connect(config, cache=cache)
    installation = secrets.token_hex(8)
    try:
        yield Desk(host, config, cache, installation, image)
    finally:
        _clear(host, installation)


def _clear(host: LibvirtHost, installation: str) -> None:
    """Delete all there is, one after the other: what can't be deleted keeps nothing else from it."""
    with ExitStack() as later:
        later.callback(host.close)
        later.callback(_no_leftovers, host, installation)
        for machine in host.owned(installation):
            later.callback(host.delete, machine.id, Watch())


def _no_leftovers(host: LibvirtHost, installation: str) -> None:
    assert host.discard(host.remnants(installation)) == []
