"""How long Cloud PCs take that start as clones of a template, beside those that boot, and beside plain QEMU.

Real guests, from nothing to all of them ready, each way in each round; the processor time of Pulumi and of the guests,
which other load changes less than the seconds; and the memory that they take when they are ready.
The template is there, as the image is on its host: the first run, which makes it, is told apart.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks import bare, machines
from benchmarks.common import (
    UP,
    BenchmarkError,
    Report,
    Workspace,
    alternated,
    arguments,
    median,
    pulumi,
    run,
    say,
    spread,
    workspace,
)
from cloudpc.model.image import DiskImage
from tests.support.project import Project

CASES = (("micro", 8), ("debian-12", 8), ("debian-12", 1))
CLONES, BOOTS, BARE = "clones", "boots", "bare QEMU"
MEMORY = ("MiB a clone", "MiB a boot")
PROCESSOR = ("CPU s clones", "CPU s boots", "CPU s bare")
_GUEST = re.compile(rb"guest=cloudpc-[0-9a-f]{16}-")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--image", choices=sorted({image for image, _ in CASES}), help="only this image")
    options = parser.parse_args()
    columns = [
        "image",
        "count",
        CLONES,
        "least-most",
        BOOTS,
        BARE,
        "clones / bare",
        "first",
        *PROCESSOR,
        *MEMORY,
    ]
    report = Report("`pulumi up` to all Cloud PCs ready, in seconds", columns)
    with workspace() as here:
        for image, count in CASES:
            if options.image in (None, image):
                report.rows.append(_measure(here, machines.built(image), count, options.rounds))
    report.notes.append("first: the run that finds no template, so that one boots and the others wait for it")
    report.notes.append("MiB: of the host, each guest's part of what several share (PSS), when all are ready")
    report.show(as_json=options.json)


def _measure(here: Workspace, image: DiskImage, count: int, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in (CLONES, BOOTS, BARE)}
    processor: dict[str, list[float]] = {name: [] for name in seconds}
    memory: dict[str, list[float]] = {CLONES: [], BOOTS: []}
    with machines.real_project(here, count, image.image_id) as project:
        say(f"{image.image_id}, {count}: first once, which brings the image to the host and makes the template")
        first, _, _ = _up(project, count, "template")
        measures: dict[str, Callable[[], tuple[float, float, float]]] = {
            CLONES: partial(_up, project, count, "template"),
            BOOTS: partial(_up, project, count, "boot"),
            BARE: partial(_bare, here, image, project),
        }
        for number in range(rounds):
            say(f"{image.image_id}, {count}: round {number + 1} of {rounds}")
            for name in alternated(number, list(measures)):
                os.sync()  # what the one before left to be written is not this one's
                took, cpu, pss = measures[name]()
                seconds[name].append(took)
                processor[name].append(cpu)
                if name in memory:
                    memory[name].append(pss)
    medians = {name: median(values) for name, values in seconds.items()}
    return {
        "image": image.image_id,
        "count": count,
        **medians,
        "least-most": spread(seconds[CLONES]),
        "clones / bare": round(medians[CLONES] / medians[BARE], 2),
        "first": round(first, 1),
        **{column: median(values) for column, values in zip(PROCESSOR, processor.values(), strict=True)},
        **{column: round(median(values)) for column, values in zip(MEMORY, memory.values(), strict=True)},
        "all seconds": seconds,
    }


def _up(project: Project, count: int, start_from: str) -> tuple[float, float, float]:
    """Seconds, seconds of processors, and MiB a guest."""
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:policy"]["startFrom"] = start_from
    path.write_text(yaml.safe_dump(content))
    machines.init(project)
    made = pulumi(project, *UP)
    machines.all_provisioned(project, count)
    cpu, pss = _taken()
    machines.down(project)
    return made.seconds, made.cpu_seconds + cpu, pss / count


def _taken() -> tuple[float, float]:
    """By all Cloud PCs' QEMUs here: seconds of processors, MiB."""
    cpu, memory = 0.0, 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _GUEST.search((process / "cmdline").read_bytes()):
                rollup = (process / "smaps_rollup").read_text()
                memory += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
                user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                cpu += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue  # it has ended
    if not memory:
        raise BenchmarkError("no guests run")
    return cpu, memory / 1024


def _bare(here: Workspace, image: DiskImage, project: Project) -> tuple[float, float, float]:
    folder, host, before = here.root / "bare", machines.local(), _ended()
    try:
        seeds = [machines.seed(cloud_pc) for cloud_pc in machines.desired(project)]
        seconds, _ = bare.boot_all(image, seeds, folder, host)
    finally:
        host.close()
        shutil.rmtree(folder, ignore_errors=True)
    return seconds, _ended() - before, 0


def _ended() -> float:
    """Seconds of processors that the processes took which this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    run(main)
