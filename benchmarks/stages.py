"""Where the time of one provisioning goes: each call of the pipeline, timed, and Pulumi's part around it.

One Cloud PC of the image `micro`. Each round has three parts, in turn: the pipeline alone, in this process, with a
clock around every call to the host; the same guest in plain QEMU; and a whole `pulumi up`, whose display says when the
Cloud PC was begun and done.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from benchmarks import bare, machines
from benchmarks.common import (
    UP,
    BenchmarkError,
    Report,
    Workspace,
    alternated,
    arguments,
    median,
    run,
    running,
    say,
    spread,
    workspace,
)
from cloudpc import guests
from cloudpc.images import gallery
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.guests import Guest
from cloudpc.model.image import DiskImage
from cloudpc.model.watch import Watch
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.resources import Resources
from tests.support.project import REPO, Project

GUEST = "wait_ready"
"""The call that waits for the guest's own boot; all other time is ours, libvirt's or Pulumi's."""
_LINE = re.compile(rb"cloudpc:CloudPC \S+ (creating|created) ")
Times = dict[str, float]


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=5).parse_args()
    report = Report("One provisioning in parts, in seconds (image micro)", ["part", "seconds", "least-most"])
    with workspace() as here:
        rounds = _measure(here, machines.built(), options.rounds)
    for part in rounds[0]:
        values = [times[part] for times in rounds]
        report.rows.append({"part": part, "seconds": median(values), "least-most": spread(values), "all": values})
    report.notes.append(f"{GUEST} holds the guest's own boot; the rest of the pipeline is ours and libvirt's")
    report.show(as_json=options.json)


def _measure(here: Workspace, image: DiskImage, rounds: int) -> list[Times]:
    found: list[Times] = []
    with machines.real_project(here, 1) as project:
        cloud_pc = machines.desired(project)[0]
        parts: dict[str, Callable[[], Times]] = {
            "pipeline": partial(_pipeline, cloud_pc),
            "bare": partial(_bare, here, image, cloud_pc),
            "pulumi": partial(_pulumi, project),
        }
        say("first once unmeasured, which brings the image to the host")
        _pipeline(cloud_pc)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            measured = {name: parts[name]() for name in alternated(number, list(parts))}
            found.append({part: seconds for name in parts for part, seconds in measured[name].items()})
    return found


# ---- the pipeline alone


def _pipeline(cloud_pc: DesiredCloudPC) -> Times:
    times: Times = defaultdict(float)
    begin = time.perf_counter()
    host = machines.local()
    clocked = _clocked(host, times)
    resources = Resources([clocked], lambda _: _timed(times, "find image", _image), lambda: None, guests.named)
    try:
        outcome = pipeline.provision(cloud_pc, resources, _Silent(), Cancellation())
        total = time.perf_counter() - begin
        spent = dict(times)  # without what its removal takes
        if outcome.status is not Status.PROVISIONED:
            raise BenchmarkError(f"{outcome.status}: {outcome.error}")
    finally:
        host.delete(cloud_pc.machine_id, Watch())
        host.close()
    rest = total - sum(spent.values())
    parts = {f"pipeline: {name}": seconds for name, seconds in spent.items()}
    return {"pipeline, whole": total, **parts, "pipeline: all else": rest}


def _image() -> DiskImage:
    found = gallery.find(REPO / "vm-images", "micro")
    assert found
    return found


def _timed(times: Times, name: str, call: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    try:
        return call()
    finally:
        times[name] += time.perf_counter() - begin


def _clocked(host: LibvirtHost, times: Times) -> LibvirtHost:
    """The host with a clock around each of its calls, and instead of `make` around each of those it is made of."""
    for part, left_out in ((host, {"make", "close"}), (host.making, {"make", "boot_slot"})):
        for name in [name for name in dir(part) if not name.startswith("_") and name not in left_out]:
            if inspect.ismethod(call := getattr(part, name)):
                object.__setattr__(part, name, partial(_called, times, name, call))  # `Making` is frozen
    guest, boot_slot = host.guest, host.making.boot_slot

    def clocked_guest(machine_id: UUID) -> Guest:
        made = guest(machine_id)
        for name in ("run", "set_password"):
            setattr(made, name, partial(_called, times, name, getattr(made, name)))
        return made

    host.guest = clocked_guest  # type: ignore[method-assign]

    @contextmanager
    def waited_for(watch: Watch) -> Iterator[None]:
        slot = boot_slot(watch)
        _timed(times, "boot_slot", slot.__enter__)
        try:
            yield
        finally:
            slot.__exit__(None, None, None)

    object.__setattr__(host.making, "boot_slot", waited_for)
    return host


def _called(times: Times, name: str, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    return _timed(times, name, partial(call, *values, **named))


class _Silent:
    def step(self, text: str) -> None: ...

    def milestone(self, text: str, *, warning: bool = False) -> None: ...


# ---- the same guest alone


def _bare(here: Workspace, image: DiskImage, cloud_pc: DesiredCloudPC) -> Times:
    folder, host = here.root / "bare", machines.local()
    try:
        seconds, boots = bare.boot_all(image, [machines.seed(cloud_pc)], folder, host)
    finally:
        host.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {"bare QEMU, whole": seconds, "bare QEMU: to ready": boots[0]}


# ---- the whole, from outside


def _pulumi(project: Project) -> Times:
    """A whole `pulumi up`, cut where its display first says `creating` and `created` of the Cloud PC."""
    machines.init(project)
    marks: Times = {}
    output = b""
    begin = time.perf_counter()
    with running(project, UP) as process:
        assert process.stdout
        while part := os.read(process.stdout.fileno(), 65536):
            output += part
            for found in _LINE.finditer(output):
                marks.setdefault(found[1].decode(), time.perf_counter() - begin)
        process.wait()
        total = time.perf_counter() - begin
    if process.returncode != 0:
        raise BenchmarkError(output.decode())
    machines.all_provisioned(project, 1)
    machines.down(project)
    return {
        "pulumi up, whole": total,
        "pulumi up: until the Cloud PC is begun": marks["creating"],
        "pulumi up: the Cloud PC": marks["created"] - marks["creating"],
        "pulumi up: after it": total - marks["created"],
    }


if __name__ == "__main__":
    run(main)
