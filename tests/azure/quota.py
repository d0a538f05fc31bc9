"""How many cores a subscription may have in a region."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tests.azure.account import Size
from tests.azure.errors import ArmFault, Json
from tests.azure.machine import KIND, machine_of

if TYPE_CHECKING:
    from tests.azure.arm import FakeArm

REGIONAL = "cores"


def used(arm: FakeArm, name: str) -> int:
    """Cores of a family, or all: of every machine that is not deallocated."""
    machines = [machine_of(r) for r in arm.resources.of(KIND)]
    counted = [m for m in machines if m.power != "deallocated" and not (m.failed and not m.allocated)]
    return arm.used_elsewhere.get(name, 0) + sum(m.size.vcpus for m in counted if name in (REGIONAL, m.size.family))


def check_quota(arm: FakeArm, size: Size) -> None:
    """ArmFault: the size is more than what is left."""
    for name, title in ((REGIONAL, "Total Regional Cores"), (size.family, f"{size.family} Cores")):
        limit, current = arm.quotas.get(name, arm.usual_quota), used(arm, name)
        if current + size.vcpus > limit:
            raise ArmFault("OperationNotAllowed", f"Operation could not be completed as it results in exceeding "
                           f"approved {title} quota. Additional details - Deployment Model: Resource Manager, "
                           f"Location: {arm.account.location}, Current Limit: {limit}, Current Usage: {current}, "
                           f"Additional Required: {size.vcpus}, (Minimum) New Limit Required: {current + size.vcpus}. "
                           "Submit a request for Quota increase at https://aka.ms/ProdportalCRP.")  # fmt: skip


@dataclass(frozen=True)
class Shortage:
    """Hardware that Azure has none of at the moment.

    Args:
        size: name, `*` for any text.
        zone: `*` for any, and for none.
        asynchronous: it is told only after the order was accepted.
        code: None: as befits an order with or without a zone.
    """

    size: str = "*"
    zone: str = "*"
    asynchronous: bool = False
    code: str | None = None


def shortage(arm: FakeArm, body: Json, *, asynchronous: bool) -> ArmFault | None:
    """Why an order finds no hardware; None: it does, or that is told at another time."""
    size = body["properties"]["hardwareProfile"]["vmSize"]
    zones = body.get("zones") or [""]
    for lacking in arm.shortages:
        if (
            lacking.asynchronous is asynchronous
            and fnmatchcase(size, lacking.size)
            and fnmatchcase(zones[0], lacking.zone)
        ):
            return ArmFault(lacking.code or ("ZonalAllocationFailed" if body.get("zones") else "AllocationFailed"))
    return None


def usages(arm: FakeArm) -> list[Json]:
    """As the list of usages tells them."""
    families = {size.family: f"{size.family} vCPUs" for size in arm.sizes.values()}
    rows = [("virtualMachines", "Virtual Machines", len(arm.resources.of(KIND)), 25000)]
    rows += [
        (name, title, used(arm, name), arm.quotas.get(name, arm.usual_quota))
        for name, title in {REGIONAL: "Total Regional vCPUs", **families}.items()
    ]
    return [
        {"unit": "Count", "currentValue": value, "limit": limit, "name": {"value": name, "localizedValue": title}}
        for name, title, value, limit in rows
    ]
