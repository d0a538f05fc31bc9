"""Ownership: every machine carries who it belongs to, written before anything can leak (rule 12)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from cloudpc.model.identity import Identity


class Phase(StrEnum):
    """How far a machine has come, as the hypervisor remembers it."""

    PROVISIONING = "provisioning"
    """Begun. If no run works on it any longer, it is unfinished: it is removed, or made again."""
    READY = "ready"
    """Complete, but state may not know it yet: a run that died here is finished by the next one, by adoption."""
    HANDED_OVER = "handedOver"
    """Recorded in state, so the user may be working on it: never touched unless state knows it."""
    GOING = "going"
    """The host has accepted its removal, and has not finished it: it is nobody's now, and each run checks again."""


@dataclass(frozen=True)
class Tag:
    """Whose machine this is; only the phase changes."""

    installation: str
    policy_id: str
    user_id: str
    service_plan_id: str
    generation: int
    device_name: str
    settings_hash: str
    """Identifies the pinned settings it was made with."""
    phase: Phase = Phase.PROVISIONING
    attempt: str = ""
    """Random for each attempt: one that was given up late must not clean up what a newer one has made."""
    made_with: str = ""
    """All that was asked for, as JSON: should state be lost, `cloudpc adopt` knows what the machine is."""
    joined_through: str = ""
    """The connection whose domain it joins, if it does: its computer account may exist before state knows."""

    @property
    def identity(self) -> Identity:
        """Which Cloud PC, and which generation of it."""
        return Identity(self.installation, self.user_id, self.service_plan_id, self.generation, self.device_name)

    @property
    def key(self) -> str:
        """The Cloud PC's: `<user id>/<service plan id>`."""
        return self.identity.key

    @property
    def machine_id(self) -> uuid.UUID:
        """The identity of the machine that may carry it."""
        return self.identity.machine_id

    @property
    def joined(self) -> tuple[str, ...]:
        """Names of the connections through which it may have been joined."""
        return (self.joined_through,) if self.joined_through else ()
