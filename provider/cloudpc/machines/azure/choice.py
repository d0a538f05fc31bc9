"""Which sizes a machine may have, in the order to try: plain decisions over what a location offers and has left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cloudpc.machines.azure.found_image import FoundImage
from cloudpc.machines.azure.quota import MACHINES, REGIONAL, Quota
from cloudpc.machines.azure.skus import Offer, Sku

USUAL: Mapping[tuple[int, int], tuple[str, ...]] = {
    (1, 2): ("Standard_B1ms",),
    (2, 4): ("Standard_B2als_v2", "Standard_D2als_v6", "Standard_D2ls_v6", "Standard_F2s_v2"),
    (2, 8): ("Standard_D2as_v5", "Standard_D2s_v5", "Standard_B2as_v2", "Standard_D2as_v6"),
    (4, 16): ("Standard_D4as_v5", "Standard_D4s_v5", "Standard_B4as_v2", "Standard_D4as_v6"),
    (8, 32): ("Standard_D8as_v5", "Standard_D8s_v5", "Standard_B8as_v2", "Standard_D8as_v6"),
}
"""By cores and GB of memory: what the plans of Windows 365 get where an entry names neither sizes nor families."""


FAMILIES = ("standardDASv5Family", "standardDSv5Family", "standardBasv2Family")
"""Where there is nothing usual for a plan either; of v5 first, since later ones want images for NVMe disks."""


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


@dataclass(frozen=True)
class Wanted:
    """What a machine needs of its size.

    Args:
        vcpus: what its service plan promises, exactly, where a family is searched.
        memory_mib: what it promises, at least.
        image: that it boots.
        zones: in the order in which they are tried; none: the region chooses.
        premium: whether its disk is a premium one.
        names: sizes that its entry gives the plan; families are not looked at then.
        families: of its entry; neither: the usual sizes, or else FAMILIES.
    """

    vcpus: int
    memory_mib: int
    image: FoundImage
    zones: Sequence[str] = ()
    premium: bool = False
    names: Sequence[str] = ()
    families: Sequence[str] = ()


@dataclass(frozen=True)
class Refusal:
    """Why a size is none for a machine.

    Args:
        size: or family.
        why: completes "<size>: ".
        lacks: the quota that is too small; empty if it is something else.
        restricted: whether Azure does not give it to this subscription.
    """

    size: str
    why: str
    lacks: str = ""
    restricted: bool = False


@dataclass(frozen=True)
class Choice:
    """What may be tried, best first, and why others may not."""

    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]

    @property
    def is_lasting(self) -> bool:
        """Whether it is the configuration or the subscription that has no size for it, and not what is used now."""
        return not self.candidates and not any(refusal.lacks for refusal in self.refusals)


def choose(wanted: Wanted, offer: Offer, quota: Quota, last: Collection[tuple[str, str | None]] = ()) -> Choice:
    """Decide it.

    Args:
        wanted: what is needed.
        offer: what the location has.
        quota: what is left of it.
        last: sizes and zones that had no room a moment ago: they come last.
    """
    candidates: list[Candidate] = []
    refusals: list[Refusal] = []
    for found in _considered(wanted, offer, quota):
        if isinstance(found, Refusal):
            refusals.append(found)
        else:
            candidates += _places(found, wanted)
    unique = list(dict.fromkeys(candidates))
    return Choice(tuple(sorted(unique, key=lambda c: (c.size, c.zone) in last)), tuple(dict.fromkeys(refusals)))


def rotated(zones: Sequence[str], number: int) -> tuple[str, ...]:
    """The zones, beginning with another one for each next number: machines are spread over all of them."""
    start = number % len(zones) if zones else 0
    return (*zones[start:], *zones[:start])


def _considered(wanted: Wanted, offer: Offer, quota: Quota) -> Iterator[Sku | Refusal]:
    if wanted.names:
        yield from _named(wanted.names, wanted, offer, quota)
        return
    if usual := () if wanted.families else _usual(wanted):
        there = [name for name in usual if offer.named(name)] or usual
        yield from _named(there, wanted, offer, quota)
        return
    for family in wanted.families or FAMILIES:
        yield from _of_family(family, wanted, offer, quota)


def _usual(wanted: Wanted) -> tuple[str, ...]:
    """Sizes of the smallest Windows 365 plan with as many cores and no less memory; empty if there is none."""
    fitting = [(v, memory) for v, memory in USUAL if v == wanted.vcpus and memory * 1024 >= wanted.memory_mib]
    return USUAL[min(fitting)] if fitting else ()


def _named(names: Iterable[str], wanted: Wanted, offer: Offer, quota: Quota) -> Iterator[Sku | Refusal]:
    for name in names:
        sku = offer.named(name)
        yield Refusal(name, "the region has no size of this name") if sku is None else _judged(sku, wanted, quota)


def _of_family(family: str, wanted: Wanted, offer: Offer, quota: Quota) -> Iterator[Sku | Refusal]:
    """The smallest of a family that will do; if none does, why."""
    sizes = offer.of_family(family)
    fitting = [s for s in sizes if s.vcpus == s.counted_vcpus == wanted.vcpus and s.memory_mib >= wanted.memory_mib]
    if not fitting:
        amount = f"{wanted.vcpus} vCPU and at least {gb(wanted.memory_mib)}"
        yield Refusal(family, f"it has no size with {amount}" if sizes else "the region has no family of this name")
        return
    judged = [_judged(sku, wanted, quota) for sku in fitting]
    yield next((sku for sku in judged if isinstance(sku, Sku)), judged[0])


def _judged(sku: Sku, wanted: Wanted, quota: Quota) -> Sku | Refusal:
    if why := _unfit(sku, wanted):
        return Refusal(sku.name, why)
    if why := _restricted(sku, wanted):
        return Refusal(sku.name, why, restricted=True)
    if lacks := quota.lacks(sku.family, sku.counted_vcpus):
        needed = 1 if lacks == MACHINES else sku.counted_vcpus
        return Refusal(sku.name, _quota_words(lacks, quota, needed), lacks=lacks)
    return sku


def _unfit(sku: Sku, wanted: Wanted) -> str:
    """Why no such machine can have this size, whoever asks; empty if it can."""
    image = wanted.image
    checks = (
        (
            sku.vcpus < wanted.vcpus or sku.memory_mib < wanted.memory_mib,
            f"with {sku.vcpus} vCPU and {gb(sku.memory_mib)} it is smaller than the service plan",
        ),
        (sku.architecture.lower() != "x64", f"its processor is {sku.architecture}, and machines here are x64"),
        (sku.confidential, "its machines are confidential ones, which are not made here"),
        (image.generation not in sku.generations, f"it does not boot images of generation {image.generation}"),
        (image.trusted_launch and not sku.trusted_launch, "it has no Trusted Launch, which the image has"),
        (wanted.premium and not sku.premium, "it takes no premium disk"),
        ("SCSI" not in sku.controllers and not image.nvme, "its disks are NVMe only, and the image does not say that "
         "it boots from those"),
    )  # fmt: skip
    return next((why for wrong, why in checks if wrong), "")


def _restricted(sku: Sku, wanted: Wanted) -> str:
    if sku.refused:
        return sku.refused
    if not wanted.zones or set(_zones(sku, wanted)):
        return ""
    known = [sku.refused_in[zone] for zone in wanted.zones if zone in sku.refused_in]
    zones = f"zone{'s' if len(wanted.zones) > 1 else ''} {', '.join(sorted(wanted.zones))}"
    return f"in the {zones} {known[0]}" if known else f"it is not in the {zones}"


def _zones(sku: Sku, wanted: Wanted) -> list[str]:
    return [zone for zone in wanted.zones if zone in sku.zones and zone not in sku.refused_in]


def _places(sku: Sku, wanted: Wanted) -> Iterator[Candidate]:
    zones: Sequence[str | None] = _zones(sku, wanted) if wanted.zones else (None,)
    for zone in zones:
        yield Candidate(
            size=sku.name,
            family=sku.family,
            vcpus=sku.vcpus,
            memory_mib=sku.memory_mib,
            zone=zone,
            accelerated_networking=sku.accelerated_networking and wanted.image.accelerated_networking,
            disk_controller=None if "SCSI" in sku.controllers else "NVMe",
        )


def _quota_words(name: str, quota: Quota, needed: int) -> str:
    usage = quota.of(name)
    used = f"{usage.used} of {usage.limit}" if usage is not None else "all"
    what = {REGIONAL: "vCPUs of the region", MACHINES: "machines of the region"}.get(name, f"vCPUs of {name}")
    return f"{used} {what} are used: {needed} needed, {quota.left(name):g} free"


def gb(mib: int) -> str:
    """Memory as people say it."""
    return f"{mib / 1024:g} GB"
