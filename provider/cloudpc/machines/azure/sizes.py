"""Which of Azure's sizes a machine of a service plan gets: asks what there is and what is left, and says why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from cloudpc.files import folders
from cloudpc.machines.azure.choice import FAMILIES, Candidate, Choice, Refusal, Wanted, choose, gb, rotated
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.found_image import FoundImage
from cloudpc.machines.azure.quota import MACHINES, REGIONAL, Quota, Usages
from cloudpc.machines.azure.skus import Offer, Skus
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Capacity, Limits, Machine
from cloudpc.model.problems import closest
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

__all__ = ["Candidate", "Sizes"]
_ASKED_AGAIN = 60.0
"""Seconds: where there is nothing to choose from, an older list is asked for once more."""
_UNSEEN_FOR = 120.0
"""Seconds until what was let in is listed, or has failed."""
_NO_ROOM_FOR = 600.0
"""Seconds for which a size that had no room comes last."""


class Sizes:
    """Sizes and quota of a host's location.

    Args:
        arm: asks Azure.
        config: the host's.
        cache: folder in which lists are kept for later processes; None: the user's, and nowhere of a tests' Azure.
    """

    def __init__(self, arm: Arm, config: AzureHostConfig, cache: Path | None = None) -> None:
        self._config = config
        if cache is None and config.endpoint is None:
            cache = folders.cache()
        self._skus = Skus(arm, config.location, None if cache is None else cache / "azure-sizes")
        self._usages = Usages(arm, config.location)
        self._letting_in = threading.Lock()
        self._let_in: dict[UUID, float] = {}
        self._had_no_room: dict[tuple[str, str | None], float] = {}

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
        choice = self.choice(plan_id, size, image, watch, number=machine_id.int)
        if not choice.candidates:
            raise self._none(size, choice.refusals)
        return list(choice.candidates)

    def choice(self, plan_id: str, size: Amount, image: FoundImage, watch: Watch, *, number: int = 0) -> Choice:
        """The same with what speaks against others, and nothing is raised where there is none."""
        wanted = self._wanted(plan_id, size, image, number)
        last = [place for place, until in list(self._had_no_room.items()) if until > time.monotonic()]
        quota = self._usages.quota(watch)
        choice = choose(wanted, self._skus.offer(watch), quota, last)
        if choice.is_lasting:  # somebody may have seen to it a moment ago
            choice = choose(wanted, self._skus.offer(watch, at_most=_ASKED_AGAIN), quota, last)
        return choice

    def refused(self, candidate: Candidate) -> None:
        """Azure has no room for this one now (AllocationFailed and its like): for some minutes it comes last."""
        self._had_no_room[candidate.size, candidate.zone] = time.monotonic() + _NO_ROOM_FOR

    def amount(self, size: str) -> tuple[int, int] | None:
        """Cores and MiB of memory of a size by its name; None if the location has none of that name."""
        sku = self._skus.offer().named(size)
        return None if sku is None else (sku.vcpus, sku.memory_mib)

    def capacity(self, machines: Iterable[Machine]) -> Capacity:
        """What may be committed here, by quota and `maxCloudPCs`, and what is.

        Args:
            machines: all of the host's resource group that are ours, or another installation's.
        """
        return capacity(self._usages.quota(), list(machines), self._config.max_cloud_pcs)

    def refuse_beyond_maximum(self, machine_id: UUID, machines: Collection[UUID]) -> None:
        """Raises ProvisioningError NO_CAPACITY if one more than these would be more than `maxCloudPCs`."""
        most, now = self._config.max_cloud_pcs, time.monotonic()
        if most is None:
            return
        with self._letting_in:  # those that this process admits now are not in a list yet
            self._let_in = {one: until for one, until in self._let_in.items() if until > now}
            others = len({*machines, *self._let_in} - {machine_id})
            if others < most:
                self._let_in[machine_id] = now + _UNSEEN_FOR
                return
            raise beyond_maximum(self._config.name, others, most)

    def let_out(self, machine_id: UUID) -> None:
        """One that was let in has not come to be: its place is another's."""
        with self._letting_in:
            self._let_in.pop(machine_id, None)

    def checks(self) -> list[Check]:
        """What doctor says of quota, and of the sizes and disks that are configured."""
        location = self._config.location
        try:
            offer = self._skus.offer(at_most=_ASKED_AGAIN)
            if not offer.sizes:
                hint = "location is the short name of a region, as `az account list-locations` prints it"
                return [Check("sizes", "failed", f"Azure has no sizes of machines in {location}", hint)]
            return [*_quota_checks(self._usages.quota(), self._families(offer), location), *self._configured(offer)]
        except ProvisioningError as error:
            return [Check("sizes", "failed", error.message, error.hint)]

    def plan_check(self, plan_id: str, size: Amount, image: FoundImage, watch: Watch) -> Check:
        """Whether a machine of a plan can be had: what never will be has failed, what can't be now is a warning.

        Raises ProvisioningError: it is not known.
        """
        what = f"size for {size.vcpus} vCPU, {gb(size.memory_mib)}"
        choice = self.choice(plan_id, size, image, watch)
        if choice.candidates:
            names = dict.fromkeys(candidate.size for candidate in choice.candidates)
            return Check(what, "passed", ", ".join(names))
        none = self._none(size, choice.refusals)
        return Check(what, "failed" if choice.is_lasting else "warning", none.message, none.hint)

    def _wanted(self, plan_id: str, size: Amount, image: FoundImage, number: int) -> Wanted:
        config = self._config
        by_plan = {plan.lower(): names for plan, names in config.sizes.items()}
        return Wanted(
            vcpus=size.vcpus,
            memory_mib=size.memory_mib,
            image=image,
            zones=rotated(config.zones, number),
            premium=config.disk_type.startswith("Premium"),
            names=by_plan.get(plan_id.lower(), ()),
            families=config.size_families,
        )

    def _none(self, size: Amount, refusals: Sequence[Refusal]) -> ProvisioningError:
        amount = f"{size.vcpus} vCPU and {gb(size.memory_mib)}"
        why = "; ".join(f"{refusal.size}: {refusal.why}" for refusal in refusals) or "nothing is configured"
        message = f"{self._config.name} has no size for {amount} in {self._config.location} ({why})"
        return ProvisioningError(ErrorCode.NO_CAPACITY, message, hint=self._remedy(refusals))

    def _remedy(self, refusals: Sequence[Refusal]) -> str:
        """What to do, by what is nearest to being solved: quota, then restrictions, then the configuration."""
        others = f"name others in sizeFamilies or sizes of {self._config.name} in cloudpc:hosts"
        location = self._config.location
        if lacking := list(dict.fromkeys(refusal.lacks for refusal in refusals if refusal.lacks)):
            names = [{REGIONAL: "Total Regional vCPUs", MACHINES: "Virtual Machines"}.get(n, n) for n in lacking]
            return (
                f"ask Azure for a larger quota of {' or '.join(names)} in {location} (portal: Quotas, Compute), end "
                f"Cloud PCs, or {others}"
            )
        if restricted := [refusal.size for refusal in refusals if refusal.restricted]:
            return (
                f"ask Azure's support to lift the restriction of {restricted[0]} in {location}, take another zone or "
                f"region, or {others}"
            )
        return others

    def _families(self, offer: Offer) -> list[str]:
        """The families that an entry means, by name or by its sizes."""
        named = (offer.named(name) for name in chain.from_iterable(self._config.sizes.values()))
        families = self._config.size_families or FAMILIES
        return list(dict.fromkeys([*families, *(sku.family for sku in named if sku is not None)]))

    def _configured(self, offer: Offer) -> Iterator[Check]:
        """What an entry names and the location lacks."""
        location, known = self._config.location, {sku.lower() for sku in offer.sizes}
        names = dict.fromkeys(chain.from_iterable(self._config.sizes.values()))
        yield from _missing("size", (n for n in names if n.lower() not in known), offer.sizes, location)
        families = {family.lower() for family in offer.families()}
        gone = (family for family in self._config.size_families if family.lower() not in families)
        yield from _missing("family of sizes", gone, offer.families(), location)
        if offer.disk_types and self._config.disk_type not in offer.disk_types:
            there = ", ".join(sorted(offer.disk_types))
            detail = f"{location} has no disks of the type {self._config.disk_type}; there are: {there}"
            yield Check("disk type", "failed", detail, "change diskType in cloudpc:hosts")


def beyond_maximum(host: str, there: int, most: int) -> ProvisioningError:
    """The error of one more than the entry of a host allows."""
    message = f"{host} has {there} Cloud PCs, and its entry allows {most}"
    hint = f"raise maxCloudPCs of {host} in cloudpc:hosts, end Cloud PCs, or add a host"
    return ProvisioningError(ErrorCode.NO_CAPACITY, message, hint=hint)


def capacity(quota: Quota, machines: Sequence[Machine], most: int | None) -> Capacity:
    """What may be committed and what is; a host with as many machines as are allowed has no core left.

    Args:
        quota: cores are limited by it; memory and disks by nothing.
        machines: what is there.
        most: so many machines at most; None: as many as the quota has cores for.
    """
    regional = quota.of(REGIONAL)
    ours = sum(machine.size.vcpus for machine in machines)
    used = ours if regional is None else max(regional.used, ours)
    limit = None if regional is None else regional.limit
    if most is not None and len(machines) >= most:
        limit = used if limit is None else min(limit, used)
    committed = Amount(
        used, sum(machine.size.memory_mib for machine in machines), sum(machine.size.disk_gib for machine in machines)
    )
    return Capacity(Limits(limit), committed, frozenset(machine.id for machine in machines))


def _quota_checks(quota: Quota, families: Iterable[str], location: str) -> Iterator[Check]:
    """How much is left; a quota with less than the smallest machine takes is a warning."""
    shown = {name: quota.of(name) for name in (REGIONAL, *families)}
    full = [quota.title(name) for name, usage in shown.items() if usage is not None and usage.used >= usage.limit]
    said = [f"{quota.title(name)} {usage.used} of {usage.limit}" for name, usage in shown.items() if usage is not None]
    hint = f"ask Azure for a larger quota of {', '.join(full)} in {location} (portal: Quotas, Compute)" if full else ""
    yield Check(f"quota of {location}", "warning" if full else "passed", ", ".join(said), hint)


def _missing(
    what: str, names: Iterable[str], known: Mapping[str, object] | Iterable[str], location: str
) -> Iterator[Check]:
    there = list(known)
    for name in names:
        detail = f"{location} has no {what} {name}{closest(name, there)}"
        yield Check(what, "failed", detail, "change it in cloudpc:hosts; `az vm list-skus` prints what there is")
