"""The driver as the rest finds it: what may be configured, and how a host is opened."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from cloudpc.machines.azure.configuration import AZURE_IMAGE, AzureHostConfig, AzureNetworks
from cloudpc.model.machines import Host


class AzureDriver:
    """Implements cloudpc.model.drivers.Driver."""

    config = AzureHostConfig
    network = AzureNetworks
    images = frozenset({AZURE_IMAGE})

    def open(self, config: AzureHostConfig) -> Host:
        """See Driver."""
        # Azure's libraries: only where a host is opened
        return cast("Host", import_module("cloudpc.machines.azure.host").AzureHost(config))

    def this_machine(self) -> None:
        """See Driver."""
        return


DRIVER = AzureDriver()
