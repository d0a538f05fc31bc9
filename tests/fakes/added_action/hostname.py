"""A remote action with arguments that the program does not have, as an example of what one is."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Script
from cloudpc.rules.actions.action import Question
from cloudpc.rules.actions.case import Request
from cloudpc.rules.actions.on_machine import Came, OnMachine
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

_SCRIPT = 'hostnamectl hostname "$1" && hostnamectl --pretty hostname "$2"'


class NewName(Asked):
    """What a guest is to be called."""

    to: str = Field(pattern="^[a-z0-9-]{1,15}$", description="The guest's name: up to 15 of a-z, 0-9 and -.")
    shown_as: str | None = Field(default=None, description="As people read it.")


@dataclass(frozen=True)
class IsItsName(Reason):
    """It bears it already."""

    name: str

    def __str__(self) -> str:
        return f"it is called {self.name}"


class Hostname(OnMachine[NewName]):
    """Graph's `rename`, but of the guest."""

    name = command = "hostname"
    help = "Give the guests of Cloud PCs another name."
    description = "Raised: its guest is called as `to` says."
    asked = NewName
    question = Question("These are called {to} from now on:", "Call {them} {to}?")
    can_be = "called otherwise"
    notice = "its guest is to be called {to}"
    not_done = "keeps its name, tried again by the next run"

    def why_not(self, request: Request[NewName]) -> Reason | None:
        name = request.asked.to
        return IsItsName(name) if name == request.recorded.device_name.lower() else None

    def work(self, at: Workplace) -> Came:
        new = self.given(at.desired)
        script = Script(_SCRIPT, timeout=30, arguments=(new.to, new.shown_as or ""))
        at.wake()
        [done] = at.host.guest(at.recorded.machine_id).run([script], at.watch)
        if done.exit_code:
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, done.output)
        return Came(f"its guest is called {new.to}")
