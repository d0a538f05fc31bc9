"""How much memory the processes of a run take at their peak: engine, program and provider.

Provisioning 100 Cloud PCs on the fake hypervisor, and `pulumi up` with nothing to do for 1,000, the latter beside as
many trivial resources of the same state. Peaks are the kernel's own (VmHWM); what all take together is sampled.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks import floor
from benchmarks.common import (
    UP,
    Report,
    Workspace,
    arguments,
    fleet,
    median,
    pulumi,
    run,
    running,
    say,
    workspace,
)
from tests.support.project import Project

_EVERY = 0.05
_ROLES = {"cloudpc.iac.plugin_process": "provider", "language_host": "program", "pulumi-language-python": "program"}
_MOST = ("engine", "program", "provider", "together")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--provisioned", type=int, default=100, help="how many are provisioned (100)")
    parser.add_argument("--unchanged", type=int, default=1000, help="how many there is nothing to do for (1000)")
    options = parser.parse_args()
    report = Report("Peak resident memory in MiB", ["run", *_MOST])
    with workspace() as here:
        runs = {f"provisioning {options.provisioned}": _provisioning(here, options.provisioned, options.rounds)}
        say(f"making stacks of {options.unchanged}")
        ours = here.project("unchanged")
        fleet(ours, options.unchanged)
        trivial = floor.like(ours, here.project("trivial"))
        runs[f"nothing to do, {options.unchanged}"] = [_peaks(ours) for _ in range(options.rounds)]
        runs[f"{options.unchanged} trivial ones"] = [_peaks(trivial) for _ in range(options.rounds)]
    for name, peaks in runs.items():
        report.rows.append({"run": name, **{of: round(median([peak[of] for peak in peaks])) for of in _MOST}})
    report.notes.append("together: the most that was resident at one moment, shared pages counted in each process")
    report.show(as_json=options.json)


def _provisioning(here: Workspace, count: int, rounds: int) -> list[dict[str, float]]:
    peaks = []
    for number in range(rounds):
        say(f"provisioning {count}: round {number + 1} of {rounds}")
        project = here.project(f"provisioned-{number}")
        project.directory(count)
        project.policy()
        pulumi(project, "stack", "init", "demo")
        peaks.append(_peaks(project))
    return peaks


def _peaks(project: Project) -> dict[str, float]:
    """Run `pulumi up` and watch its processes; MiB."""
    with running(project, UP) as process, _Watch(process.pid) as watch:
        output, _ = process.communicate()
    assert process.returncode == 0, output.decode()
    return watch.peaks


class _Watch:
    """Samples the processes of a session."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peaks: dict[str, float] = dict.fromkeys(_MOST, 0.0)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_EVERY):
            together = 0.0
            for role, peak, now in _processes(self._session):
                together += now
                if role:
                    self.peaks[role] = max(self.peaks[role], peak)
            self.peaks["together"] = max(self.peaks["together"], together)


def _processes(session: int) -> Iterator[tuple[str, float, float]]:
    """Role, peak and present memory in MiB of each process of a session."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError, KeyError, IndexError):  # it has ended meanwhile
                if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) != session:
                    continue
                words = (folder / "cmdline").read_text().split("\0")
                status = _status(folder)
                yield _role(words), status["VmHWM"], status["VmRSS"]


def _status(folder: Path) -> dict[str, float]:
    lines = (line.partition(":") for line in (folder / "status").read_text().splitlines())
    return {name: int(value.split()[0]) / 1024 for name, _, value in lines if name in ("VmHWM", "VmRSS")}


def _role(words: list[str]) -> str:
    if Path(words[0]).name == "pulumi":
        return "engine"
    return next((role for mark, role in _ROLES.items() if any(mark in word for word in words)), "")


if __name__ == "__main__":
    run(main)
