"""What hosts and connections say of themselves, asked in a thread when somebody wants to see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cloudpc.cli.connections import health
from cloudpc.cli.context import Project
from cloudpc.configuration import parsing
from cloudpc.model.check import Check, CheckStatus, overall
from cloudpc.model.errors import CloudPCError
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import Capacity
from cloudpc.operations.asked import Asked
from cloudpc.operations.runtime import connect

_KEPT = 60.0
"""Seconds for which an answer is shown without asking again."""


@dataclass(frozen=True)
class Bar:
    """How much of something a host has promised."""

    what: str
    committed: float
    total: float | None
    """None: as much as anybody asks for."""
    unit: str

    @property
    def words(self) -> str:
        """Both, in words."""
        of = f"{self.total:,.10g}" if self.total is not None else "no limit"
        return f"{self.committed:,.10g} of {of}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class Seen:
    """What they have said."""

    capacities: Mapping[str, Sequence[Bar]] = field(default_factory=dict)
    """By host."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Hosts that do not answer, and why."""
    connections: Mapping[str, tuple[CheckStatus, list[Check]]] = field(default_factory=dict)
    """By name: the worst, and what is not well."""
    problem: str = ""
    when: datetime | None = None


class Surroundings:
    """The last answers."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.number = 0
        """Goes up with each answer."""
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._thread: threading.Thread | None = None

    def look(self) -> Seen:
        """What is known; it is asked for again if that is old, and pages hear when it is there."""
        with self._lock:
            is_asking = self._thread is not None and self._thread.is_alive()  # a host that hangs is asked once
            if time.monotonic() - self._asked > _KEPT and not is_asking:
                self._asked = time.monotonic()
                self._thread = threading.Thread(target=self._look, name="surroundings", daemon=True)
                self._thread.start()
        return self.seen

    def _look(self) -> None:
        try:
            project = Project()
            capacities, silent = _capacities(project)
            self.seen = Seen(capacities, silent, self.seen.connections, when=datetime.now(UTC))
            self.number += 1
            found = health(project)
            connections = {name: (overall(checks), _not_well(checks)) for name, checks in found.items()}
            self.seen = Seen(capacities, silent, connections, when=datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - whatever it is, the page says it
            self.seen = Seen(self.seen.capacities, self.seen.silent, self.seen.connections, str(error), self.seen.when)
        self.number += 1


def _not_well(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.status != "passed"]


def _capacities(project: Project) -> tuple[dict[str, list[Bar]], dict[str, str]]:
    configs: dict[str, HostConfig] = {}
    for policy in project.policy_ids():
        with suppress(CloudPCError):  # its own page tells
            surroundings = parsing.parse_surroundings(project.values(policy))
            configs.update({host.where: host for host in surroundings.hosts})
    hosts = [connect(config) for config in configs.values()]
    try:
        asked = Asked("capacity of", {host.name: host.capacity for host in hosts})
        return {name: _bars(capacity) for name, capacity in sorted(asked.answers.items())}, asked.silent
    finally:
        for host in hosts:
            host.close()


def _bars(capacity: Capacity) -> list[Bar]:
    total, committed = capacity.total, capacity.committed
    memory = None if total.memory_mib is None else round(total.memory_mib / 1024, 1)
    return [
        Bar("vCPU", committed.vcpus, total.vcpus, ""),
        Bar("Memory", round(committed.memory_mib / 1024, 1), memory, "GB"),
        Bar("Disk", committed.disk_gib, total.disk_gib, "GB"),
    ]
