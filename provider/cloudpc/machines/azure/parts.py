"""Network cards and disks: what a machine is made of, has names of its own, and may outlive it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cloudpc.machines.azure import pace
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.names import machine_named_in, name_of, starts_with
from cloudpc.machines.azure.tags import MACHINE, installation_of, machine_of, made_at, policy_of
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

log = logging.getLogger(__name__)

YOUNG = timedelta(minutes=15)
"""Until then, what has no machine may be about to get one: a card is made before its machine."""
_CARDS, _DISKS = "Microsoft.Network/networkInterfaces", "Microsoft.Compute/disks"
_KINDS = {_CARDS.lower(): Kind.NETWORK_CARD, _DISKS.lower(): Kind.DISK}


@dataclass(frozen=True)
class Part:
    """One of them, by its name."""

    kind: Kind
    name: str


class PartsOfGroup:
    """Those of a host's resource group that are named after machines of ours.

    All raise ProvisioningError, as `Arm.asking` says.
    """

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._listing = threading.Lock()
        self._refused: dict[str, str] = {}
        """Why parts could not be removed where a person has to see to that, by name."""
        self._before: dict[UUID | None, list[Part]] | None = None

    def make_card(self, name: str, body: Mapping[str, Any], watch: Watch) -> str:
        """Make a network card; returns its id.

        Raises:
            ProvisioningError: also HOST_UNREACHABLE, it is not made when the watch's time is over.
        """
        call = self._arm.network.network_interfaces.begin_create_or_update
        doing = f"make the network card {name}"
        self._arm.complete(doing, watch, call, self._arm.group, name, dict(body), first=pace.card(self._arm))
        return f"{self._arm.group_path}/providers/{_CARDS}/{name}"

    def of_machine(self, machine_id: UUID) -> list[Part]:
        """All that there is of this one's, of whichever attempt. Lags, as all lists of Azure."""
        which = f"tagName eq '{MACHINE}' and tagValue eq '{machine_id}'"
        path = f"{self._arm.group_path.replace('/resourceGroups/', '/resourcegroups/')}/resources"
        with self._arm.asking("look for what belongs to a machine"):
            said = self._arm.get(path, "resources", **{"$filter": which}) or {}
        its = said.get("value", ())
        found = [Part(_KINDS[each["type"].lower()], each["name"]) for each in its if each["type"].lower() in _KINDS]
        return [part for part in found if machine_named_in(part.name) == name_of(machine_id)]

    def left_before(self, machine_id: UUID) -> list[Part]:
        """What of this one's had no machine when a run asked first: it asks once for all of its machines.

        For what runs have left that were killed before. The list lags, as all of Azure's: it may lack something, which
        is a remnant then, and what it has may have gone since.
        """
        with self._listing:
            if self._before is None:
                self._before = {}
                for part, tags in list(self._unattached()):
                    self._before.setdefault(machine_of(tags), []).append(part)
            its = self._before.get(machine_id, [])
        return [part for part in its if machine_named_in(part.name) == name_of(machine_id)]

    def left(self, installation: str) -> list[Remnant]:
        """What this installation's machines had, and no machine has any longer."""
        now = datetime.now(UTC)
        return [
            Remnant(
                kind=part.kind,
                name=part.name,
                machine=starts_with(machine) or "",
                policy_id=policy_of(tags),
                stays_because=self.refused(part),
            )
            for part, tags in self._unattached()
            if (machine := machine_named_in(part.name))
            and installation_of(tags) == installation
            and made_at(tags) + YOUNG <= now
        ]

    def remove(self, part: Part, watch: Watch) -> bool:
        """Remove it unless a machine has it; whether it is gone now. Raises ProvisioningError: HOST_UNREACHABLE."""
        try:
            self._arm.follow(f"remove the {part.kind} {part.name}", watch, self._deletion(part.kind), self._arm.group,
                             part.name)  # fmt: skip
        except AzureFailed as failed:
            if failed.arm.is_missing:
                return True
            if failed.code is ErrorCode.HOST_UNREACHABLE:
                raise
            log.info("stays: %s", failed.message)
            if failed.code is ErrorCode.HOST_REFUSES:
                self._refused[part.name] = failed.why
            return False
        except ProvisioningError as late:  # Azure is still at it
            log.info("stays: %s", late.message)
            return False
        self._refused.pop(part.name, None)
        return True

    def refused(self, part: Part) -> str:
        """Why it could not be removed, where a person has to see to that first; nothing if it is no such matter."""
        return self._refused.get(part.name, "")

    def _deletion(self, kind: Kind) -> Callable[..., Any]:
        if kind is Kind.NETWORK_CARD:
            return self._arm.network.network_interfaces.begin_delete
        return self._arm.compute.disks.begin_delete

    def _unattached(self) -> Iterator[tuple[Part, Mapping[str, str]]]:
        with self._arm.asking("list what machines have left"):
            cards = list(self._arm.network.network_interfaces.list(self._arm.group))
            disks = list(self._arm.compute.disks.list_by_resource_group(self._arm.group))
        for card in cards:
            if not (card.get("properties") or {}).get("virtualMachine"):
                yield Part(Kind.NETWORK_CARD, card["name"]), card.get("tags") or {}
        for disk in disks:
            if not disk.get("managedBy"):
                yield Part(Kind.DISK, disk["name"]), disk.get("tags") or {}
