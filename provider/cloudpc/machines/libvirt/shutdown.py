"""Turning a domain off in good order: its guest is asked, then its power button pressed, then its power cut."""

from __future__ import annotations

import queue
from typing import Any
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt import removal
from cloudpc.machines.libvirt.definitions import is_running
from cloudpc.machines.libvirt.errors import is_connection_error
from cloudpc.machines.libvirt.events import Happening, Watchers
from cloudpc.machines.libvirt.power import power
from cloudpc.model.machines import PowerState
from cloudpc.model.watch import Watch

WAS_OFF = "off already"
SHUT_DOWN = "shut down by its guest"
CUT = "turned off hard, since its guest did not shut down"
PAUSED = "turned off hard, since a paused guest can't shut down"
GUEST_HAS = 120.0
"""Seconds to shut down, before its power is cut."""
_LOOK_EVERY = 1.0
"""Seconds after which the domain is looked at, though no event has said anything."""
_BUTTON_AFTER = 0.5
"""Of that time: an agent that has said yes may be one whose guest hangs half way."""


def shut_down(domain: Any, watchers: Watchers, watch: Watch) -> str:
    """Have it off after GUEST_HAS seconds at the latest; how it went off. See `ShutsDown.shut_down`."""
    watch = watch.within(GUEST_HAS)
    now, _why = power(domain)
    if now is PowerState.STOPPED:
        return WAS_OFF
    if now is PowerState.PAUSED:
        removal.stop(domain)
        return PAUSED
    with watchers.watch(UUID(bytes=domain.UUID())) as happenings:  # before the question, so that nothing is missed
        asked = watch.within(watch.remaining * _BUTTON_AFTER)
        if _press(domain, libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) and _is_off(domain, happenings, asked):
            return SHUT_DOWN
        watch.note("pressing its power button")
        if _press(domain, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) and _is_off(domain, happenings, watch):
            return SHUT_DOWN
    if not is_running(domain):
        return SHUT_DOWN
    removal.stop(domain)
    return CUT


def _press(domain: Any, way: int) -> bool:
    """Ask it this way; whether it may have heard. What it has not heard of is no error: there is another way."""
    try:
        domain.shutdownFlags(way)
    except libvirt.libvirtError as error:
        if is_connection_error(error):
            raise
        return not is_running(domain)  # it has just gone off
    return True


def _is_off(domain: Any, happenings: queue.SimpleQueue[Happening], watch: Watch) -> bool:
    """Wait for its end. Raises Cancelled: it goes on shutting down, and the next run finds it off."""
    while watch.remaining > 0:
        watch.check()
        try:
            happened = happenings.get(timeout=min(_LOOK_EVERY, watch.remaining))
        except queue.Empty:
            happened = None
        if happened in (None, Happening.STOPPED, Happening.CONNECTION_LOST) and not is_running(domain):
            return True
    return False
