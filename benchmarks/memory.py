"""How much memory the processes of a run take at their peak: engine, program and provider.

Provisioning 100 Cloud PCs on the fake hypervisor, and `pulumi up` with nothing to do for 1,000, the latter beside as
many trivial resources of the same state. Peaks are the kernel's own (VmHWM); what all take together is sampled.
"""

from __future__ import annotations

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
from benchmarks.processes import Watch
from tests.support.project import Project

_ROLES = ("engine", "program", "provider")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--provisioned", type=int, default=100, help="how many are provisioned (100)")
    parser.add_argument("--unchanged", type=int, default=1000, help="how many there is nothing to do for (1000)")
    options = parser.parse_args()
    report = Report("Peak resident memory in MiB", ["run", *_ROLES, "together"])
    with workspace() as here:
        runs = {f"provisioning {options.provisioned}": _provisioning(here, options.provisioned, options.rounds)}
        say(f"making stacks of {options.unchanged}")
        ours = here.project("unchanged")
        fleet(ours, options.unchanged)
        trivial = floor.like(ours, here.project("trivial"))
        runs[f"nothing to do, {options.unchanged}"] = [_peaks(ours) for _ in range(options.rounds)]
        runs[f"{options.unchanged} trivial ones"] = [_peaks(trivial) for _ in range(options.rounds)]
    for name, peaks in runs.items():
        report.rows.append(
            {"run": name, **{of: round(median([peak[of] for peak in peaks])) for of in (*_ROLES, "together")}}
        )
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
    with running(project, UP) as process, Watch(process.pid) as watch:
        output, _ = process.communicate()
    assert process.returncode == 0, output.decode()
    return {"together": watch.together, **{role: watch.usage[role].peak for role in _ROLES}}


if __name__ == "__main__":
    run(main)
