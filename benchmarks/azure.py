"""How many requests a Cloud PC in Azure takes, and how long, beside the least that the same Azure allows.

A fake Azure, in a process of its own, takes as long as the real one does, `--speed` times as fast; so do the driver's
own pauses. Provisioning runs in this process, without Pulumi, as many at once as our commands let Pulumi do. The floor
is a bare script: the same network cards, machines and scripts by plain HTTP, each looked at just when it is done.
Then the same with every tenth request answered 429, and a rest of five of Azure's seconds, or one of ours if that is
more. What is as long at any speed is done before: Azure's clients are imported.
"""

from __future__ import annotations

import http.client
import importlib
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from benchmarks.common import BenchmarkError, Report, arguments, median, run, say, spread
from cloudpc.machines.azure import arm as driver_arm
from cloudpc.machines.azure import pace
from cloudpc.model.cloud_pc import Status
from tests.azure.account import Account
from tests.azure.arm import FakeArm
from tests.azure.client import nic_body, vm_body
from tests.azure.clock import Delays
from tests.azure.errors import ArmFault
from tests.azure.faults import Fault, Faults
from tests.azure.life import Life
from tests.azure.linux_answers import LinuxAnswers

OURS, FLOOR, REQUESTS, CPU = "seconds", "floor", "requests a Cloud PC", "CPU s a Cloud PC"
_REST = 5
"""Of Azure's seconds until whom it has refused may ask again: what it says of reads of a machine."""
_SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=1, counts=(100,))
    parser.add_argument("--speed", type=float, default=5, help="how many of Azure's seconds pass in one of ours (5)")
    parser.add_argument("--parallel", type=int, default=32, help="how many are made at once (32)")
    options = parser.parse_args()
    columns = ["count", "429", OURS, FLOOR, "ratio", REQUESTS, "of the floor", "scripts", CPU]
    report = Report("Cloud PCs in a fake Azure with the real one's delays", columns)
    for count in options.counts:
        for every in (0, 10):
            report.rows.append(_measure(count, every, options.speed, options.parallel, options.rounds))
    report.notes.append(f"{options.speed:g} of Azure's seconds in one of ours; {options.parallel} at once")
    report.show(as_json=options.json)


def _measure(count: int, every: int, speed: float, parallel: int, rounds: int) -> dict[str, Any]:
    ours: list[_Ran] = []
    floor: list[_Ran] = []
    for number in range(rounds):
        say(f"{count}, every {every}th refused: round {number + 1} of {rounds}")
        with _azure(speed, every) as azure:
            _import_clients()
            ours.append(_timed(azure, partial(_provision, azure, count, parallel)))
        scripts = round(ours[-1].scripts / count)
        with _azure(speed, every) as azure:
            floor.append(_timed(azure, partial(_bare, azure, count, parallel, scripts)))
    seconds, least = median([each.seconds for each in ours]), median([each.seconds for each in floor])
    return {
        "count": count,
        "429": f"1 in {every}" if every else "none",
        OURS: seconds,
        FLOOR: least,
        "ratio": round(seconds / least, 3),
        REQUESTS: round(median([each.requests for each in ours]) / count, 1),
        "of the floor": round(median([each.requests for each in floor]) / count, 1),
        "scripts": scripts,
        CPU: round(median([each.cpu for each in ours]) / count, 3),
        "by operation": {name: round(n / count, 2) for name, n in sorted(ours[-1].operations.items())},
        "all": spread([each.seconds for each in ours]),
    }


# ---- the fake Azure, in its process


@dataclass(frozen=True)
class _Azure:
    """How it is reached and asked."""

    url: str
    token: str
    speed: float
    account: Account
    pipe: Connection

    def seen(self) -> dict[str, Any]:
        """How many requests there were since it was asked last, and what there is."""
        self.pipe.send("seen")
        seen: dict[str, Any] = self.pipe.recv()
        return seen


@dataclass(frozen=True)
class _Ran:
    seconds: float
    cpu: float
    requests: int
    scripts: int
    operations: Mapping[str, int]


@contextmanager
def _azure(speed: float, every: int) -> Iterator[_Azure]:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, speed, every), daemon=True)
    process.start()
    try:
        url, token, account = ours.recv()
        yield _Azure(url, token, speed, account, ours)
    finally:
        ours.send("stop")
        process.join(30)
        process.kill()


def _serve(pipe: Connection, speed: float, every: int) -> None:
    with FakeArm(check=False) as arm:
        arm.table.otherwise = LinuxAnswers()
        arm.delays = Delays.azure()
        arm.clock.speed = speed
        arm.operations.retry_after = 10  # as the real one says, mostly
        arm.usual_quota = 1_000_000
        arm.resources.get(arm.account.subnet_id).properties["addressPrefix"] = "10.0.0.0/16"
        if every:
            arm.faults = _Throttled(every, arm.clock.told(_REST))
        pipe.send((arm.url, arm.token(30 * 24 * 3600), arm.account))
        while pipe.recv() == "seen":
            pipe.send({
                "requests": len(arm.log), "scripts": arm.count("VirtualMachineRunCommands_CreateOrUpdate", status=201),
                "violations": arm.violations[:3], "operations": Counter(each.operation for each in arm.log),
            })  # fmt: skip
            arm.log.clear()


class _Throttled(Faults):
    """Each so-and-so-manieth request is refused."""

    def __init__(self, every: int, rest: str) -> None:
        super().__init__()
        self._every = every
        self._rest = rest
        self._asked = 0

    def take(self, operation: str, path: str) -> list[Fault]:
        self._asked += 1
        if self._asked % self._every:
            return super().take(operation, path)
        return [Fault("sync", error=ArmFault("TooManyRequests", "Too many requests.", 429, Retry_After=self._rest))]


def _timed(azure: _Azure, what: Callable[[], None]) -> _Ran:
    azure.seen()
    begin, cpu = time.perf_counter(), time.process_time()
    what()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    seen = azure.seen()
    if seen["violations"]:
        raise BenchmarkError(f"the fake has a fault: {seen['violations']}")
    return _Ran(seconds, cpu, seen["requests"], seen["scripts"], seen["operations"])


# ---- ours


def _import_clients() -> None:
    for name in ("azure.mgmt.compute", "azure.mgmt.network", "cloudpc.machines.azure.operation"):
        importlib.import_module(name)


def _provision(azure: _Azure, count: int, parallel: int) -> None:
    """As many Cloud PCs, on one host that all share, as the provider's process has it."""
    lives = [Life(azure, Path(tempfile.gettempdir()), f"u{number:04}") for number in range(count)]
    with (
        mock.patch.dict(os.environ, {"CLOUDPC_AZURE_TOKEN": azure.token}),
        mock.patch.object(pace, "_LOOPBACK", 1 / azure.speed),
        mock.patch.object(driver_arm, "_LOOPBACK_INTERVAL", driver_arm._INTERVAL / azure.speed),
        ThreadPoolExecutor(parallel) as pool,
        lives[0].runtime() as runtime,
    ):
        for outcome in pool.map(lambda life: life.provision(runtime), lives):
            if outcome.status is not Status.PROVISIONED:
                raise BenchmarkError(f"not provisioned: {outcome.error}")


# ---- the floor


def _bare(azure: _Azure, count: int, parallel: int, scripts: int) -> None:
    with ThreadPoolExecutor(parallel) as pool:
        for _ in pool.map(lambda number: _Bare(azure, number).make(scripts), range(count)):
            pass


class _Bare:
    """One machine by plain HTTP: nothing is asked that need not be, nor before it is done."""

    def __init__(self, azure: _Azure, number: int) -> None:
        self._azure = azure
        self._nic, self._name = f"nic-{number}", f"vm-{number}"
        self._connection = http.client.HTTPConnection(urlsplit(azure.url).netloc, timeout=120)
        self._delays = Delays.azure()

    def make(self, scripts: int) -> None:
        """The card, the machine, its scripts, its mark."""
        account = self._azure.account
        card = account.id("networkInterfaces", self._nic)
        self._put(card, "2026-03-01", nic_body(self._azure), self._delays.network_interface)
        machine = account.id("virtualMachines", self._name)
        wait = self._delays.allocation + self._delays.provisioning
        self._put(machine, "2026-04-01", vm_body(self._azure, self._nic), wait)
        for number in range(scripts):
            properties = {"source": {"script": "true"}, "asyncExecution": True, "timeoutInSeconds": 60}
            body = {"location": account.location, "properties": properties}
            self._put(f"{machine}/runCommands/c{number}", "2026-04-01", body, self._delays.run_command)
        self._connection.close()

    def _put(self, path: str, version: str, body: Any, seconds: float) -> None:
        self._ask("PUT", f"{path}?api-version={version}", body)
        time.sleep(seconds / self._azure.speed)
        while self._ask("GET", f"{path}?api-version={version}")["properties"]["provisioningState"] == "Creating":
            time.sleep(2 / self._azure.speed)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._azure.token}", "Content-Type": "application/json"}
        while True:
            self._connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = self._connection.getresponse()
            said = json.loads(answer.read())
            if answer.status != 429:
                break
            time.sleep(float(answer.headers["Retry-After"]))
        if answer.status >= 300:
            raise BenchmarkError(f"{method} {path}: {said}")
        return said


if __name__ == "__main__":
    run(main)
