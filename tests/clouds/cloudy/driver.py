"""The cloudy fake as the code finds it: `kind: cloudy`; see host.py."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from cloudpc.model.connection import NetworkKind, NetworkPart
from cloudpc.model.drivers import Driver
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import QCOW2
from cloudpc.model.machines import Host


class Subnets(NetworkPart):
    """What names a network of the cloud in a connection's file."""

    KINDS = (NetworkKind("subnet", "subnet", "subnet"),)

    subnet: str | None = Field(default=None, min_length=1, description="Name of a subnet of the account.")


class CloudyHostConfig(HostConfig):
    """An account of the cloud: a folder."""

    PLACED_BY: ClassVar[str] = "account"

    kind: Literal["cloudy"]
    account: str
    subnet: str = "default"
    patience_in_seconds: float = Field(
        default=600.0, alias="patienceInSeconds", description="How long a call waits for something to be gone."
    )
    young_in_seconds: float = Field(
        default=900.0,
        alias="youngInSeconds",
        description="Until then, what has no machine yet may be about to get one.",
    )


class CloudyDriver:
    """Implements cloudpc.model.drivers.Driver."""

    config = CloudyHostConfig
    network = Subnets
    images = frozenset({QCOW2})

    def open(self, config: CloudyHostConfig) -> Host:
        from .host import CloudyHost

        return CloudyHost(config)

    def this_machine(self) -> None:
        return None


DRIVER: Driver = CloudyDriver()
