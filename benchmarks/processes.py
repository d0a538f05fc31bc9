"""What the processes of a run take: memory at their peak, processor time, and bytes written, by role."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_EVERY = 0.05
_ROLES = {
    "cloudpc.iac.plugin_process": "provider",
    "language_host": "program",
    "pulumi-language-python": "program",
    "cloudpc.cli.main": "command",
}
ROLES = ("command", "engine", "program", "provider")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """Of one role's processes."""

    peak: float = 0.0
    """MiB: the kernel's own (VmHWM), of the largest of them."""
    cpu: dict[int, float] = field(default_factory=dict)
    """Seconds of each, by its id, at the last sample: up to a twentieth of a second more is not seen."""
    written: dict[int, int] = field(default_factory=dict)
    """Bytes that went to files."""


class Watch:
    """Samples the processes of a session as long as its block lasts."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.usage: dict[str, Usage] = defaultdict(Usage)
        self.together = 0.0
        """MiB: the most that was resident at one moment, shared pages counted in each process."""

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def cpu(self, role: str) -> float:
        """Seconds of all processes of this role."""
        return sum(self.usage[role].cpu.values())

    def written(self, role: str) -> int:
        """Bytes that they have written to files."""
        return sum(self.usage[role].written.values())

    def _sample(self) -> None:
        while not self._over.wait(_EVERY):
            together = 0.0
            for folder, role in _processes(self._session):
                with suppress(OSError, KeyError, IndexError):  # it has ended meanwhile
                    together += self._take(folder, role)
            self.together = max(self.together, together)

    def _take(self, folder: Path, role: str) -> float:
        status, usage, pid = _status(folder), self.usage[role], int(folder.name)
        usage.peak = max(usage.peak, status["VmHWM"])
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        usage.cpu[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
        lines = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
        usage.written[pid] = int(lines["write_bytes"])
        return status["VmRSS"]


def _processes(session: int) -> Iterator[tuple[Path, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                    yield folder, _role((folder / "cmdline").read_text().split("\0"))


def _status(folder: Path) -> dict[str, float]:
    lines = (line.partition(":") for line in (folder / "status").read_text().splitlines())
    return {name: int(value.split()[0]) / 1024 for name, _, value in lines if name in ("VmHWM", "VmRSS")}


def _role(words: list[str]) -> str:
    if Path(words[0]).name == "pulumi":
        return "engine"
    return next((role for mark, role in _ROLES.items() if any(mark in word for word in words)), "")
