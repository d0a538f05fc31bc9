"""Rename: what a Cloud PC is called where people look at it. Graph's `rename`; device, guest and host keep their names.

Source: Windows 365, "Rename a Cloud PC": the display name alone, up to 64 characters. A reprovision keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.written import Written
from cloudpc.rules.actions.case import Candidate
from cloudpc.rules.actions.on_machine import Came, OnMachine
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

_ONE_LINE = Written(
    r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?",
    "a line of text that neither begins nor ends with a blank",
)


class DisplayName(Asked):
    """The display name that it is to have."""

    display_name: Annotated[str, _ONE_LINE] = Field(
        max_length=64,
        description="The new display name: up to 64 characters, without blanks around it.",
    )


@dataclass(frozen=True)
class IsItsName(Reason):
    """It bears it already."""

    name: str

    def __str__(self) -> str:
        return f"it is called {self.name} already"


class Rename(OnMachine[DisplayName]):
    """State alone remembers it."""

    name = command = graph = "rename"
    help = "Give Cloud PCs another display name.\n\nDevice, guest and account keep theirs."
    description = "Raised: its display name is `displayName`."
    must_name_users = True
    by_users = True
    asked = DisplayName
    can_be = "renamed"
    notice = "is called {display_name}"
    not_done = "keeps its name, tried again by the next run"
    power = None

    def refusal(self, candidate: Candidate[DisplayName]) -> Reason | None:
        name = candidate.asked.display_name
        is_its_name = name == display_name(candidate.recorded)
        return super().refusal(candidate) or (IsItsName(name) if is_its_name else None)

    def work(self, at: Workplace) -> Came:
        return Came(f"is called {self.given(at.desired).display_name}")


RENAME = Rename()


def display_name(pc: DesiredCloudPC) -> str:
    """Graph's `displayName`: as somebody has renamed it, or else its device's."""
    return str(pc.action_arguments.get(RENAME.name, {}).get("displayName", pc.device_name))
