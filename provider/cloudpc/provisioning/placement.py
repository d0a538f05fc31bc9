"""Which host a machine goes to."""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from uuid import UUID

from cloudpc.model import patience
from cloudpc.model.errors import WAITING_CODES, ProvisioningError
from cloudpc.model.machines import Amount, Capacity, Host

_REMEMBERED = 60.0
"""Seconds for which a choice is remembered after its claim: longer than reading a host's capacity takes."""


def headroom(capacity: Capacity, size: Amount) -> float:
    """How much of the scarcer of memory and cores stays free with this machine placed; below 0 it doesn't fit."""
    total, free = capacity.total, capacity.free
    return min(
        _share(total.memory_mib, free.memory_mib - size.memory_mib), _share(total.vcpus, free.vcpus - size.vcpus)
    )


def _share(total: int | None, left: float) -> float:
    if total is None:
        return 1.0
    return left / total if total else -1.0


@dataclass
class _Choice:
    machine_id: UUID
    host: str
    size: Amount
    ended: float | None = None
    """When its claim was over: capacity that was read later knows of it."""


_choices: list[_Choice] = []
_choosing = threading.Lock()


@contextmanager
def by_headroom(
    hosts: Sequence[Host],
    machine_id: UUID,
    size: Amount,
    avoided: Container[str] = (),
    paid: Container[str] = (),
) -> Iterator[tuple[list[Host], list[ProvisioningError]]]:
    """Hosts that answer, those with most room first, and why the others don't answer; claim one inside.

    What others of this process have chosen and capacity can't show yet counts as taken. Otherwise many that are placed
    at once would all go to the host that was roomiest a moment ago.

    Args:
        hosts: all there are.
        machine_id: what is placed.
        size: how large it is.
        avoided: names of hosts that come last, whatever room they have; so do those that keep being slow.
        paid: names of hosts on which each machine costs money: after those that have room and are there anyway.
    """
    if len(hosts) == 1:
        yield list(hosts), []
        return
    errors: list[ProvisioningError] = []

    def ask(host: Host) -> Capacity | None:
        try:
            return host.capacity()
        except ProvisioningError as error:
            errors.append(error)
            return None

    began = time.monotonic()
    with ThreadPoolExecutor(len(hosts)) as pool:
        asked = [pool.submit(copy_context().run, ask, host) for host in hosts]
        known = ((host, each.result()) for host, each in zip(hosts, asked, strict=True))
        answers = [(host, capacity) for host, capacity in known if capacity is not None]
    with _choosing:
        rooms = {host.name: headroom(_with_choices(known, host.name, began), size) for host, known in answers}
        last = {host.name for host, _ in answers if host.name in avoided or patience.is_slow(host.name)}

        def rank(host: Host) -> tuple[bool, bool, bool, float]:
            room = rooms[host.name]
            return host.name in last, room < 0, host.name in paid, -room

        ordered = sorted((host for host, _ in answers), key=rank)
        choice = _Choice(machine_id, ordered[0].name if ordered else "", size)
        _choices.append(choice)
    try:
        yield ordered, errors
    finally:
        with _choosing:
            choice.ended = time.monotonic()
            _choices[:] = [c for c in _choices if c.ended is None or c.ended > choice.ended - _REMEMBERED]


def _with_choices(capacity: Capacity, host: str, read_at: float) -> Capacity:
    sizes = [
        choice.size
        for choice in _choices
        if choice.host == host
        and choice.machine_id not in capacity.machines  # claimed already, and counted
        and (choice.ended is None or choice.ended >= read_at)
    ]
    committed = capacity.committed
    for size in sizes:
        committed = Amount(
            committed.vcpus + size.vcpus, committed.memory_mib + size.memory_mib, committed.disk_gib + size.disk_gib
        )
    return Capacity(capacity.total, committed, capacity.machines)


def waiting_for(errors: Sequence[ProvisioningError]) -> ProvisioningError:
    """One error for a machine that no host took: the reasons of all hosts, each once."""
    reasons = list(dict.fromkeys(e.message for e in errors))
    codes = [e.code for e in errors]
    code = next((waits for waits in WAITING_CODES if waits in codes), codes[0])
    hint = next((e.hint for e in errors if e.code is code and e.hint), "")
    return ProvisioningError(code, "; ".join(reasons), hint=hint)
