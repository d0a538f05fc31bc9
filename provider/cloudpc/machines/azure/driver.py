"""The driver as the rest finds it: what may be configured, and how a host is opened."""

from __future__ import annotations

from cloudpc.machines.azure.configuration import AzureHostConfig, AzureNetworks
from cloudpc.machines.azure.image_names import AZURE_IMAGE
from cloudpc.model.machines import Host


class AzureDriver:
    """Implements cloudpc.model.drivers.Driver."""

    config = AzureHostConfig
    network = AzureNetworks
    images = frozenset({AZURE_IMAGE})

    def open(self, config: AzureHostConfig) -> Host:
        """See Driver."""
        from cloudpc.machines.azure.host import AzureHost  # what it imports is of use only where there is one

        return AzureHost(config)

    def this_machine(self) -> None:
        """See Driver."""
        return


DRIVER = AzureDriver()
