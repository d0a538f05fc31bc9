"""Time in the fake Azure: runs with ours, or quicker, or not at all, and can be moved on."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """Seconds as Azure counts them, from the real time at the start on.

    Args:
        speed: of Azure's seconds in one of ours; 0: time stands still.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._speed = speed
        self._seconds = time.time()
        self._seen = time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            return self._now()

    def advance(self, seconds: float) -> None:
        """Move on by so much, at once."""
        with self._lock:
            self._seconds = self._now() + seconds

    @property
    def speed(self) -> float:
        """How many of Azure's seconds pass in one of ours; can be changed at any time."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        with self._lock:
            self._now()
            self._speed = speed

    def told(self, seconds: float) -> str:
        """A wait as Retry-After tells it to a client, which counts in our seconds."""
        return str(math.ceil(seconds / self._speed) if self._speed else math.ceil(seconds))

    def iso(self) -> str:
        """Now, as Azure writes it."""
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _now(self) -> float:
        seen = time.monotonic()
        self._seconds += (seen - self._seen) * self._speed
        self._seen = seen
        return self._seconds


@dataclass
class Delays:
    """How long things take, in Azure's seconds; by default nothing takes long, for tests."""

    network_interface: float = 0
    allocation: float = 0
    """From the acceptance of a virtual machine until hardware is found, or not."""
    provisioning: float = 0
    """From there until its system has told Azure that it is set up."""
    deletion: float = 0
    power: float = 0
    run_command: float = 0
    extension: float = 0
    tags: float = 0
    """More than 0: changes of tags are accepted, and done later."""
    lists: float = 0
    """By how much lists lag behind."""

    @classmethod
    def azure(cls) -> Delays:
        """What people see of the real one, roughly."""
        return cls(
            network_interface=3, allocation=12, provisioning=30, deletion=30, power=20, run_command=20, extension=60
        )
