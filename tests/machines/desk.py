"""What a test works with: one host, an installation of its own on it, and the image of its machines."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cloudpc.guests.linux import first_boot
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.driver import connect
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.identity import machine_id
from cloudpc.model.image import Image
from cloudpc.model.machine_names import machine_name
from cloudpc.model.machines import Amount, MachineSpec, Network, Seed
from cloudpc.model.tags import Tag

SIZE = Amount(vcpus=1, memory_mib=160, disk_gib=1)


@dataclass
class Desk:
    """One host with an installation of its own, and what a test needs to work on it."""

    host: LibvirtHost
    config: LibvirtHostConfig
    cache: Path
    installation: str
    image: Image

    def spec(self, user: str = "u-1", size: Amount = SIZE, network: Network | None = None) -> MachineSpec:
        """A machine of this user."""
        identity = machine_id(self.installation, user, "plan")
        return MachineSpec(
            identity, machine_name(self.installation, identity), f"{user}: test", size, network or Network()
        )

    def tag(self, user: str = "u-1") -> Tag:
        return Tag(self.installation, "policy", user, "plan", 1, "CPC-1", "settings")

    def claim(self, user: str = "u-1", size: Amount = SIZE, network: Network | None = None) -> MachineSpec:
        """Claim a machine and make its disk: all there is to do before its start."""
        spec = self.spec(user, size, network)
        self.host.claim(spec, self.tag(user))
        self.host.ensure_image(self.image, print, Cancellation())
        self.host.create_disk(spec, self.image, seed(user))
        return spec

    def boot(self, user: str = "u-1", size: Amount = SIZE, network: Network | None = None) -> MachineSpec:
        """A machine that is ready."""
        spec = self.claim(user, size, network)
        self.host.start(spec, self.image)
        self.host.wait_ready(spec.id, 180, Cancellation())
        return spec

    def with_command_line(self, more: str) -> Image:
        """The image, booted with more on its kernel's command line."""
        return replace(self.image, command_line=f"{self.image.command_line} {more}")

    def another(self) -> LibvirtHost:
        """The same host as another process sees it."""
        return connect(self.config, cache=self.cache)


def seed(user: str) -> Seed:
    """A first boot with alice's account."""
    return first_boot.seed(
        instance_id=user, device_name=user, account="alice", full_name="Alice", ssh_public_keys=[], local_admin=False
    )


def open_desk(
    uri: str, image: Image, cache: Path, pool: str, config: LibvirtHostConfig | None = None
) -> Iterator[Desk]:
    """A desk; when the test is over, whatever it left is removed and nothing may be left."""
    config = config or LibvirtHostConfig(name="lab", uri=uri, pool=pool, sshDestination="")  # its loopback is ours
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
            later.callback(host.delete, machine.id)


def _no_leftovers(host: LibvirtHost, installation: str) -> None:
    assert host.discard(host.remnants(installation)) == []
