"""Which of Azure's sizes a machine of a service plan gets: by what there is, what is allowed, and what is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from cloudpc.machines.azure.images import FoundImage
from cloudpc.model.check import Check
from cloudpc.model.machines import Amount, Capacity, Machine
from cloudpc.model.watch import Watch


@dataclass(frozen=True)
class Candidate:
    """A size and a place that a machine may be asked for with.

    Args:
        size: body of `hardwareProfile.vmSize`.
        family: whose quota it counts for.
        vcpus: its cores.
        memory_mib: its memory.
        zone: the one element of a machine's `zones`; None: without, the region chooses.
        accelerated_networking: whether its card has that: size and image both can.
        disk_controller: body of `storageProfile.diskControllerType`; None: Azure's default.
    """

    size: str
    family: str
    vcpus: int
    memory_mib: int
    zone: str | None = None
    accelerated_networking: bool = False
    disk_controller: Literal["NVMe"] | None = None


class Sizes:
    """Sizes and quota of a host's location.

    Args:
        arm: asks Azure.
        config: the host's.
    """

    def __init__(self, arm: Any, config: Any) -> None:
        self._arm = arm
        self._config = config

    def candidates(
        self, plan_id: str, size: Amount, image: FoundImage, machine_id: UUID, watch: Watch
    ) -> list[Candidate]:
        """What a machine may be asked for with, in the order to try; at least one.

        Args:
            plan_id: of its service plan.
            size: what the plan promises.
            image: that it boots.
            machine_id: its own, by which machines are spread over zones.
            watch: ends it.

        Raises:
            ProvisioningError: NO_CAPACITY, why each one can't be had and what to do; others as `Arm.asking` has them.
        """
        raise NotImplementedError

    def refused(self, candidate: Candidate) -> None:
        """Azure has no room for this one now (AllocationFailed and its like): for some minutes it comes last."""
        raise NotImplementedError

    def amount(self, size: str) -> tuple[int, int] | None:
        """Cores and MiB of memory of a size by its name; None if the location has none of that name."""
        raise NotImplementedError

    def capacity(self, machines: Iterable[Machine]) -> Capacity:
        """What may be committed here, by quota and `maxCloudPCs`, and what is.

        Args:
            machines: all of the host's resource group that are ours or another installation's.
        """
        raise NotImplementedError

    def refuse_beyond_maximum(self, machine_id: UUID, machines: Collection[UUID]) -> None:
        """Raises ProvisioningError NO_CAPACITY if one more than these would be more than `maxCloudPCs`."""
        raise NotImplementedError

    def checks(self) -> list[Check]:
        """What doctor says of quota and of the sizes that are configured."""
        raise NotImplementedError
