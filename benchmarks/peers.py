"""How long others take to the same guests: OpenTofu with its provider for libvirt, and virt-install, beside ours.

The same image, kernel command line and seeds (as virtio disks), on this machine's libvirt without KVM, until all are
ready: the guest agent hands out /run/cloud-init/result.json. The base image is on the host before the clock starts, as
it is for ours. Left out is what a peer can't say: the provider knows no network without a bridge, so its guests have no
card.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import libvirt

from benchmarks import machines
from benchmarks.common import (
    UP,
    BenchmarkError,
    Report,
    Timed,
    Workspace,
    alternated,
    arguments,
    median,
    pulumi,
    run,
    say,
    spread,
    unchanged,
    undisturbed,
    workspace,
)
from cloudpc.guests.linux.first_boot_end import RESULT_FILE, errors_in
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.domain_xml import kernel_command_line
from cloudpc.machines.libvirt.seed import seed_iso
from cloudpc.model.image import DiskImage
from tests.support.project import REPO, Project

OURS, TOFU, VIRT_INSTALL = "pulumi up", "OpenTofu", "virt-install"
_GIVE_UP_AFTER = 600.0
_ASK_EVERY = 0.2
_MEMORY_MIB, _DISK_GIB = 512, 8
_SOURCE = {"source": "dmacvicar/libvirt", "version": "0.8.3"}


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=3, counts=(1, 8)).parse_args()
    columns = ["count", "who", "seconds", "least-most", "ours to it", "nothing to do", "what that said"]
    libvirt.registerErrorHandler(lambda *_: None, None)  # a guest that is not there yet is no error
    report = Report("From nothing to ready beside others, in seconds (image micro)", columns)
    built = subprocess.run([REPO / "tools/peers"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        raise BenchmarkError("the peers could not be built")
    with workspace() as here:
        image = machines.built()
        for count in options.counts:
            report.rows += _measure(here, Path(built.stdout.strip()), image, count, options.rounds)
    report.notes.append(
        "ours to it: of medians; virt-install keeps no state, so it has nothing that could find nothing to do"
    )
    report.show(as_json=options.json)


def _measure(here: Workspace, built: Path, image: DiskImage, count: int, rounds: int) -> list[dict[str, Any]]:
    with machines.real_project(here, count) as project, peers(here, built, image, project) as others:
        measures: dict[str, Callable[[], Measured]] = {
            OURS: partial(_ours, project, count),
            TOFU: others.tofu,
            VIRT_INSTALL: others.virt_install,
        }
        say(f"{count}: first once unmeasured, which brings the image to the host and files into memory")
        found: dict[str, list[Measured]] = {name: [] for name in measures}
        for number in range(-1, rounds):
            for name in alternated(number, list(measures)):
                say(f"{count}: round {number + 1} of {rounds}: {name}")
                os.sync()
                measured = measures[name]()
                if number >= 0:
                    found[name].append(measured)
    ours = median([each.ready for each in found[OURS]])
    return [
        {
            "count": count,
            "who": name,
            "seconds": median([each.ready for each in all_]),
            "least-most": spread([each.ready for each in all_]),
            "ours to it": None if name == OURS else round(ours / median([each.ready for each in all_]), 2),
            "nothing to do": median([each.again.seconds for each in all_ if each.again]) if all_[0].again else None,
            "what that said": all_[0].said,
        }
        for name, all_ in found.items()
    ]


@dataclass(frozen=True)
class Measured:
    """One round of one of them."""

    ready: float
    """Seconds from its start until all guests were ready."""
    again: Timed | None = None
    """A run with nothing to do."""
    said: str = ""
    """What that came to."""


def _ours(project: Project, count: int) -> Measured:
    machines.init(project)
    made = pulumi(project, *UP)
    machines.all_provisioned(project, count)
    again = unchanged(pulumi(project, *UP), count + 2)
    machines.down(project)
    return Measured(made.seconds, again, "no changes")


# ---- the others


@contextmanager
def peers(here: Workspace, built: Path, image: DiskImage, project: Project) -> Iterator[Peers]:
    """The others, with the image and seeds of this project's Cloud PCs; all they have made is removed at the end."""
    seeds = [seed_iso(machines.seed(cloud_pc)) for cloud_pc in machines.desired(project)]
    folder = here.root / f"peers-{len(seeds)}"
    made = Peers(folder, built, image, seeds, f"cloudpc-peer-{secrets.token_hex(3)}")
    (folder / "pool").mkdir(parents=True)
    folder.chmod(0o711)
    (folder / "pool").chmod(0o711)
    try:
        made.prepare()
        yield made
    finally:
        with undisturbed():
            made.remove()


@dataclass(frozen=True)
class Peers:
    """OpenTofu and virt-install on this machine's libvirt.

    Args:
        folder: of their own.
        built: what tools/peers has built.
        image: what guests boot.
        seeds: contents of one ISO a guest.
        name: what all they make begins with.
    """

    folder: Path
    built: Path
    image: DiskImage
    seeds: Sequence[bytes]
    name: str
    _uri: str = field(default=machines.HOST["uri"])  # type: ignore[assignment]

    @property
    def _pool(self) -> Path:
        return self.folder / "pool"

    @property
    def _names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(len(self.seeds))]

    def prepare(self) -> None:
        """Bring the base image to the host, by OpenTofu, as it would be there for its next machines."""
        for number, seed in enumerate(self.seeds):
            (self.folder / f"{number}.iso").write_bytes(seed)
        self._configure(with_machines=False)
        self._tofu("init")
        self._tofu("apply", "-auto-approve")

    def tofu(self) -> Measured:
        """A round of OpenTofu: its machines made, planned again, destroyed."""
        self._configure(with_machines=True)
        begin = time.perf_counter()
        with self._ready() as ready:
            self._tofu("apply", "-auto-approve")
            ready()
        seconds = time.perf_counter() - begin
        again = self._tofu("plan", "-no-color")
        told = [line for line in again.output.splitlines() if line.startswith(("Plan:", "No changes"))]
        self._configure(with_machines=False)
        self._tofu("apply", "-auto-approve")
        return Measured(seconds, again, (told or ["?"])[0])

    def virt_install(self) -> Measured:
        """A round of virt-install: an overlay and a run for each machine, side by side."""
        begin = time.perf_counter()
        with self._ready() as ready, ThreadPoolExecutor(len(self.seeds)) as at_once:
            list(at_once.map(self._install, range(len(self.seeds))))
            ready()
        seconds = time.perf_counter() - begin
        self._remove_domains()
        for left in self._pool.glob("own-*"):
            left.unlink()
        return Measured(seconds, said="keeps no state")

    def remove(self) -> None:
        """All that is there."""
        self._remove_domains()
        with self._connected() as host, suppress(libvirt.libvirtError):
            pool = host.storagePoolLookupByName(self.name)
            with suppress(libvirt.libvirtError):
                pool.destroy()
            pool.undefine()

    def _install(self, number: int) -> None:
        disk, seed = self._pool / f"own-{number}.qcow2", self._pool / f"own-{number}.iso"
        base = ["-f", "qcow2", "-F", "qcow2", "-b", str(self._pool / "base.qcow2")]
        _run(["qemu-img", "create", "-q", *base, str(disk), f"{_DISK_GIB}G"], self.folder)
        seed.write_bytes(self.seeds[number])
        kernel = f"kernel={self._pool / 'kernel'},initrd={self._pool / 'initrd'}"
        _run(
            [
                *("virt-install", "--connect", self._uri, "--name", self._names[number], "--import"),
                *("--virt-type", "qemu", "--machine", "q35", "--cpu", "mode=maximum"),
                *("--memory", str(_MEMORY_MIB), "--vcpus", "1", "--osinfo", "detect=off,require=off"),
                *("--disk", f"path={disk},format=qcow2,bus=virtio"),
                *("--disk", f"path={seed},format=raw,bus=virtio,readonly=on"),
                *("--boot", f"{kernel},kernel_args={self._command_line.replace(',', ',,')}"),
                *("--network", "user,model=virtio", "--rng", "/dev/urandom", "--graphics", "none", "--noautoconsole"),
                *("--channel", "unix,target.type=virtio,target.name=org.qemu.guest_agent.0"),
            ],
            self.folder,
        )

    @property
    def _command_line(self) -> str:
        return kernel_command_line(self.image.command_line, emulated=True)

    def _tofu(self, *command: str) -> Timed:
        settings = self.folder / "cli.tfrc.json"
        mirror = {"path": str(self.built / "providers")}
        settings.write_text(json.dumps({"provider_installation": [{"filesystem_mirror": [mirror]}]}))
        environment = os.environ | {"TF_CLI_CONFIG_FILE": str(settings), "TF_IN_AUTOMATION": "1"}
        return _run([str(self.built / "bin/tofu"), *command, "-input=false"], self.folder, environment)

    def _configure(self, *, with_machines: bool) -> None:
        assert self.image.kernel
        assert self.image.initrd
        pool = "${libvirt_pool.peers.name}"
        base = {
            "base": {"name": "base.qcow2", "pool": pool, "source": str(self.image.disk.path), "format": "qcow2"},
            "kernel": {"name": "kernel", "pool": pool, "source": str(self.image.kernel.path), "format": "raw"},
            "initrd": {"name": "initrd", "pool": pool, "source": str(self.image.initrd.path), "format": "raw"},
        }
        resources: dict[str, Any] = {
            "libvirt_pool": {"peers": {"name": self.name, "type": "dir", "target": [{"path": str(self._pool)}]}},
            "libvirt_volume": base | (self._volumes(pool) if with_machines else {}),
        }
        if with_machines:
            resources["libvirt_domain"] = {f"m{number}": self._domain(number) for number in range(len(self.seeds))}
        content = {
            "terraform": {"required_providers": {"libvirt": _SOURCE}},
            "provider": {"libvirt": {"uri": self._uri}},
            "resource": resources,
        }
        (self.folder / "main.tf.json").write_text(json.dumps(content, indent=1))

    def _volumes(self, pool: str) -> dict[str, dict[str, Any]]:
        size = _DISK_GIB * 1024**3
        made: dict[str, dict[str, Any]] = {}
        for number in range(len(self.seeds)):
            backing = "${libvirt_volume.base.id}"
            made[f"disk{number}"] = {"name": f"{number}.qcow2", "pool": pool, "base_volume_id": backing, "size": size}
            iso = str(self.folder / f"{number}.iso")
            made[f"seed{number}"] = {"name": f"{number}.iso", "pool": pool, "source": iso, "format": "raw"}
        return made

    def _domain(self, number: int) -> dict[str, Any]:
        volumes = [f"${{libvirt_volume.{kind}{number}.id}}" for kind in ("disk", "seed")]
        return {
            "name": self._names[number],
            "type": "qemu",
            "machine": "q35",
            "cpu": [{"mode": "maximum"}],
            "memory": _MEMORY_MIB,
            "vcpu": 1,
            "kernel": "${libvirt_volume.kernel.id}",
            "initrd": "${libvirt_volume.initrd.id}",
            "cmdline": [{"_": self._command_line}],
            "disk": [{"volume_id": volume} for volume in volumes],
            "console": [{"type": "pty", "target_port": "0", "target_type": "serial"}],
            "graphics": [{"type": "vnc", "listen_type": "address"}],
        }

    @contextmanager
    def _ready(self) -> Iterator[Callable[[], None]]:
        """Looks at the guests from now on, beside what makes them; what it gives waits for all to be ready."""
        stopped = threading.Event()
        with ThreadPoolExecutor(len(self.seeds)) as looking:
            looks = [looking.submit(self._wait_ready, name, stopped) for name in self._names]
            try:
                yield partial(_wait_for, looks)
            finally:
                stopped.set()

    def _wait_ready(self, name: str, stopped: threading.Event) -> None:
        deadline = time.monotonic() + _GIVE_UP_AFTER
        with self._connected() as host:
            while not stopped.wait(_ASK_EVERY):
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"{name} was not ready after {_GIVE_UP_AFTER:.0f} s")
                # not defined yet, not started yet, no agent yet, no result yet
                with suppress(libvirt.libvirtError, AgentUnavailable, AgentRefused, FileNotFoundError, TimeoutError):
                    errors = errors_in(Agent(host.lookupByName(name), patience=0).read_file(RESULT_FILE))
                    if errors:
                        raise BenchmarkError(f"first-boot set-up of {name} failed: {errors}")
                    if errors is not None:
                        return

    def _remove_domains(self) -> None:
        with self._connected() as host:
            for domain in host.listAllDomains(0):
                if domain.name().startswith(self.name):
                    with suppress(libvirt.libvirtError):
                        domain.destroy()
                    domain.undefine()

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        host = libvirt.open(self._uri)
        try:
            yield host
        finally:
            host.close()


def _wait_for(looks: Sequence[Future[None]]) -> None:
    for look in looks:
        look.result()


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> Timed:
    begin = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, start_new_session=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchmarkError(f"`{' '.join(command[:3])}` failed:\n{done.stdout[-3000:]}")
    return Timed(time.perf_counter() - begin, 0, done.stdout)


if __name__ == "__main__":
    run(main)
