"""How what a policy costs grows with its Cloud PCs: made, left alone, looked at, made again, ended.

On the fake hypervisor, by our commands, as people run them. Beside the seconds stand processor time of each process and
the bytes that the engine writes, which other load on the machine changes less. A linear cost is a flat line in the
picture: it shows processor time for each Cloud PC, less what one Cloud PC alone takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import picture
from benchmarks.common import BenchmarkError, Report, about, arguments, run, say, workspace
from benchmarks.processes import ROLES, Watch
from tests.support.project import Project

MADE, NOTHING, PREVIEW, LIST, DOCTOR = "from nothing", "nothing to do", "preview", "list", "doctor"
AGAIN, GRACE, END, GONE = "reprovision all", "grace begins", "end all", "their entries go"
_CPU, _MEMORY = f"CPU of {', '.join(ROLES)}", f"MiB of {', '.join(ROLES)}"
_COLUMNS = ["run", "count", "seconds", "CPU", "CPU ms each", _CPU, "MB written", _MEMORY]


def main() -> None:
    """Measure, print and draw."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--counts", default="125,250,500,1000", help="how many Cloud PCs, separated by commas")
    parser.add_argument("--picture", type=Path, help="draw it into this file (SVG); its figures go beside it (JSON)")
    parser.add_argument("--before", type=Path, help="figures of an earlier --picture, drawn as dashed lines")
    parser.add_argument(
        "--only-new", action="store_true", help="measure no more than making them and leaving them alone"
    )
    options = parser.parse_args()
    report = Report("What a policy costs by its size", _COLUMNS)
    try:
        with workspace() as here:
            list(_measure(here.project("first"), 1, only_new=True))  # makes the bytecode
            one = {each.what: each.cpu for each in _measure(here.project("one"), 1, only_new=options.only_new)}
            for count in [int(text) for text in options.counts.split(",")]:
                for each in _measure(here.project(f"fleet-{count}"), count, only_new=options.only_new):
                    report.rows.append(each.row(one[each.what]))
    finally:  # it takes long: what is measured is told, whatever ends it
        _tell(report, options)


def _tell(report: Report, options: argparse.Namespace) -> None:
    report.notes.append("CPU ms each: less what the same run takes with one Cloud PC")
    if options.picture and report.rows:
        _draw(report, options.picture, options.before)
    report.show(as_json=options.json)


@dataclass(frozen=True)
class Measured:
    """One run with so many Cloud PCs."""

    what: str
    count: int
    seconds: float
    watch: Watch

    @property
    def cpu(self) -> float:
        """Seconds of all processes."""
        return sum(self.watch.cpu(role) for role in ROLES)

    def row(self, alone: float) -> dict[str, Any]:
        """For the report, beside what it takes with one."""
        return {
            "run": self.what,
            "count": self.count,
            "seconds": round(self.seconds, 1),
            "CPU": round(self.cpu, 1),
            "CPU ms each": round(max(0.0, self.cpu - alone) * 1000 / max(1, self.count - 1), 1),
            _CPU: " ".join(f"{self.watch.cpu(role):.1f}" for role in ROLES),
            "MB written": round(self.watch.written("engine") / 1e6, 1),
            _MEMORY: " ".join(f"{self.watch.usage[role].peak:.0f}" for role in ROLES),
        }


def _measure(project: Project, count: int, *, only_new: bool) -> Iterator[Measured]:
    project.directory(count)
    project.policy()
    yield measured(project, count, MADE, ["up", "demo"])
    _check(project, dict.fromkeys(["provisioned"], count))
    yield measured(project, count, NOTHING, ["up", "demo"])
    if only_new:
        return
    yield measured(project, count, PREVIEW, ["preview", "--stack", "demo", "--non-interactive"], command=["pulumi"])
    yield measured(project, count, LIST, ["list"])
    yield measured(project, count, DOCTOR, ["doctor"], codes=(0, 1, 2, 3))
    yield measured(project, count, AGAIN, ["reprovision", "--policy", "demo", "--yes"])
    _check(project, dict.fromkeys(["provisioned"], count))
    project.policy(gracePeriodInHours=0, assignments=[])
    for what, after in ((GRACE, "inGracePeriod"), (END, "deprovisioning"), (GONE, "")):
        yield measured(project, count, what, ["up", "demo"])
        _check(project, {after: count} if after else {})


def measured(
    project: Project, count: int, what: str, arguments: Sequence[str], *,
    command: Sequence[str] = (sys.executable, "-m", "cloudpc.cli.main"), codes: Sequence[int] = (0,),
    begun: Callable[[subprocess.Popen[bytes]], object] = lambda _process: None,
) -> Measured:  # fmt: skip
    """Run a command of ours, or another, to its end; `begun` is given its process. Raises BenchmarkError: it fails."""
    say(f"{count}: {what}")
    output = project.root / f"{what}.out"
    begin = time.perf_counter()
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*command, *arguments], cwd=project.root, env=project.env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            begun(process)
            with Watch(process.pid) as watch:
                process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    seconds = time.perf_counter() - begin
    if process.returncode not in codes:
        raise BenchmarkError(f"{what} of {count} ended with {process.returncode}:\n{output.read_text()[-3000:]}")
    return Measured(what, count, seconds, watch)


def _check(project: Project, expected: dict[str, int]) -> None:
    found = list(project.statuses().values())
    if {status: found.count(status) for status in found} != expected:
        raise BenchmarkError(f"{expected} was to be there, and is not: {len(found)}, {sorted(set(found))}")


def _draw(report: Report, file: Path, before: Path | None) -> None:
    figures = [
        {name: row[name] for name in ("run", "count", "seconds", "CPU", "CPU ms each", "MB written")}
        for row in report.rows
    ]
    known = {name: about()[name] for name in ("date", "machine")}
    file.with_suffix(".json").write_text(json.dumps({"about": known, "rows": figures}, indent=1) + os.linesep)
    earlier = json.loads(before.read_text())["rows"] if before else []
    file.write_text(
        picture.of(_lines(figures), _lines(earlier), "Processor ms for each Cloud PC", "Cloud PCs in one policy")
    )


def _lines(rows: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        lines.setdefault(row["run"], []).append((row["count"], row["CPU ms each"]))
    return lines


if __name__ == "__main__":
    run(main)
