"""What a machine that was claimed still needs until it is ready; and what one needs that was turned off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.virtual_machines import VirtualMachines
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_RUNS_WITHIN = 300.0
"""Seconds until a machine that was turned on has its place again, at most."""
_OFF_WITHIN = 600.0
"""Seconds that Azure is given to turn one off: it waits for the guest by itself."""


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


def turn_off(arm: Arm, name: str, watch: Watch, *, deallocated: bool) -> str:
    """Return when it is off; Azure asks its guest first, and turns it off a few minutes later at the latest.

    Returns:
        How it went off, in words that complete "its machine was ".

    Raises:
        ProvisioningError: Azure refuses, or the machine is not off in time.
    """
    watch = watch.within(_OFF_WITHIN)
    calls, doing = arm.compute.virtual_machines, f"turn {name} off"
    watch.note(f"turning {name} off")
    with arm.asking(doing, watch):
        operation = arm.begin(calls.begin_deallocate if deallocated else calls.begin_power_off, arm.group, name)
        if operation.wait():
            operation.check()  # its result would be asked for at an address that no role of ours may read
        else:
            message = f"could not {doing}: it still runs {_OFF_WITHIN:.0f} s later"
            raise ProvisioningError(ErrorCode.HYPERVISOR_ERROR, message)
    return "shut down, and is not billed" if deallocated else "shut down"
