"""Where one attempt to provision a Cloud PC stands, so that its end can say so and clean up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.devices import ComputerAccount, RegisteredDevice
from cloudpc.model.errors import Cancelled, ProvisioningError
from cloudpc.model.guests import Facts, Warned
from cloudpc.model.machines import Host, Order
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Tag
from cloudpc.model.watch import Watch


@dataclass
class Attempt:
    """One of three."""

    number: int
    desired: DesiredCloudPC
    """As asked for; or as it was made, if its machine is taken back."""
    order: Order
    watch: Watch
    host: Host | None = None
    """Where it has claimed a place."""
    connection: str = ""
    warnings: list[Warned] = field(default_factory=list)
    facts: Facts | None = None
    """What its guest has said of itself."""
    mark: str = ""
    """Of the device that its host makes join, if it does."""
    others: frozenset[str] = frozenset()
    """Devices of its name, or with its mark, that were there before its guest was."""
    device: RegisteredDevice | None = None
    computer: ComputerAccount | None = None

    @property
    def id(self) -> UUID:
        """Its machine's."""
        return self.order.id

    @property
    def tag(self) -> Tag:
        """What its machine carries."""
        return self.order.tag

    @tag.setter
    def tag(self, tag: Tag) -> None:
        self.order = replace(self.order, tag=tag)


class Placed(Exception):  # noqa: N818 - an answer
    """Placing ended without a machine, and not by failure."""

    def __init__(self, status: Status, error: ProvisioningError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


@dataclass
class Earlier:
    """What attempts before have come to, for the one that follows."""

    failure: tuple[ProvisioningError, Stage] | None = None
    failed_on: set[str] = field(default_factory=set)
    """Names of hosts that come last: a broken one must not get every attempt."""
    doubted: set[str] = field(default_factory=set)
    """Connections whose domain could not be joined: checked again before the next attempt."""


def is_failure(error: BaseException) -> bool:
    """Whether it is one that is recorded: Ctrl-C is none, nor is an answer."""
    return isinstance(error, Exception) and not isinstance(error, Cancelled | Placed)
