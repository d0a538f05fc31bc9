"""What a run says of a Cloud PC before it does anything: typed reasons, and their words in one place each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from cloudpc.model.cloud_pc import Status


class Reason(ABC):
    """What people are told, with its values; notices of a remote action are in the action's file."""

    warning: ClassVar[bool] = False
    """Whether somebody should do something about it."""

    @abstractmethod
    def __str__(self) -> str:
        """For people, without whose Cloud PC it is."""


@dataclass(frozen=True)
class Notice:
    """What will happen to a Cloud PC, when and why; or what stands in its way."""

    key: str
    reason: Reason
    who: str = ""
    """Its user and service plan; nobody where it is a key that no Cloud PC has."""

    @property
    def warning(self) -> bool:
        """Whether somebody should do something about it."""
        return self.reason.warning

    @property
    def message(self) -> str:
        """For people."""
        return f"{self.who}: {self.reason}" if self.who else str(self.reason)


@dataclass(frozen=True)
class New(Reason):
    """There was none."""

    image_id: str

    def __str__(self) -> str:
        return f"will get a new Cloud PC (image {self.image_id})"


@dataclass(frozen=True)
class NewByNextRun(Reason):
    """Its user is entitled again, and the entry of the one that has ended still stands."""

    def __str__(self) -> str:
        return "has ended, and its entry goes now; its user is entitled again: the next run makes a new Cloud PC"


@dataclass(frozen=True)
class StillWaiting(Reason):
    """It could not be made yet."""

    status: Status
    why: str

    def __str__(self) -> str:
        return f"{self.status}: {self.why.rstrip('.')}; tried again"


@dataclass(frozen=True)
class EntitledAgain(Reason):
    """Its grace period is over, and with it what was asked for before."""

    waived: int = 0
    """The generation of the reprovision that will no longer be done, if one was asked for."""

    def __str__(self) -> str:
        over = f"; the reprovision asked for before (generation {self.waived}) is over" if self.waived else ""
        return f"entitled again: the grace period is cancelled, nothing is rebuilt{over}"


@dataclass(frozen=True)
class StandsStill(Reason):
    """Its machine is there and does not work."""

    paused_because: str | None = None
    """Why it is paused; None where it is off."""

    def __str__(self) -> str:
        if self.paused_because is None:
            return "is off, and will be started"
        return f"is paused ({self.paused_because}), and will be resumed"


@dataclass(frozen=True)
class BeginsGrace(Reason):
    """Its user is no longer entitled."""

    until: datetime
    why: str

    def __str__(self) -> str:
        return f"grace until {shown(self.until)} ({self.why})"


@dataclass(frozen=True)
class GraceEnds(Reason):
    """It goes, with what is on it."""

    why: str
    """Why it was in its grace period."""
    over_since: datetime | None = None
    """None: somebody ends it before its time."""

    @property
    def whole_why(self) -> str:
        """As it is remembered."""
        ended = "ended by the admin" if self.over_since is None else f"grace period ended on {shown(self.over_since)}"
        return f"{ended}; {self.why}"

    def __str__(self) -> str:
        return f"ends now ({self.whole_why}): all data on it is deleted"


@dataclass(frozen=True)
class EndsUnused(Reason):
    """It never came to be, or is lost: nobody has anything on it."""

    status: Status
    why: str

    def __str__(self) -> str:
        return f"{self.status}, and ends ({self.why})"


@dataclass(frozen=True)
class NotRemovedWhole(Reason):
    """It has ended, and something of it is left."""

    leftovers: tuple[str, ...]

    def __str__(self) -> str:
        return f"could not be removed completely yet, will be tried again: {'; '.join(self.leftovers)}"


@dataclass(frozen=True)
class UnknownKey(Reason):
    """Whoever mistypes a key in `cloudpc:actions` would wait for what never comes."""

    warning = True
    action: str
    key: str

    def __str__(self) -> str:
        return (
            f"cloudpc:actions.{self.action} names {self.key}, but this policy has no such Cloud PC; "
            "a key is <user id>/<service plan id>, as `cloudpc list --json` shows them"
        )


def shown(time: datetime) -> str:
    """To the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
