"""What Cloud PCs cost on many hosts: all well; then one slow and one gone; then two policies' runs on these at once.

On the fake hypervisor. Hosts have room for a twentieth more than what is made. The slow one takes a second for each
answer; the one that is gone takes connections and never answers, which who asks notices after 20 seconds, as with
libvirt. Claims and questions are counted, which do not depend on the machine; it fails if a host has more than it has
room for.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.common import BenchmarkError, Report, Workspace, arguments, run, workspace
from benchmarks.growth import Measured, measured
from tests.support.project import Project, user

_WELL, _ONE_RUN, _TWO_RUNS = "all hosts well", "one slow, one gone", "the same, two policies at once"
_GONE, _SLOW = 0, 1
_COLUMNS = [
    "hosts are", "count", "hosts", "seconds", "CPU", "CPU ms each", "nothing to do: CPU ms each", "claims each",
    "questions to the one gone", "most on a host", "room",
]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--count", type=int, default=2000, help="Cloud PCs in all (2000)")
    parser.add_argument("--hosts", type=int, default=100, help="how many hosts (100)")
    options = parser.parse_args()
    if options.hosts < 3 or options.count < 2 or options.count % 2:
        parser.error(
            "--hosts: at least 3, of which one is slow and one gone; --count: an even number, for two policies"
        )
    report = Report("What Cloud PCs cost on many hosts", _COLUMNS)
    with workspace() as here:
        _Case(_WELL, 2, 3, ("lab",)).rows(here)  # makes the bytecode
        for what in (_WELL, _ONE_RUN, _TWO_RUNS):
            policies = ("lab", "hq") if what == _TWO_RUNS else ("lab",)
            report.rows.append(_Case(what, options.count, options.hosts, policies).rows(here))
    report.notes.append("CPU: of all processes of a run, or of both; each: with all of it, also what a run alone takes")
    report.show(as_json=options.json)


@dataclass(frozen=True)
class _Case:
    what: str
    count: int
    hosts: int
    policies: Sequence[str]

    @property
    def room(self) -> int:
        return math.ceil(1.05 * self.count / (self.hosts - 1))

    def rows(self, here: Workspace) -> dict[str, Any]:
        project = here.project(f"{self.what}-{self.count}".replace(" ", "-").replace(",", ""))
        self._write(project)
        made, nothing = self._up(project), self._up(project)
        on = {name: len(project.machines(name)) for name in self._names()}
        self._check(project, on)
        calls = [call for name in self._names() for call in project.calls(name)]
        return {
            "hosts are": self.what,
            "count": self.count,
            "hosts": self.hosts,
            "seconds": round(max(each.seconds for each in made), 1),
            "CPU": round(sum(each.cpu for each in made), 1),
            "CPU ms each": round(sum(each.cpu for each in made) * 1000 / self.count, 1),
            "nothing to do: CPU ms each": round(sum(each.cpu for each in nothing) * 1000 / self.count, 1),
            "claims each": round(sum(call.startswith("claim ") for call in calls) / self.count, 3),
            "questions to the one gone": sum(call.startswith("deaf") for call in calls),
            "most on a host": max(on.values()),
            "room": self.room,
        }

    def _names(self) -> list[str]:
        return [f"h{number}" for number in range(self.hosts)]

    def _write(self, project: Project) -> None:
        each = self.count // len(self.policies)
        members = {policy: [f"{policy}-{number:04}" for number in range(each)] for policy in self.policies}
        project.directory([user(who) for whos in members.values() for who in whos], members)
        for policy in self.policies:
            project.policy(policy, hosts=self._names(), assignments=[{"target": {"groupId": policy}}])
        for number, name in enumerate(self._names()):
            trouble: dict[int, dict[str, Any]] = {_GONE: {"deaf": 20}, _SLOW: {"slow": 1}}
            more = {} if self.what == _WELL else trouble.get(number, {})
            project.host(name, cores=self.room, **more)

    def _up(self, project: Project) -> list[Measured]:
        begun: list[subprocess.Popen[bytes]] = []
        run = partial(measured, begun=begun.append)
        with ThreadPoolExecutor(len(self.policies)) as pool:
            runs = [
                pool.submit(run, project, self.count, f"{self.what}: {policy}", ["up", policy])
                for policy in self.policies
            ]
            try:
                return [each.result() for each in runs]
            except BaseException:  # Ctrl-C, too, which reaches no process in a session of its own
                for process in begun:
                    process.terminate()
                raise

    def _check(self, project: Project, on: dict[str, int]) -> None:
        statuses = [status for policy in self.policies for status in project.statuses(policy).values()]
        if statuses != ["provisioned"] * self.count or sum(on.values()) != self.count:
            raise BenchmarkError(f"{self.count} were to be made: {len(statuses)}, {sorted(set(statuses))}")
        if max(on.values()) > self.room:
            raise BenchmarkError(f"a host has more than it has room for: {on}")


if __name__ == "__main__":
    run(main)
