"""How long grace and end of many Cloud PCs take, beside the engine's floor.

On the fake hypervisor: all of a policy's Cloud PCs enter grace (their group's assignment goes), end (it is over), and
their entries go. Beside them, run by run in turn, as many trivial dynamic resources with the same state, all updated,
updated once more, and deleted. State is written at each step, as in any run.
"""

from __future__ import annotations

from typing import Any

from benchmarks import floor
from benchmarks.common import (
    UP,
    BenchmarkError,
    Report,
    Workspace,
    arguments,
    fleet,
    pulumi,
    run,
    say,
    workspace,
)
from tests.support.project import Project

_RUNS = ("grace begins", "they end", "their entries go")
_AFTER = ("inGracePeriod", "deprovisioning", None)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=1, counts=(100, 1000)).parse_args()
    columns = ["count", "run", "seconds", "CPU seconds", "floor", "floor, CPU", "ratio", "CPU ratio"]
    report = Report("Grace and end of all Cloud PCs", columns)
    with workspace() as here:
        for count in options.counts:
            for number in range(options.rounds):
                report.rows += _measure(here, count, number)
    report.notes.append("floor: as many trivial resources of the same state updated, updated again, deleted")
    report.show(as_json=options.json)


def _measure(here: Workspace, count: int, number: int) -> list[dict[str, Any]]:
    say(f"making stacks of {count}")
    ours = here.project(f"ours-{count}-{number}")
    fleet(ours, count)
    trivial = floor.like(ours, here.project(f"trivial-{count}-{number}"))
    ours.policy(gracePeriodInHours=0, assignments=[])
    rows = []
    for step, (what, after) in enumerate(zip(_RUNS, _AFTER, strict=True), start=1):
        say(f"{count}: {what}")
        mine = pulumi(ours, *UP)
        _check(ours, count if after else 0, after)
        if step < len(_RUNS):
            floor.number(trivial, step, protect=step == 1)
        else:
            floor.remove_all(trivial)
        other = pulumi(trivial, *UP)
        did = "deleted" if step == len(_RUNS) else "updated"
        if f"{count} {did}" not in other.output:
            raise BenchmarkError(f"the floor's resources were not {did}:\n{other.output[-2000:]}")
        rows.append(
            {
                "count": count,
                "run": what,
                "seconds": round(mine.seconds, 2),
                "CPU seconds": round(mine.cpu_seconds, 2),
                "floor": round(other.seconds, 2),
                "floor, CPU": round(other.cpu_seconds, 2),
                "ratio": round(mine.seconds / other.seconds, 2),
                "CPU ratio": round(mine.cpu_seconds / other.cpu_seconds, 2),
            }
        )
    return rows


def _check(project: Project, count: int, status: str | None) -> None:
    found = list(project.statuses().values())
    if len(found) != count or set(found) - {status}:
        raise BenchmarkError(f"{len(found)} of {count} are there, and {sorted(set(found))} instead of {status}")


if __name__ == "__main__":
    run(main)
