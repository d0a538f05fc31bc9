"""What a machine that was claimed still needs until it is ready; and what one needs that was turned off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudpc.machines.azure.errors import AzureFailed, Meaning
from cloudpc.machines.azure.virtual_machines import VirtualMachines
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_RUNS_WITHIN = 300.0
"""Seconds until a machine that was turned on has its place again, at most."""


def turn_on(arm: Arm, machines: VirtualMachines, name: str, watch: Watch) -> None:
    """Return as soon as it boots. Raises ProvisioningError: START_FAILED, NO_CAPACITY, its place was given away."""
    watch = watch.within(_RUNS_WITHIN)
    try:
        operation = machines.start(name, watch)
        while machines.statuses(name).power is not PowerState.RUNNING:
            with arm.asking(f"start {name}", watch):
                if operation.look():
                    operation.result()
            if not watch.remaining:
                message = f"{name} does not run {_RUNS_WITHIN:.0f} s after it was turned on"
                raise ProvisioningError(ErrorCode.START_FAILED, message)
            watch.wait(arm.interval)
    except AzureFailed as failed:
        if failed.arm.meaning in (Meaning.NO_ROOM, Meaning.UNKNOWN):
            raise ProvisioningError(ErrorCode.START_FAILED, failed.message, hint=failed.hint) from failed
        raise
