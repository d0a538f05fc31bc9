"""A machine's tag as Azure's tags, so that bills and searches show whose something is.

Azure takes 50 of a resource, with values of at most 256 characters, shows them to whoever may read the resource, and
does not mind the case of their names. What the machine was made with is not among them, but its `userData`: it is long,
and says how people are called.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from cloudpc.model.machines import Amount
from cloudpc.model.tags import Phase, Tag

_PREFIX = "cloudpc-"
_LONGEST = 256
_INSTALLATION, _POLICY, _ATTEMPT = f"{_PREFIX}installation", f"{_PREFIX}policy", f"{_PREFIX}attempt"
MACHINE, PHASE = f"{_PREFIX}machine", f"{_PREFIX}phase"
_MADE_AT, _SIZE = f"{_PREFIX}made-at", f"{_PREFIX}size"
_FIELDS = {
    _INSTALLATION: "installation",
    _POLICY: "policy_id",
    f"{_PREFIX}user": "user_id",
    f"{_PREFIX}plan": "service_plan_id",
    f"{_PREFIX}generation": "generation",
    f"{_PREFIX}device": "device_name",
    f"{_PREFIX}settings": "settings_hash",
    PHASE: "phase",
    _ATTEMPT: "attempt",
    f"{_PREFIX}joined": "joined_through",
}
"""Which tag holds which field."""


def to_tags(tag: Tag) -> dict[str, str]:
    """What the machine carries, and all that is made for it."""
    pairs = [pair for name, field in _FIELDS.items() for pair in _split(name, str(getattr(tag, field)))]
    return {**dict(pairs), MACHINE: str(tag.machine_id)}


def from_tags(tags: Mapping[str, str], made_with: str = "") -> Tag | None:
    """The tag, or None if it can't be read. Others' tags, and what a later version says besides, are passed over."""
    known = {field: _joined(name, tags) for name, field in _FIELDS.items()}
    try:
        said = {field: value for field, value in known.items() if value is not None}
        generation, phase = int(said.pop("generation")), Phase(said.pop("phase"))
        return Tag(**said, generation=generation, phase=phase, made_with=made_with)
    except (KeyError, TypeError, ValueError):
        return None


def installation_of(tags: Mapping[str, str]) -> str | None:
    """Whose something is, whether or not all the rest can be read."""
    return _joined(_INSTALLATION, tags)


def policy_of(tags: Mapping[str, str]) -> str:
    """The same of its policy; nothing if that can't be read."""
    return _joined(_POLICY, tags) or ""


def machine_of(tags: Mapping[str, str]) -> UUID | None:
    """The same of the machine's id."""
    try:
        return UUID(_joined(MACHINE, tags) or "")
    except ValueError:
        return None


def attempt_of(tags: Mapping[str, str]) -> str | None:
    """The same of the attempt that made it."""
    return _joined(_ATTEMPT, tags)


def made_now() -> dict[str, str]:
    """Says when something was made: of a network card Azure does not."""
    return {_MADE_AT: datetime.now(UTC).isoformat(timespec="seconds")}


def made_at(tags: Mapping[str, str]) -> datetime:
    """When something was made; long ago, if it does not say."""
    try:
        said = datetime.fromisoformat(_joined(_MADE_AT, tags) or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return said if said.tzinfo else said.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Promised:
    """What a machine was made as: Azure has no size of just any cores and memory, so that it may have more.

    Args:
        size_name: Azure's.
        amount: the service plan's.
    """

    size_name: str
    amount: Amount

    def to_tags(self) -> dict[str, str]:
        """What the machine carries beside whose it is."""
        amount = self.amount
        return {_SIZE: f"{self.size_name} {amount.vcpus} {amount.memory_mib} {amount.disk_gib}"}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Promised | None:
        """None if it can't be read."""
        try:
            name, vcpus, memory_mib, disk_gib = (_joined(_SIZE, tags) or "").split()
            return cls(name, Amount(int(vcpus), int(memory_mib), int(disk_gib)))
        except ValueError:
            return None


def to_user_data(tag: Tag) -> str:
    """What the machine was made with, as `userData`; the guest's programs may read it."""
    return base64.b64encode(tag.made_with.encode()).decode()


def from_user_data(value: str | None) -> str:
    """The same the other way round; nothing of what is not ours."""
    try:
        return base64.b64decode(value or "", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _split(name: str, value: str) -> list[tuple[str, str]]:
    parts = [value[at : at + _LONGEST] for at in range(0, len(value), _LONGEST)] or [""]
    return [(f"{name}.{number}" if number else name, part) for number, part in enumerate(parts)]


def _joined(name: str, tags: Mapping[str, str]) -> str | None:
    by_name = {key.lower(): value for key, value in tags.items()}
    first = by_name.get(name)
    if first is None:
        return None
    parts = [first]
    while (more := by_name.get(f"{name}.{len(parts)}")) is not None:
        parts.append(more)
    return "".join(parts)
