"""Runs that write state at their end alone, killed at random moments: one more run, and everything is as it should be.

In one project, round after round: some users come, some go, some Cloud PCs are asked for anew; then the engine, the
provider, all processes, or the machine's power is taken away. The next run must leave nobody with two machines or with
none, nobody without the data that was theirs, nothing over, and no password in state that does not work.

    .venv/bin/python -m tests.engine.kill_trial --count 300 --moments 20 [--seed 7]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.support.project import Project, user
from tests.support.waiting import wait_until

KINDS = ("engine", "provider", "both", "power", "hand-over", "power at the end")
_PROVIDER, _ENGINE = b"cloudpc.iac.plugin_process", b"--skip-preview"
_CALLS_EACH = 9
"""That the fake host is asked for one Cloud PC from nothing, more or less."""


@dataclass
class Trial:
    """One project, and what there should be."""

    project: Project
    count: int
    chance: random.Random
    tell: Callable[[str], None] = print
    members: set[str] = field(default_factory=set)
    coming: set[str] = field(default_factory=set)
    """Whoever was there before has the generation after the last."""
    generations: dict[str, int] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    """What users have written onto their disks."""
    said: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.project.env["PULUMI_SKIP_CHECKPOINTS"] = "true"
        self.members = {f"u{i:04}" for i in range(self.count * 3 // 4)}
        self.generations = dict.fromkeys((f"u{i:04}" for i in range(self.count)), 1)
        self._ask()
        self._settle()

    def round(self, kind: str) -> None:
        """Change what is wanted, kill a run at it, run once more, look."""
        everybody, some = sorted(self.generations), max(2, self.count // 12)
        going = set(self.chance.sample(sorted(self.members), some))
        gone = sorted(set(everybody) - self.members - self._in_grace())
        coming = set(self.chance.sample(gone, min(some, len(gone))))
        again = self.chance.sample(sorted(self.members - going), some)
        self.members, self.coming = self.members - going | coming, coming
        for who in again:
            self.generations[who] += 1
        for who in {*again, *coming}:
            self.data.pop(who, None)  # that is what was asked for; or it had ended before
        self._ask()
        self._kill(kind, 2 * some * _CALLS_EACH, sorted({*again, *coming}))
        if kind == "hand-over":  # state has told them, their machines are not marked as theirs yet
            self._users_work({who for who, pc in self.project.state().items() if pc["status"] == "provisioned"})
        self._settle()

    def end(self) -> None:
        """The last ones that left are gone, too."""
        for _ in range(2):
            self._settle()
        assert set(self.project.statuses()) == self.members

    def _in_grace(self) -> set[str]:
        """Whose machine may be gone while state does not know: who comes back then is told that it is lost."""
        return set(self.project.statuses()) - self.members

    def _ask(self) -> None:
        project, users = self.project, [user(who) for who in sorted(self.generations)]
        project.directory(users, {"everybody": sorted(self.members)})
        file = project.policy(gracePeriodInHours=0)
        asked = {f"{who}/{users[0]['servicePlans'][0]}": n for who, n in self.generations.items() if n > 1}
        text = file.read_text()
        content = yaml.safe_load(text)
        content["config"]["cloudpc:actions"] = {"reprovision": asked}
        file.write_text(yaml.safe_dump(content))

    # ---- killing

    def _kill(self, kind: str, calls: int, made: list[str]) -> None:
        project, before = self.project, len(self.project.calls())
        size = (project.root / "host" / "calls.log").stat().st_size
        state = project.root / "state/.pulumi/stacks/cloudpc/demo.json"
        old = state.read_bytes()
        if kind in ("hand-over", "power at the end"):
            whose = {"user": self.chance.choice(made), "times": 1} if kind == "hand-over" else {}
            project.host(faults=[{"call": "finish handedOver", "fault": "kill", **whose}])
        moment = self.chance.randrange(1, calls)
        run = project.start_cloudpc("up", "demo")
        if kind not in ("hand-over", "power at the end"):
            with (project.root / "host" / "calls.log").open("rb") as log:
                log.seek(size)
                begun = 0
                while run.poll() is None and begun < moment:
                    begun += log.read().count(b" begin ")
                    time.sleep(0.02)
            self._strike(kind)
        output, _ = run.communicate(timeout=project.longest)
        wait_until(lambda: not project.processes(_PROVIDER), 60, "the provider outlived the engine")
        handed_over = [call for call in project.calls()[before:] if call.startswith("finish handedOver")]
        # nobody is handed over before state is safe on the disk: then the loss of power can't cut it
        if kind.startswith("power") and state.read_bytes() != old and (kind != "power" or not handed_over):
            with state.open("r+b") as file:
                file.truncate(self.chance.randrange(state.stat().st_size))
        project.host()
        assert kind != "power at the end" or run.returncode == -signal.SIGKILL, output
        self.tell(f"{kind}: {len(project.calls()) - before} calls, exit code {run.returncode}")
        self.said.append(output)

    def _strike(self, kind: str) -> None:
        """All at once, as far as that can be seen from outside."""
        marks = {"engine": [_ENGINE], "provider": [_PROVIDER], "both": [_ENGINE, _PROVIDER], "power": [b""]}[kind]
        while pids := [pid for mark in marks for pid in self.project.processes(mark)]:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if kind != "power":
                return
            time.sleep(0.02)  # a process that was being started as the others were listed is not spared by a power cut

    # ---- one more run, and what must hold

    def _settle(self) -> None:
        ran = self.project.cloudpc("up", "demo", "--clear-lock")
        assert ran.code == 0, ran
        self._check(ran.output)
        self.coming.clear()
        for who, machine in self.project.machines().items():
            self.generations[who] = machine["tag"]["generation"]
        self._users_work(self.members)

    def _users_work(self, who: set[str]) -> None:
        """Each with a machine writes something, once."""
        machines = self.project.machines()
        for user_id in who & machines.keys() - self.data.keys():
            self.data[user_id] = f"written by {user_id} into generation {self.generations[user_id]}"
            self._disk(machines[user_id]["name"]).write_text(self.data[user_id])

    def _check(self, output: str) -> None:
        project = self.project
        state, machines = project.state(), project.machines()
        assert {who for who, pc in state.items() if pc["status"] == "provisioned"} == self.members, output
        left = {pc["status"] for who, pc in state.items() if who not in self.members}
        assert left <= {"inGracePeriod", "deprovisioning"}, output
        with_machine = {who for who, pc in state.items() if pc["status"] in ("provisioned", "inGracePeriod")}
        assert set(machines) == with_machine, "a machine too many, or one that is missing"
        assert len(list((project.root / "host" / "machines").glob("*.json"))) == len(machines), "somebody has two"
        assert {machine["tag"]["phase"] for machine in machines.values()} == {"handedOver"}
        for who in self.members - self.coming:
            assert machines[who]["tag"]["generation"] == self.generations[who], who
        assert project.leaks() == []
        for who in machines.keys() & self.data.keys():
            assert self._disk(machines[who]["name"]).read_text() == self.data[who], f"{who} has lost data"
        self._check_passwords()

    def _check_passwords(self) -> None:
        ran = self.project.pulumi("stack", "export", "--stack", "demo", "--show-secrets")
        for resource in json.loads(ran.output)["deployment"]["resources"]:
            outputs = resource.get("outputs", {})
            if outputs.get("status") in ("provisioned", "inGracePeriod"):
                told = json.loads(outputs["credentials"]["plaintext"])
                set_ = (self.project.root / "host" / f"{resource['id']}.password").read_text()
                assert set_ == f"{told['user']}:{told['password']}", f"{outputs['userId']}: the password does not work"

    def _disk(self, machine: str) -> Path:
        return self.project.root / "host" / f"{machine}.qcow2"


def main() -> None:
    """A long trial, by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="users (300)")
    parser.add_argument("--moments", type=int, default=20, help="how often a run is killed (20)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="cloudpc-kills-") as folder:
        image = Path(folder) / "tiny.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
        project = Project(Path(folder) / "project", image, longest=3600)
        try:
            trial = Trial(project, options.count, random.Random(options.seed))
            trial.begin()
            for number in range(options.moments):
                trial.round(KINDS[number % len(KINDS)])
            trial.end()
        finally:
            project.stop()
    print(f"{options.moments} runs killed, nothing lost and nothing left")


if __name__ == "__main__":
    main()
