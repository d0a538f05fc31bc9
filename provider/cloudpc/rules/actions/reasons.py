"""Why an action is done or not: what several of them tell."""

from __future__ import annotations

from dataclasses import dataclass

from cloudpc.model.cloud_pc import WAITING, Status
from cloudpc.rules.notices import Reason


@dataclass(frozen=True)
class WrongStatus(Reason):
    """It is not in a state in which the action means anything."""

    status: Status
    rule: str
    """What it would have to be."""

    def __str__(self) -> str:
        hint = _HINTS.get(self.status)
        return f"it is {self.status}{f' ({hint})' if hint else ''}; {self.rule}"


_HINTS = {
    **dict.fromkeys(WAITING, "each run tries again by itself"),
    Status.IN_GRACE_PERIOD: "its user is no longer entitled",
    Status.DEPROVISIONING: "it has ended",
}


@dataclass(frozen=True)
class NotEntitled(Reason):
    """The next run takes it away, or its grace has begun."""

    def __str__(self) -> str:
        return "its user is no longer entitled: the next run of its policy decides what happens to it"


@dataclass(frozen=True)
class PolicyNotKnown(Reason):
    """Its file is wrong, or its directory can't be read; that was reported."""

    def __str__(self) -> str:
        return "its policy's current settings are unknown"


@dataclass(frozen=True)
class Ignored(Reason):
    """What is written in `cloudpc:actions` is not done."""

    warning = True
    action: str
    why: str

    def __str__(self) -> str:
        return f"{self.action} in cloudpc:actions is ignored: {self.why}"


@dataclass(frozen=True)
class Done(Reason):
    """An action is carried out on a machine."""

    action: str
    notice: str

    def __str__(self) -> str:
        return self.notice
