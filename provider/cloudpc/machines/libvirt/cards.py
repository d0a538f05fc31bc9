"""Addresses of network cards: each is given once, over all hosts that this process has opened.

Cloud PCs of several hosts may be neighbours on one network, and three bytes of a hash meet their twin once in a few
thousand machines: two that have one address take each other's packets. A machine's first choice comes from its
identity, so that it has the same for its whole life; the next ones are for those whose first is taken.

Other processes give addresses at the same moment, and no lock holds over hosts. So a machine is defined with its
address before anybody looks whether another has it, and started after that: of two that meet, who looks last sees the
other, and takes its next choice; so do both, if both see each other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable
from itertools import islice
from typing import NamedTuple, TypeVar
from uuid import UUID
from weakref import WeakMethod

from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.domain_xml import mac_addresses
from cloudpc.model.errors import ProvisioningError, unexpected_told

log = logging.getLogger(__name__)

_CHOICES = 64
"""How many addresses a machine may choose from: more than others ever hold."""
_WITHIN = 5.0
"""Seconds that a machine waits for the addresses of other hosts: one that does not answer holds nobody up."""
_LEFT_ALONE = 60.0
"""Seconds for which nobody waits for a host that did not answer in time."""
_T = TypeVar("_T")


class Found(NamedTuple):
    """What a look at a host has found."""

    there: frozenset[UUID]
    """All that is defined there."""
    read: list[Definition]
    """Those of them that were not known."""


LooksAt = Callable[[Container[UUID]], Found]
"""Looks at a host; who is known and runs has the address that it had."""


def of(definition: Definition) -> str:
    """The address of the card that a machine was made with, whichever choice it was; somebody may have added others."""
    choices = islice(mac_addresses(definition.id), _CHOICES)
    return next((mac for mac in choices if mac in definition.macs), "")


class Cards:
    """Which machine has which address, on all hosts that were looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on: dict[str, _Addresses] = {}
        self._given = _Addresses()
        self._hosts: dict[str, _Host] = {}

    def reach(self, host: str, look: LooksAt) -> None:
        """A host was opened; it is looked at for as long as whose method `look` is lives.

        Args:
            host: its URI.
            look: is called in any thread, once at a time.
        """
        with self._lock:
            self._hosts[host] = _Host(host, WeakMethod(look))

    def leave(self, host: str) -> None:
        """It was closed."""
        with self._lock:
            self._hosts.pop(host, None)

    def saw(self, host: str, definitions: Iterable[Definition]) -> None:
        """All that is defined on a host, whoever defined it.

        Args:
            host: its URI.
            definitions: by now.
        """
        on_it = _Addresses()
        for definition in definitions:
            on_it.add(definition.id, definition.macs)
        with self._lock:
            self._on[host] = on_it

    def give(self, machine_id: UUID) -> str:
        """The address of a machine that is going to be made: its first choice that no other machine has."""
        with self._lock:
            mac = next(each for each in mac_addresses(machine_id) if not self._is_taken(machine_id, each))
            self._given.add(machine_id, [mac])
            return mac

    def settle(self, machine_id: UUID, define: Callable[[str], _T]) -> _T:
        """Define a machine with an address that no other has, whatever other processes do meanwhile.

        Args:
            machine_id: whose; it must not run yet.
            define: defines it, or defines it again, with this address.

        Returns:
            What `define` has, the last time.
        """
        while True:
            mac = self.give(machine_id)
            defined = define(mac)
            self._look()
            with self._lock:
                if not self._is_taken(machine_id, mac):
                    return defined

    def _is_taken(self, machine_id: UUID, mac: str) -> bool:
        """By another machine than this one; with the lock held."""
        return any(seen.is_taken(mac, machine_id) for seen in (self._given, *self._on.values()))

    def _look(self) -> None:
        """At all hosts, from now on; those that several wait for are looked at once for all of them."""
        since = time.monotonic()
        with self._lock:
            hosts = list(self._hosts.values())
        for host in hosts:
            host.begin(since, self._see)
        for host in hosts:
            host.wait(since, since + _WITHIN, self._see)

    def _see(self, host: _Host) -> None:
        with self._lock:
            known = {*self._on.get(host.name, _Addresses()).of, *self._given.of}
        if (found := host.look(known)) is None:
            return
        with self._lock:
            on_it = self._on.setdefault(host.name, _Addresses())
            on_it.keep(found.there)
            for each in found.read:
                on_it.add(each.id, each.macs)


class _Addresses:
    """By machine, and the other way round: thousands are asked for, one by one."""

    def __init__(self) -> None:
        self.of: dict[UUID, frozenset[str]] = {}
        self._by: dict[str, set[UUID]] = {}

    def add(self, machine_id: UUID, macs: Collection[str]) -> None:
        """From now on it has these and no others."""
        self._remove(machine_id)
        if macs:
            self.of[machine_id] = frozenset(macs)
        for mac in macs:
            self._by.setdefault(mac, set()).add(machine_id)

    def keep(self, machines: Container[UUID]) -> None:
        """Others are gone."""
        for machine_id in [each for each in self.of if each not in machines]:
            self._remove(machine_id)

    def is_taken(self, mac: str, machine_id: UUID) -> bool:
        """Whether a machine has it that is not this one."""
        return bool(self._by.get(mac, set()) - {machine_id})

    def _remove(self, machine_id: UUID) -> None:
        for mac in self.of.pop(machine_id, ()):
            self._by[mac].discard(machine_id)


class _Host:
    """One look at a time; whoever wants one that begins later waits for the next."""

    def __init__(self, name: str, look: WeakMethod[LooksAt]) -> None:
        self.name = name
        self._look = look
        self._changed = threading.Condition()
        self._is_looking = False
        self._seen_from = float("-inf")
        self._alone_until = float("-inf")

    def look(self, known: Container[UUID]) -> Found | None:
        """What is there; None: it does not say, or nobody has it open any longer."""
        look = self._look()
        if look is None:
            return None
        try:
            with unexpected_told(f"looking for cards on {self.name}"):
                return look(known)
        except ProvisioningError as error:
            log.info("the cards on %s are not known: %s", self.name, error.message)
            return None

    def begin(self, since: float, see: Callable[[_Host], None]) -> None:
        with self._changed:
            if not self._is_looking and self._seen_from < since:
                self._is_looking = True
                threading.Thread(target=self._work, args=(see,), name=f"cards {self.name}", daemon=True).start()

    def wait(self, since: float, until: float, see: Callable[[_Host], None]) -> None:
        with self._changed:
            while self._seen_from < since and self._alone_until < time.monotonic():
                self.begin(since, see)
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    self._alone_until = time.monotonic() + _LEFT_ALONE

    def _work(self, see: Callable[[_Host], None]) -> None:
        began = time.monotonic()
        try:
            see(self)
        finally:
            with self._changed:
                self._is_looking, self._seen_from, self._alone_until = False, began, float("-inf")
                self._changed.notify_all()


CARDS = Cards()
"""Of this process."""
