"""Addresses of network cards: each is given once, as far as this process knows the hosts.

Cloud PCs of several hosts may be neighbours on one network, and three bytes of a hash meet their twin once in a few
thousand machines: two that have one address take each other's packets. A machine's first choice comes from its
identity, so that it has the same for its whole life; the next ones are for those whose first is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import islice
from uuid import UUID

from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.domain_xml import mac_addresses

_CHOICES = 64
"""More than ever are taken of one machine's."""


def of(definition: Definition) -> str:
    """The address of the card that a machine was made with, whichever choice it was; somebody may have added others."""
    choices = islice(mac_addresses(definition.id), _CHOICES)
    return next((mac for mac in choices if mac in definition.macs), "")


class Cards:
    """Which machine has which address, on all hosts that were looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on: dict[str, dict[UUID, frozenset[str]]] = {}
        self._given: dict[UUID, str] = {}

    def saw(self, host: str, definitions: Iterable[Definition]) -> None:
        """All that is defined on a host, whoever defined it.

        Args:
            host: its URI.
            definitions: by now.
        """
        on_it = {definition.id: definition.macs for definition in definitions if definition.macs}
        with self._lock:
            self._on[host] = on_it

    def give(self, machine_id: UUID) -> str:
        """The address of a machine that is going to be made: its first choice that no other machine has."""
        with self._lock:
            taken = {mac for macs in self._on.values() for id_, its in macs.items() if id_ != machine_id for mac in its}
            taken |= {mac for id_, mac in self._given.items() if id_ != machine_id}
            self._given[machine_id] = mac = next(each for each in mac_addresses(machine_id) if each not in taken)
            return mac


CARDS = Cards()
"""Of this process."""
