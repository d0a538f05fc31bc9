"""Takes a machine away whole: itself, then its network card and its disk, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from cloudpc.machines.azure.description import Found, card_ids, disk_of, is_going, tags_of
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.names import machine_named_in
from cloudpc.machines.azure.parts import Part, PartsOfGroup
from cloudpc.machines.azure.tags import PHASE
from cloudpc.machines.azure.virtual_machines import VirtualMachines
from cloudpc.model.errors import ErrorCode
from cloudpc.model.machines import Removed
from cloudpc.model.remnants import Kind
from cloudpc.model.tags import Phase
from cloudpc.model.watch import REMOVED_WITHIN, Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

PATIENCE = REMOVED_WITHIN
"""Seconds that a deletion is waited for at most."""


class Removal:
    """Of one host's machines."""

    def __init__(self, arm: Arm, machines: VirtualMachines, parts: PartsOfGroup) -> None:
        self._arm = arm
        self._machines = machines
        self._parts = parts

    def remove(self, machine_id: UUID, found: Found | None, watch: Watch) -> Removed:
        """Remove it, in whatever state.

        Args:
            machine_id: whose; its tag was read.
            found: the machine as it is, if it is there.
            watch: ends it; its time is what is waited for the end.
        """
        # looked for while it is there, so that nothing of a machine that somebody else makes again is among them
        parts = self._parts.of_machine(machine_id)
        if found is not None:
            if not is_going(found):
                self._begin(found, watch)
            if not self.is_gone(found["name"], watch.within(PATIENCE)):
                return Removed.GOING
            parts = list(dict.fromkeys([*parts_of(found), *parts]))
        for part in parts:
            self._parts.remove(part, watch.within(PATIENCE))  # what stays for now is a remnant
        return Removed.GONE

    def _begin(self, found: Found, watch: Watch) -> None:
        """Azure accepts it, or refuses it, for example because of a lock: then its tag says again what it was."""
        self._say_that_it_goes(found["name"])
        try:
            self._machines.begin_deleting(found["name"], watch)
        except AzureFailed as failed:
            if failed.code is ErrorCode.HOST_REFUSES and (before := tags_of(found).get(PHASE)):
                with suppress(AzureFailed):
                    self._machines.merge_tags(found["name"], {PHASE: before})
            raise

    def is_gone(self, name: str, watch: Watch) -> bool:
        """Whether a machine that is going is gone by the watch's deadline. Raises Cancelled."""
        while self._machines.get(name, watch=watch) is not None:
            if not watch.remaining:
                return False
            watch.wait(self._arm.interval)
        return True

    def _say_that_it_goes(self, name: str) -> None:
        """Should Azure accept its removal and then fail, its tag remembers that it is nobody's any longer."""
        try:
            self._machines.merge_tags(name, {PHASE: Phase.GOING.value})
        except AzureFailed as failed:  # as while it is being made, which is no reason to keep it
            if failed.code is ErrorCode.HOST_UNREACHABLE:
                raise


def parts_of(found: Found) -> Iterator[Part]:
    """What a machine says that it is made of, as far as it has a name of ours: others' things are left alone."""
    names = [(Kind.NETWORK_CARD, card_id.rpartition("/")[2]) for card_id in card_ids(found)]
    names.append((Kind.DISK, str(disk_of(found).get("name", ""))))
    yield from (Part(kind, name) for kind, name in names if machine_named_in(name) == found["name"].lower())
