"""The driver as the rest finds it: what may be configured, and how a host is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cloudpc.files import folders
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig, LibvirtNetworks, this_machine
from cloudpc.model import patience
from cloudpc.model.digest import digest
from cloudpc.model.image import QCOW2

if TYPE_CHECKING:
    from cloudpc.machines.libvirt.host import LibvirtHost


def connect(config: LibvirtHostConfig, *, cache: Path | None = None) -> LibvirtHost:
    """The host of this configuration. Nothing is opened before the first call needs it.

    Args:
        config: one entry of cloudpc:hosts.
        cache: folder for locks, the result of the acceleration probe and which hosts were slow; the same for all
            processes of a user.
    """
    from cloudpc.machines.libvirt.host import LibvirtHost  # libvirt's library: only where a host is opened

    cache = cache or folders.cache()
    patience.remember(config.name, cache / "slow" / digest(config.uri).hex()[:32])
    return LibvirtHost(config, cache)


class LibvirtDriver:
    """Implements cloudpc.model.drivers.Driver."""

    config = LibvirtHostConfig
    network = LibvirtNetworks
    images = frozenset({QCOW2})

    def open(self, config: LibvirtHostConfig) -> LibvirtHost:
        """See Driver."""
        return connect(config)

    def this_machine(self) -> LibvirtHostConfig | None:
        """See Driver."""
        return this_machine()


DRIVER = LibvirtDriver()
