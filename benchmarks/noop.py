"""How long `pulumi up` takes when there is nothing to do, beside the engine's floor.

Three stacks of each size on the fake hypervisor: our Cloud PCs; trivial dynamic resources with the same inputs and
outputs; trivial ones with a single property. All protected, on the file backend, through the same launcher. Rounds go
through the three in turn.
"""

from __future__ import annotations

from typing import Any

from benchmarks import floor
from benchmarks.common import (
    UP,
    Report,
    Timed,
    Workspace,
    alternated,
    arguments,
    fleet,
    median,
    pulumi,
    run,
    say,
    spread,
    unchanged,
    workspace,
)

OURS, SAME_SIZE, MINIMAL = "Cloud PCs", "trivial, same state", "trivial, minimal"


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=5, counts=(1, 100, 1000)).parse_args()
    columns = ["count", "what", "seconds", "least-most", "ratio", "CPU seconds", "CPU ratio"]
    report = Report("`pulumi up` without changes", columns)
    with workspace() as here:
        for count in options.counts:
            report.rows += _measure(here, count, options.rounds)
    report.notes.append("ratio: our Cloud PCs to this floor, of medians")
    report.show(as_json=options.json)


def _measure(here: Workspace, count: int, rounds: int) -> list[dict[str, Any]]:
    say(f"making stacks of {count}")
    ours = here.project(f"ours-{count}")
    resources = {OURS: fleet(ours, count)}
    projects = {
        OURS: ours,
        SAME_SIZE: floor.like(ours, here.project(f"same-{count}")),
        MINIMAL: floor.minimal(here.project(f"minimal-{count}"), count),
    }
    resources |= {SAME_SIZE: count + 1, MINIMAL: count + 1}
    runs: dict[str, list[Timed]] = {name: [] for name in projects}
    for number in range(rounds):
        say(f"{count}: round {number + 1} of {rounds}")
        for name in alternated(number, list(projects)):
            runs[name].append(unchanged(pulumi(projects[name], *UP), resources[name]))
    seconds = {name: [run.seconds for run in ran] for name, ran in runs.items()}
    cpu = {name: [run.cpu_seconds for run in ran] for name, ran in runs.items()}
    return [
        {
            "count": count,
            "what": name,
            "seconds": median(seconds[name]),
            "least-most": spread(seconds[name]),
            "ratio": None if name == OURS else round(median(seconds[OURS]) / median(seconds[name]), 2),
            "CPU seconds": median(cpu[name]),
            "CPU ratio": None if name == OURS else round(median(cpu[OURS]) / median(cpu[name]), 2),
            "all seconds": seconds[name],
        }
        for name in projects
    ]


if __name__ == "__main__":
    run(main)
