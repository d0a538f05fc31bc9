"""Twenty policies: what reading the others' state costs a run, and `cloudpc up` side by side or one after another.

On the fake hypervisor, each policy with a group and users of its own. Nothing to do in any run that is measured.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from benchmarks.common import (
    UP,
    BenchmarkError,
    Report,
    Workspace,
    arguments,
    median,
    pulumi,
    run,
    say,
    spread,
    workspace,
)
from tests.support.project import Project, user

_USERS_EACH = 5
_ONE, _IN_TURN, _AT_ONCE = "one policy's `pulumi up`", "all, one after another", "all, 4 at once"


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=3, counts=(1, 20)).parse_args()
    report = Report("Policies without changes, in seconds", ["policies", "what", "seconds", "least-most"])
    with workspace() as here:
        for count in options.counts:
            report.rows += _measure(here, count, options.rounds)
    report.show(as_json=options.json)


def _measure(here: Workspace, count: int, rounds: int) -> list[dict[str, Any]]:
    project = _project(here, count)
    say(f"making {count} policies")
    _up(project, "--at-once", "4")
    seconds: dict[str, list[float]] = {
        "one policy's `pulumi up`": [],
        "all, one after another": [],
        "all, 4 at once": [],
    }
    for number in range(rounds):
        say(f"{count}: round {number + 1} of {rounds}")
        seconds[_ONE].append(pulumi(project, *UP[:-1], "p00").seconds)
        seconds[_IN_TURN].append(_up(project, "--at-once", "1"))
        seconds[_AT_ONCE].append(_up(project, "--at-once", "4"))
    return [
        {"policies": count, "what": what, "seconds": median(each), "least-most": spread(each), "all seconds": each}
        for what, each in seconds.items()
    ]


def _project(here: Workspace, count: int) -> Project:
    project = here.project(f"policies-{count}")
    users = [user(f"u{policy:02}-{i}") for policy in range(count) for i in range(_USERS_EACH)]
    groups = {f"g{policy:02}": [f"u{policy:02}-{i}" for i in range(_USERS_EACH)] for policy in range(count)}
    project.directory(users, groups)
    for policy in range(count):
        project.policy(f"p{policy:02}", assignments=[{"target": {"groupId": f"g{policy:02}"}}])
    return project


def _up(project: Project, *options: str) -> float:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "cloudpc.cli.main", "up", *options], cwd=project.root, env=project.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchmarkError(f"`cloudpc up` failed:\n{done.stdout[-2000:]}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    run(main)
