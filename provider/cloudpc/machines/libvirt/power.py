"""Whether a domain works, why it doesn't, and how it goes on: off, paused by somebody, or stopped by a full disk."""

from __future__ import annotations

import time
from typing import Any

import libvirt

from cloudpc.machines.libvirt.errors import unless_gone
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState

CRASHED = "its guest has crashed"
NO_ROOM = "the host's storage is full, so that its disk can't grow"
_SUSPENDED = "its guest has put itself to sleep"
_UNKNOWN = "libvirt does not say why"
_AT_WORK = {
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
    libvirt.VIR_DOMAIN_PAUSED_SAVE,
    libvirt.VIR_DOMAIN_PAUSED_DUMP,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
}
"""Pauses that end by themselves: a snapshot, say, that somebody is making."""
_WHY = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "somebody has paused it",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "its disk can't be read or written",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "its watchdog has found it hanging",
    libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: "somebody has put it back to a snapshot of a paused machine",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: CRASHED,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "its migration has failed halfway",
}
_ON_AGAIN_WITHIN, _LOOK_EVERY = 0.5, 0.05
"""Seconds: QEMU tries again at once what it could not write, and stops again if it still can't."""


def power(domain: Any) -> tuple[PowerState, str]:
    """Whether it works, and why not if it is paused; that one is gone means that it does not run."""
    found = unless_gone(domain.state)
    return (PowerState.STOPPED, "") if found is None else of_state(domain, *found)


def of_state(domain: Any, state: int, reason: int) -> tuple[PowerState, str]:
    """The same, where libvirt has given the state already; only one whose disk has failed is asked for more."""
    match state:
        case libvirt.VIR_DOMAIN_SHUTOFF:
            return PowerState.STOPPED, ""
        case libvirt.VIR_DOMAIN_CRASHED:
            return PowerState.PAUSED, CRASHED
        case libvirt.VIR_DOMAIN_PMSUSPENDED:
            return PowerState.PAUSED, _SUSPENDED
        case libvirt.VIR_DOMAIN_PAUSED if reason not in _AT_WORK:
            return PowerState.PAUSED, NO_ROOM if _is_out_of_room(domain, reason) else _WHY.get(reason, _UNKNOWN)
    return PowerState.RUNNING, ""


def _is_out_of_room(domain: Any, reason: int) -> bool:
    if reason != libvirt.VIR_DOMAIN_PAUSED_IOERROR:
        return False
    try:
        return libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE in domain.diskErrors().values()
    except libvirt.libvirtError:
        return False  # its QEMU does not answer: that its disk has failed is all that is known


def turn_on(domain: Any) -> PowerState:
    """Start it, or let it go on where it was paused; nothing where it works. Returns what it was.

    Raises:
        ProvisioningError: STORAGE_FULL, START_FAILED: it has stopped again at once.
    """
    now, why = power(domain)
    try:
        if now is PowerState.STOPPED:
            domain.create()
        elif now is PowerState.PAUSED:
            _go_on(domain, why)
    except libvirt.libvirtError:
        if power(domain)[0] is not PowerState.RUNNING:  # or somebody else has just done it
            raise
    return now


def _go_on(domain: Any, why: str) -> None:
    if why == _SUSPENDED:
        domain.pMWakeup(0)
        return
    if why == CRASHED:  # there is nothing to resume: it boots again
        domain.reset(0)
    domain.resume()
    until = time.monotonic() + _ON_AGAIN_WITHIN
    while time.monotonic() < until:
        _refuse_paused(domain)
        time.sleep(_LOOK_EVERY)


def _refuse_paused(domain: Any) -> None:
    now, why = power(domain)
    if now is PowerState.PAUSED:
        code = ErrorCode.STORAGE_FULL if why == NO_ROOM else ErrorCode.START_FAILED
        raise ProvisioningError(code, f"It went on and was stopped again at once: {why}.")
