"""The fake hypervisor as the code finds it, by the scheme `fake`; see fake_hypervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cloudpc.machines.libvirt.configuration import LibvirtNetworks
from cloudpc.model.hosts import HostConfig, Uri
from cloudpc.model.image import QCOW2

if TYPE_CHECKING:
    from fake_hypervisor import FakeHost


class FakeHostConfig(HostConfig):
    """A folder as a host: `fake:///folder`."""

    uri: Uri

    @property
    def folder(self) -> str:
        """The path of its files."""
        return unquote(urlsplit(self.uri).path)


class FakeDriver:
    """Implements cloudpc.model.drivers.Driver."""

    config = FakeHostConfig
    network = LibvirtNetworks
    images = frozenset({QCOW2})

    def open(self, config: FakeHostConfig) -> FakeHost:
        from fake_hypervisor import FakeHost

        return FakeHost(config)

    def this_machine(self) -> None:
        return None


DRIVER = FakeDriver()
