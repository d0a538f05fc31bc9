"""How long `pulumi up` takes from nothing to all Cloud PCs ready, beside plain QEMU booting the same guests.

Real guests of the image `micro`. The bare script makes the same overlays and seeds, starts as many guests at once as
provisioning does and waits for the same sign of readiness. Rounds alternate who is first. Pulumi's own start is told
apart: what the same stack takes with nothing to do, and what an empty program takes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import bare, machines
from benchmarks.common import (
    UP,
    Report,
    Workspace,
    alternated,
    arguments,
    median,
    pulumi,
    run,
    say,
    spread,
    unchanged,
    workspace,
)
from benchmarks.floor import empty
from cloudpc.model.image import DiskImage
from tests.support.project import Project

UP_, NOTHING, BARE, EMPTY = "pulumi up", "nothing to do", "bare QEMU", "empty program"


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=5, counts=(1, 4, 8)).parse_args()
    columns = [
        "count",
        UP_,
        "least-most",
        BARE,
        "bare least-most",
        "ratio",
        "ratio of the least",
        NOTHING,
        "ratio less that",
        EMPTY,
    ]
    report = Report("`pulumi up` to all Cloud PCs ready, in seconds (image micro)", columns)
    with workspace() as here:
        image = machines.built()
        for count in options.counts:
            report.rows.append(_measure(here, image, count, options.rounds))
    report.notes.append(f"`{NOTHING}` and `{EMPTY}`: Pulumi's fixed cost, in the same rounds; medians throughout")
    report.show(as_json=options.json)


def _measure(here: Workspace, image: DiskImage, count: int, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in (UP_, BARE, EMPTY, NOTHING)}
    nothing = empty(here.project(f"empty-{count}"))
    with machines.real_project(here, count) as project:
        measures: dict[str, Callable[[], dict[str, float]]] = {
            UP_: partial(_up, project, count),
            BARE: partial(_bare, here, image, project),
            EMPTY: lambda: {EMPTY: pulumi(nothing, *UP).seconds},
        }
        say(f"{count}: first once unmeasured, which brings the image to the host and files into memory")
        measures[UP_]()
        measures[BARE]()
        for number in range(rounds):
            say(f"{count}: round {number + 1} of {rounds}")
            for name in alternated(number, list(measures)):
                os.sync()  # what the one before left to be written is not this one's
                for measured, value in measures[name]().items():
                    seconds[measured].append(value)
    medians = {name: median(values) for name, values in seconds.items()}
    return {
        "count": count,
        **medians,
        "least-most": spread(seconds[UP_]),
        "bare least-most": spread(seconds[BARE]),
        "ratio": round(medians[UP_] / medians[BARE], 2),
        "ratio of the least": round(min(seconds[UP_]) / min(seconds[BARE]), 2),
        "ratio less that": round((medians[UP_] - medians[NOTHING]) / medians[BARE], 2),
        "all seconds": seconds,
    }


def _up(project: Project, count: int) -> dict[str, float]:
    machines.init(project)
    made = pulumi(project, *UP)
    machines.all_provisioned(project, count)
    again = unchanged(pulumi(project, *UP), count + 2)
    machines.down(project)
    return {UP_: made.seconds, NOTHING: again.seconds}


def _bare(here: Workspace, image: DiskImage, project: Project) -> dict[str, float]:
    folder, host = here.root / "bare", machines.local()
    try:
        seeds = [machines.seed(cloud_pc) for cloud_pc in machines.desired(project)]
        seconds, _ = bare.boot_all(image, seeds, folder, host)
    finally:
        host.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {BARE: seconds}


if __name__ == "__main__":
    run(main)
