"""Restart, power off, power on: the machine of a Cloud PC that works; nothing on its disk is lost.

Sources: Graph's `reboot`; `powerOn` and `powerOff` of its beta, which Windows 365 has for Frontline. What is powered
off stays so: no run starts it, until somebody powers it on, or asks for something that needs it to run.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudpc.model.abilities import ShutsDown
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.rules.actions.action import Question
from cloudpc.rules.actions.case import Candidate
from cloudpc.rules.actions.on_machine import Came, OnMachine
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

_LOST = "Whoever works on {cloud_pcs} is signed out, and what is not saved is lost:"


@dataclass(frozen=True)
class IsOff(Reason):
    """It was powered off before."""

    def __str__(self) -> str:
        return "it is powered off already"


@dataclass(frozen=True)
class IsOn(Reason):
    """Its machine works."""

    def __str__(self) -> str:
        return "it is powered on already"


class PowerOff(OnMachine[Asked]):
    """Its `powerState` says that it is off; its status stays what it is."""

    name = "powerOff"
    command = "power-off"
    help = (
        "Shut Cloud PCs down, and leave them off.\n\n"
        "The guest shuts down; one that does not within two minutes loses its power. "
        "`cloudpc power-on` starts it again."
    )
    description = "Raised: it is shut down, and stays off until it is powered on."
    question = Question(_LOST, "Power {them} off?")
    can_be = "powered off"
    notice = "will be powered off, and stay off; whoever works on it is signed out"
    by_users = True
    not_done = "not powered off, tried again by the next run"
    power = "poweredOff"

    def refusal(self, candidate: Candidate[Asked]) -> Reason | None:
        return super().refusal(candidate) or (IsOff() if candidate.recorded.is_kept_off else None)

    def work(self, at: Workplace) -> Came:
        return Came(f"powered off: {_shut_down(at, stays_off=True)}")


class PowerOn(OnMachine[Asked]):
    """It is wanted on from then on, also where somebody has turned it on by hand already."""

    name = "powerOn"
    command = "power-on"
    help = "Start Cloud PCs that were powered off, and wait until they are ready."
    description = "Raised: it is started, and wanted on again."
    can_be = "powered on"
    notice = "will be powered on"
    by_users = True
    not_done = "not powered on, tried again by the next run"

    def refusal(self, candidate: Candidate[Asked]) -> Reason | None:
        recorded = candidate.recorded
        is_on = recorded.desired_power_state == recorded.power_state == "running"
        return super().refusal(candidate) or (IsOn() if is_on else None)

    def work(self, at: Workplace) -> Came:
        at.wake()
        return Came("powered on")


class Restart(OnMachine[Asked]):
    """A whole stop and start, so that what changes at a machine's next start has changed after it."""

    name = command = "restart"
    graph = "reboot"
    help = (
        "Restart Cloud PCs, and wait until they are ready.\n\n"
        "The guest shuts down; one that does not within two minutes loses its power. "
        "One that is powered off is started."
    )
    description = "Raised: it is restarted, or started if it is powered off."
    question = Question(_LOST, "Restart {them}?")
    can_be = "restarted"
    notice = "will be restarted; whoever works on it is signed out"
    by_users = True
    not_done = "not restarted, tried again by the next run"

    def work(self, at: Workplace) -> Came:
        how = _shut_down(at, stays_off=False)
        at.wake()
        return Came(f"restarted: {how}, and started")


def _shut_down(at: Workplace, *, stays_off: bool) -> str:
    """Shut it down; returns how. Raises as `Action.carry_out`."""
    host = at.host
    if not isinstance(host, ShutsDown):
        message = f"machines on {host.name} can't be turned off from here; shut the guest down from inside"
        raise ProvisioningError(ErrorCode.HYPERVISOR_ERROR, message, retriable=False)
    at.watch.note("shutting down its guest")
    return host.shut_down(at.recorded.machine_id, at.watch, stays_off=stays_off)


POWER_OFF, POWER_ON, RESTART = PowerOff(), PowerOn(), Restart()
