"""What goes wrong, on demand: each fault for an operation by name and a number of times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from tests.azure.errors import ArmFault

Kind = Literal["sync", "async", "slow", "drop before", "drop after"]


@dataclass
class Fault:
    """Something that goes wrong.

    Args:
        kind: `sync`: answered instead of doing it. `async`: it is accepted, and its operation ends so. `slow`: answered
            late. `drop before`, `drop after`: the connection ends without an answer, before or *after* it took effect.
        operation: name in the contract, `*` for any text: `VirtualMachines_CreateOrUpdate`, `*_Delete`.
        path: of the requests concerned, `*` for any text.
        error: what is answered.
        left: how often; None: always.
        skip: so many of these requests pass before.
        seconds: how late, in ours.
        hits: how often it has struck.
    """

    kind: Kind
    operation: str = "*"
    path: str = "*"
    error: ArmFault | None = None
    left: int | None = 1
    skip: int = 0
    seconds: float = 0
    hits: int = 0


@dataclass
class PowerCut:
    """Whoever asks is killed: the connection ends at a request, and nothing is answered from then on.

    Args:
        at: number of the request, from 1 on.
        when: before or after it took effect.
        then: called at that moment.
        happened: set from then on.
    """

    at: int
    when: Literal["before", "after"]
    then: Callable[[], None] = lambda: None
    happened: threading.Event = field(default_factory=threading.Event)

    def strike(self) -> None:
        """It happens; only once."""
        if not self.happened.is_set():
            self.happened.set()
            self.then()


class Faults:
    """All faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.power_cut: PowerCut | None = None

    def add(self, fault: Fault) -> Fault:
        """From now on; the fault tells how often it has struck."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            self._faults.clear()
            self.power_cut = None

    def take(self, operation: str, path: str) -> list[Fault]:
        """The faults that strike this request; of errors only the first."""
        struck: list[Fault] = []
        with self._lock:
            for fault in self._faults:
                if not self._concerned(fault, operation, path) or (fault.error and any(f.error for f in struck)):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.left = None if fault.left is None else fault.left - 1
                fault.hits += 1
                struck.append(fault)
        return struck

    @staticmethod
    def _concerned(fault: Fault, operation: str, path: str) -> bool:
        return (
            fault.left != 0
            and fnmatchcase(operation, fault.operation)
            and fnmatchcase(path.lower(), fault.path.lower())
        )
