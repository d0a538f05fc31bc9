"""Machines that cost though nobody uses them: shut down inside, one keeps its place and is billed as if it ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloudpc.machines.azure.description import Found, tags_of
from cloudpc.machines.azure.tags import from_tags
from cloudpc.machines.azure.virtual_machines import VirtualMachines
from cloudpc.model.check import Check
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.tags import Phase, Tag

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_WHAT = "stopped machines"


def checks(machines: VirtualMachines, *, deallocates: bool) -> list[Check]:
    """Names those that are billed though they are off. Never raises but Cancelled.

    Args:
        machines: the host's.
        deallocates: whether runs put an end to that.
    """
    try:
        billed = [f"{found['name']} ({tag.device_name})" for found, tag in _billed(machines)]
    except ProvisioningError as error:
        return [Check(_WHAT, "warning", error.message, error.hint)]
    if not billed:
        return [Check(_WHAT, "passed", "none is billed")]
    detail = f"{', '.join(billed)}: shut down inside, and billed as if running"
    hint = (
        "the next run of its policy deallocates it"
        if deallocates
        else "the next run starts it. Until then `az vm deallocate` ends the bill; deallocateStopped: true of "
        "the host leaves such machines off"
    )
    return [Check(_WHAT, "warning", detail, hint)]


def give_up_places(arm: Arm, machines: VirtualMachines, installation: str, policy_id: str) -> Iterator[str]:
    """Have those of this policy's users deallocated, without waiting for it; names of their devices.

    Raises:
        ProvisioningError: Azure refuses.
    """
    for found, tag in _billed(machines):
        if (tag.installation, tag.policy_id, tag.phase) == (installation, policy_id, Phase.HANDED_OVER):
            with arm.asking(f"deallocate {found['name']}"):
                arm.begin(arm.compute.virtual_machines.begin_deallocate, arm.group, found["name"])
            yield tag.device_name


def _billed(machines: VirtualMachines) -> Iterator[tuple[Found, Tag]]:
    there = [(found, tag) for found in machines.list() if (tag := from_tags(tags_of(found)))]
    statuses = machines.all_statuses() if there else {}
    for found, tag in there:
        its = statuses.get(str(found["id"]).lower())
        if its is not None and its.is_billed_though_stopped:
            yield found, tag
