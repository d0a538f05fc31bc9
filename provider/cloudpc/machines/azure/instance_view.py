"""What Azure knows of a virtual machine that works: its power, its agent, and how its first boot goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudpc.machines.azure.arm_error import ArmError
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

PRIVATE_SUBNET = (
    "An agent that never reports mostly has no way out: since 2026-03-31 new virtual networks have private subnets. "
    "The subnet needs a NAT gateway, a route to a firewall, or default outbound access."
)
"""A hint: `cloudpc connection check` sees it as well."""
_FAILED = "ProvisioningState/failed/"


@dataclass(frozen=True)
class InstanceView:
    """At one moment.

    Args:
        power: `running`, `stopped`, `deallocated` or on the way there; empty: not known.
        is_provisioned: its system has told Azure that it is set up.
        failure: why it will not be.
        agent: what its agent says of itself; `Ready` where it answers, empty where it was never heard.
    """

    power: str = ""
    is_provisioned: bool = False
    failure: ArmError | None = None
    agent: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether scripts can be run in it."""
        return self.agent.casefold() == "ready"

    @property
    def is_off(self) -> bool:
        """Whether it stands still, or is about to."""
        return self.power in ("stopped", "stopping", "deallocated", "deallocating")


def look(arm: Arm, vm_name: str, watch: Watch) -> InstanceView:
    """Ask once.

    Raises:
        ProvisioningError: GUEST_DIED, there is no such machine.
    """
    try:
        with arm.asking(f"look at {vm_name}", watch):
            found = arm.compute.virtual_machines.instance_view(arm.group, vm_name)
    except AzureFailed as failed:
        if failed.arm.is_missing:
            raise gone(arm, vm_name) from failed
        raise
    return read(found)


def gone(arm: Arm, vm_name: str) -> ProvisioningError:
    """Said of a machine that is no longer there."""
    return ProvisioningError(ErrorCode.GUEST_DIED, f"{vm_name} is no longer on {arm.config.name}")


def read(found: Any) -> InstanceView:
    """Of azure-mgmt-compute's VirtualMachineInstanceView."""
    statuses = list(found.statuses or ())
    agent = list(found.vm_agent.statuses or ()) if found.vm_agent else []
    return InstanceView(
        power=_after("PowerState/", statuses),
        is_provisioned=any(status.code == "ProvisioningState/succeeded" for status in statuses),
        failure=_failure(statuses),
        agent=str(agent[0].display_status or "") if agent else "",
    )


def _after(prefix: str, statuses: Sequence[Any]) -> str:
    codes = (str(status.code or "") for status in statuses)
    return next((code.removeprefix(prefix) for code in codes if code.startswith(prefix)), "")


def _failure(statuses: Sequence[Any]) -> ArmError | None:
    """`ProvisioningState/failed/OSProvisioningTimedOut` and the like: that of its last operation, whatever it was."""
    for status in statuses:
        if (code := str(status.code or "")).startswith(_FAILED):
            return ArmError(code.removeprefix(_FAILED), str(status.message or ""))
    return None
