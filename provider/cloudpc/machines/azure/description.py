"""A virtual machine of Azure as the ports describe a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.tags import Promised, from_tags, from_user_data, machine_of
from cloudpc.model.errors import TagUnreadable
from cloudpc.model.machines import Amount, Machine, PowerState
from cloudpc.model.tags import Phase

Found = Mapping[str, Any]
"""A virtual machine, as Azure's answers have it."""

_RUNS = ("running", "starting")


class Descriptions:
    """Of the machines of one host.

    Args:
        host: its name.
        amount_of: cores and MiB of memory of a size by its name, None if nobody knows it; may ask Azure.
    """

    def __init__(self, host: str, amount_of: Callable[[str], tuple[int, int] | None]) -> None:
        self._host = host
        self._amount_of = amount_of

    def machine(self, found: Found, statuses: Statuses) -> Machine:
        """The machine. Raises TagUnreadable."""
        tag = from_tags(tags_of(found), from_user_data(_properties(found).get("userData")))
        if tag is None or name_of(tag.machine_id) != found["name"].lower():
            raise TagUnreadable(found["name"], self._host)
        if is_going(found):
            tag = replace(tag, phase=Phase.GOING)
        size = self._size(found)
        billed, facts = statuses.is_billed_though_stopped, dict(_facts(found))
        name = found["name"]
        return Machine(tag.machine_id, name, tag, statuses.power, size, is_billed_while_off=billed, facts=facts)

    def _size(self, found: Found) -> Amount:
        """What was promised, while it has the size that it was made with; otherwise what its current size has."""
        promised = Promised.from_tags(tags_of(found))
        disk = disk_of(found).get("diskSizeGB") or (promised.amount.disk_gib if promised else 0)
        name = str(_properties(found).get("hardwareProfile", {}).get("vmSize", ""))
        if promised and promised.size_name.lower() == name.lower():
            return Amount(promised.amount.vcpus, promised.amount.memory_mib, int(disk))
        vcpus, memory_mib = self._amount_of(name) or (0, 0)
        return Amount(vcpus, memory_mib, int(disk))


class Statuses:
    """What an instance view says: how far the last operation is, and whether the machine works."""

    def __init__(self, view: Mapping[str, Any] | None) -> None:
        self.all: list[Mapping[str, Any]] = list((view or {}).get("statuses") or ())

    @property
    def power(self) -> PowerState:
        """Running also where nothing is said: a machine that is being made.

        What the last operation came to says nothing of it: one that has failed may be its user's, and works.
        """
        said = self._of("PowerState")
        if said is None:
            return PowerState.STOPPED if self.failure else PowerState.RUNNING
        return PowerState.RUNNING if said in _RUNS else PowerState.STOPPED

    @property
    def is_allocated(self) -> bool:
        """Whether Azure has found a place for it, and its guest boots."""
        codes = [str(status.get("code", "")).lower() for status in self.all]
        return "powerstate/running" in codes or any(code.endswith("/osprovisioninginprogress") for code in codes)

    @property
    def failure(self) -> tuple[str, str] | None:
        """Code and words of what the last operation failed with, if it did."""
        for status in self.all:
            kind, _, code = str(status.get("code", "")).partition("/")
            if kind == "ProvisioningState" and code.startswith("failed"):
                return code.partition("/")[2], str(status.get("message") or status.get("displayStatus") or "")
        return None

    @property
    def is_billed_though_stopped(self) -> bool:
        """Whether it was shut down and keeps its place, which costs as much as if it ran."""
        return self._of("PowerState") == "stopped"

    def _of(self, kind: str) -> str | None:
        for status in self.all:
            said, _, value = str(status.get("code", "")).partition("/")
            if said == kind:
                return value
        return None


def _facts(found: Found) -> Iterator[tuple[str, str]]:
    """What people who work in Azure look for; nothing that changes by itself."""
    properties = _properties(found)
    storage = properties.get("storageProfile") or {}
    facts = {
        "vmResourceId": found.get("id"),
        "networkInterfaceId": next(card_ids(found), None),
        "osDiskId": (disk_of(found).get("managedDisk") or {}).get("id"),
        "size": (properties.get("hardwareProfile") or {}).get("vmSize"),
        "zone": next(iter(found.get("zones") or ()), None),
        "exactVersion": (storage.get("imageReference") or {}).get("exactVersion"),
        "principalId": (found.get("identity") or {}).get("principalId"),
    }
    yield from ((name, str(value)) for name, value in facts.items() if value)


def tags_of(found: Found) -> Mapping[str, str]:
    """Of whatever has some."""
    return found.get("tags") or {}


def id_of(found: Found) -> UUID | None:
    """Of which machine of ours it is, as far as its tags say so."""
    machine_id = machine_of(tags_of(found))
    return machine_id if machine_id and name_of(machine_id) == found["name"].lower() else None


def is_going(found: Found) -> bool:
    """Whether Azure removes it."""
    return str(_properties(found).get("provisioningState")).lower() == "deleting"


def disk_of(found: Found) -> Mapping[str, Any]:
    """Its own disk, as the machine has it."""
    return (_properties(found).get("storageProfile") or {}).get("osDisk") or {}


def is_windows(found: Found) -> bool:
    """Whether its system is Windows, as its disk has it."""
    return str(disk_of(found).get("osType")).lower() == "windows"


def card_ids(found: Found) -> Iterator[str]:
    """Of its network cards."""
    for card in (_properties(found).get("networkProfile") or {}).get("networkInterfaces") or ():
        yield str(card["id"])


def _properties(found: Found) -> Mapping[str, Any]:
    return found.get("properties") or {}
