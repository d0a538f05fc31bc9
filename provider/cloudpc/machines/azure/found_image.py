"""An image as it is at a host's location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Generation = Literal["V1", "V2"]
System = Literal["Linux", "Windows"]


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image as it is at a host's location, looked at and good for its machines.

    Args:
        name: for people.
        reference: body of a machine's `storageProfile.imageReference`, of an exact version.
        exact_version: which one that is; nothing where it has none (a managed image).
        generation: `V2` boots by UEFI.
        system: body of `osDisk.osType`.
        disk_gib: what its disk needs at least; 0 where nobody says.
        purchase_plan: body of a machine's `plan`; empty if nothing is bought.
        trusted_launch: whether its machines have secure boot and a vTPM.
        nvme: whether it boots from an NVMe disk.
        accelerated_networking: whether its guests have drivers for that.
        warnings: what somebody should know though it works, such as its end of life.
    """

    name: str
    reference: Mapping[str, str]
    exact_version: str = ""
    generation: Generation = "V2"
    system: System = "Linux"
    disk_gib: int = 0
    purchase_plan: Mapping[str, str] = field(default_factory=dict)
    trusted_launch: bool = True
    nvme: bool = False
    accelerated_networking: bool = True
    warnings: tuple[str, ...] = ()
