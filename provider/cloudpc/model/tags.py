"""Ownership: every machine carries who it belongs to, written before anything can leak (design rule 12)."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

_NAMESPACE = uuid.UUID("7d3cf6a4-5be1-4c86-9bb8-5d6f4f3c2a10")


class Phase(StrEnum):
    """How far a machine has come, as the hypervisor remembers it."""

    PROVISIONING = "provisioning"
    """Begun. If no run works on it any more it is unfinished: swept, or made anew."""
    READY = "ready"
    """Complete, but state may not know it yet: a run that died here is finished by the next one, by adoption."""
    HANDED_OVER = "handedOver"
    """Recorded in state, so the user may be working on it: never touched unless state knows it."""


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
    """Identifies the pinned settings it was made with, so that a half-made one is adopted only for the same."""
    phase: Phase = Phase.PROVISIONING
    attempt: str = ""
    """Random for each attempt: one that was given up late must not clean up what a newer one has made."""
    made_with: str = ""
    """All that was asked for, as JSON: should state be lost, `cloudpc adopt` knows what the machine is."""
    joined_through: str = ""
    """The connection whose domain it joins, if it does: its computer account may exist before state knows."""

    @property
    def key(self) -> str:
        """The Cloud PC's: `<user id>/<service plan id>`."""
        return f"{self.user_id}/{self.service_plan_id}"

    @property
    def machine_id(self) -> uuid.UUID:
        """The identity of the machine that may carry it."""
        return machine_id(self.installation, self.user_id, self.service_plan_id)

    @property
    def joined(self) -> tuple[str, ...]:
        """Names of the connections through which it may have been joined."""
        return (self.joined_through,) if self.joined_through else ()


def machine_id(installation: str, user_id: str, service_plan_id: str) -> uuid.UUID:
    """The identity of a user's Cloud PC of one service plan, the same in every stack of an installation.

    Leaving the policy out makes the hypervisor itself refuse a second one (design section 4).
    """
    return uuid.uuid5(_NAMESPACE, "\0".join((installation, user_id, service_plan_id)))


def machine_name(installation: str, identity: uuid.UUID) -> str:
    """The libvirt domain's name; its volumes begin with it, so that one left alone still says whose it is."""
    return f"cloudpc-{_whose(installation)}-{identity.hex[:12]}"


@dataclass(frozen=True)
class NamedAfter:
    """What the name of a machine, or of something that is named after it, says."""

    machine: str
    """How the machine's identity begins, in hexadecimal digits."""
    whose: str

    def is_of(self, installation: str) -> bool:
        """Whether it says that it is this installation's."""
        return self.whose == _whose(installation)

    def may_be_of(self, installation: str) -> bool:
        """Whether it is this installation's or, by a name of before, another's whose id begins alike."""
        return self.is_of(installation) or self.whose == installation[:_OLD_LENGTH]


def named_after(name: str) -> NamedAfter | None:
    """What a name says, or None if it is not of a machine of ours."""
    found = _NAME.match(name)
    return None if found is None else NamedAfter(found[2], found[1])


_OLD_LENGTH = 8
_NAME = re.compile(rf"cloudpc-([0-9a-f]{{16}}|[a-z0-9]{{{_OLD_LENGTH}}})-([0-9a-f]{{12}})(?=[.-]|$)")


def _whose(installation: str) -> str:
    """Of the whole id: two that begin alike are two."""
    return digest("installation", installation).hex()[:16]


def digest(*parts: str) -> bytes:
    """Stable bytes derived from texts, for names and choices that must not change between runs."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
