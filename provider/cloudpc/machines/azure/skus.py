"""The sizes that a location has for a subscription, as Azure lists them, and what keeps some from being used.

Names of capabilities as Microsoft's "Resource Skus - List" has them. The list has megabytes and changes rarely: it is
kept for an hour, for this process and, on disk, for later ones.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudpc.model.digest import digest
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

KEPT = 3600.0
"""Seconds for which the list is kept."""
_REASONS = {
    "QuotaId": "the offer of the subscription does not include it",
    "NotAvailableForSubscription": "it is not available for the subscription",
}


@dataclass(frozen=True)
class Sku:
    """A size of machines at a location.

    Args:
        name: such as `Standard_D2as_v5`.
        family: whose quota its machines count for.
        vcpus: cores that a guest has.
        counted_vcpus: cores that count for the quota: more than `vcpus` of sizes with constrained cores.
        memory_mib: its memory.
        architecture: `x64` or `Arm64`.
        generations: which it boots, of `V1` and `V2`.
        premium: whether it takes premium disks.
        accelerated_networking: whether its cards can have that.
        trusted_launch: whether it can have secure boot and a vTPM.
        confidential: whether its machines are confidential ones, which need images of their own.
        controllers: of its disks, of `SCSI` and `NVMe`.
        zones: where it is.
        refused: why the subscription can't have it at this location; empty if it can.
        refused_in: the same, by zone.
    """

    name: str
    family: str
    vcpus: int
    memory_mib: int
    counted_vcpus: int = 0
    architecture: str = "x64"
    generations: Sequence[str] = ("V1", "V2")
    premium: bool = True
    accelerated_networking: bool = True
    trusted_launch: bool = True
    confidential: bool = False
    controllers: Sequence[str] = ("SCSI",)
    zones: Sequence[str] = ()
    refused: str = ""
    refused_in: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """What a location has for a subscription: sizes by name, and kinds of disks; each name as Azure writes it."""

    sizes: Mapping[str, Sku]
    disk_types: frozenset[str] = frozenset()

    def named(self, name: str) -> Sku | None:
        """The size of this name, in whatever case."""
        return self.sizes.get(name) or next((s for s in self.sizes.values() if s.name.lower() == name.lower()), None)

    def families(self) -> list[str]:
        """The families of its sizes."""
        return sorted({sku.family for sku in self.sizes.values()})

    def of_family(self, family: str) -> list[Sku]:
        """The sizes of a family, small ones first."""
        found = (sku for sku in self.sizes.values() if sku.family.lower() == family.lower())
        return sorted(found, key=lambda sku: (sku.vcpus, sku.memory_mib, sku.name))


class Skus:
    """Asks for the list, and keeps it.

    Args:
        arm: asks Azure.
        location: of the host.
        folder: where the list is kept for later processes; None: nowhere.
    """

    def __init__(self, arm: Arm, location: str, folder: Path | None) -> None:
        self._arm = arm
        self._location = location
        key = digest(arm.config.subscription_id.lower(), location.lower()).hex()[:32]
        self._file = None if folder is None else folder / f"{key}.json"
        self._kept: tuple[float, Offer] | None = None
        self._asking = threading.Lock()

    def offer(self, watch: Watch | None = None, *, at_most: float = KEPT) -> Offer:
        """The list, no older than so many seconds. Raises what `Arm.asking` does."""
        with self._asking:  # whoever comes second uses the first one's answer
            if self._kept is None and self._file is not None:
                self._kept = _read(self._file)
            if self._kept is None or not 0 <= time.time() - self._kept[0] <= at_most:
                self._kept = (time.time(), self._asked(watch))
                if self._file is not None:
                    _write(self._file, *self._kept)
            return self._kept[1]

    def _asked(self, watch: Watch | None) -> Offer:
        with self._arm.asking(f"list the sizes of machines in {self._location}", watch):
            return read_offer(
                self._arm.compute.resource_skus.list(filter=f"location eq '{self._location}'"), self._location
            )


def read_offer(items: Iterable[Mapping[str, Any]], location: str) -> Offer:
    """What a list of Azure's says of one location; sizes that it says too little of are left out."""
    sizes, disk_types = {}, set()
    for item in items:
        match item.get("resourceType"):
            case "virtualMachines":
                if (sku := _sku(item, location)) is not None:
                    sizes[sku.name] = sku
            case "disks":
                disk_types.add(str(item.get("name")))
    return Offer(sizes, frozenset(disk_types))


def _sku(item: Mapping[str, Any], location: str) -> Sku | None:
    can = {str(each["name"]): str(each.get("value") or "") for each in item.get("capabilities") or ()}
    try:
        vcpus, memory_mib = int(can["vCPUs"]), int(float(can["MemoryGB"]) * 1024)
        return Sku(
            name=str(item["name"]),
            family=str(item["family"]),
            vcpus=int(can.get("vCPUsAvailable") or vcpus),
            counted_vcpus=vcpus,
            memory_mib=memory_mib,
            architecture=can.get("CpuArchitectureType") or "x64",
            generations=_list(can.get("HyperVGenerations") or "V1"),
            premium=_is(can, "PremiumIO"),
            accelerated_networking=_is(can, "AcceleratedNetworkingEnabled"),
            trusted_launch=not _is(can, "TrustedLaunchDisabled"),
            confidential=bool(can.get("ConfidentialComputingType")),
            controllers=_list(can.get("DiskControllerTypes") or "SCSI"),
            zones=_zones(item, location),
            **_restrictions(item, location),
        )
    except (KeyError, ValueError):
        return None


def _is(can: Mapping[str, str], name: str) -> bool:
    return can.get(name, "").lower() == "true"


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _zones(item: Mapping[str, Any], location: str) -> list[str]:
    here = (info for info in item.get("locationInfo") or () if str(info.get("location")).lower() == location.lower())
    return sorted({str(zone) for info in here for zone in info.get("zones") or ()})


def _restrictions(item: Mapping[str, Any], location: str) -> dict[str, Any]:
    refused, refused_in = "", dict[str, str]()
    for restriction in item.get("restrictions") or ():
        code = str(restriction.get("reasonCode") or "")
        why = f"{_REASONS.get(code, 'Azure restricts it')}{f' ({code})' if code else ''}"
        info = restriction.get("restrictionInfo") or {}
        if restriction.get("type") == "Zone":
            refused_in |= {str(zone): why for zone in info.get("zones") or ()}
            continue
        there = [str(each).lower() for each in info.get("locations") or restriction.get("values") or ()]
        if not there or location.lower() in there:
            refused = why
    return {"refused": refused, "refused_in": refused_in}


def _read(file: Path) -> tuple[float, Offer] | None:
    try:
        kept = json.loads(file.read_text("utf-8"))
        skus = [Sku(**each) for each in kept["sizes"]]
        return float(kept["asked"]), Offer({sku.name: sku for sku in skus}, frozenset(kept["diskTypes"]))
    except (OSError, ValueError, KeyError, TypeError):  # nothing is kept yet, or an older version did
        return None


def _write(file: Path, asked: float, offer: Offer) -> None:
    kept = {
        "asked": asked,
        "sizes": [asdict(sku) for sku in offer.sizes.values()],
        "diskTypes": sorted(offer.disk_types),
    }
    temporary = file.with_suffix(f".{threading.get_ident()}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(kept), "utf-8")
        temporary.replace(file)
    except OSError:  # a cache that can't be written is only slower
        return
