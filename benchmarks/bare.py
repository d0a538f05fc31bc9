"""The floor of provisioning: the same guests, booted with plain QEMU and nothing else.

The command line is what libvirt makes of our domains on Debian 12 (its log has it), device by device, less what only
libvirt itself needs: its names and secrets, the paused start, the seccomp sandbox. Ready is what ready means to
provisioning: the guest agent hands out /run/cloud-init/result.json.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import BenchmarkError
from cloudpc.guests.linux.first_boot_end import RESULT_FILE
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.domain_xml import kernel_command_line
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.machines.libvirt.seed import seed_iso
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage
from cloudpc.model.watch import Watch

_ASK_EVERY = 0.2
"""Seconds between questions, as the driver asks."""
_ANSWER_WITHIN = 2.0
_GIVE_UP_AFTER = 300.0
_OVERLAY, _SEED = "overlay.qcow2", "seed.iso"


def boot_all(image: DiskImage, seeds: Sequence[Seed], folder: Path, host: LibvirtHost) -> tuple[float, list[float]]:
    """Boot a guest for each seed, as provisioning bounds it; they keep running until all are ready.

    Args:
        image: what they boot.
        seeds: one a guest.
        folder: for disks and sockets.
        host: whose boot slots are taken, so that others who boot here are waited for as provisioning does.

    Returns:
        Seconds until all were ready, and how long each took from the start of its QEMU.

    Raises:
        BenchmarkError: guests run under KVM here, which these command lines don't.
    """
    if host.acceleration.verdict().accelerator is not Accelerator.TCG:
        raise BenchmarkError("the bare script knows software emulation only, and this host has KVM")
    stopped = threading.Event()
    begin = time.perf_counter()
    with ExitStack() as running:

        def boot(number: int) -> float:
            made = _disks(image, seeds[number], folder / f"{number}")
            with host.making.boot_slot(Watch()):
                started = time.perf_counter()
                if stopped.is_set():
                    return 0
                agent = running.enter_context(_guest(image, made))
                _wait_ready(agent, stopped)
                return time.perf_counter() - started

        with ThreadPoolExecutor(len(seeds)) as pool:
            try:
                boots = list(pool.map(boot, range(len(seeds))))
            except BaseException:
                stopped.set()
                raise
        return time.perf_counter() - begin, boots


def _disks(image: DiskImage, seed: Seed, folder: Path) -> Path:
    """Overlay and seed of a guest, made before it waits for its turn, as provisioning does."""
    folder.mkdir(parents=True)
    overlay = folder / _OVERLAY
    create: list[str | Path] = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        image.disk.path,
        overlay,
        "8G",
    ]
    subprocess.run(create, check=True)
    (folder / _SEED).write_bytes(seed_iso(seed))
    return folder


@contextmanager
def _guest(image: DiskImage, folder: Path) -> Iterator[socket.socket]:
    """A running guest with the service plan of the benchmarks; its agent's socket."""
    agent = folder / "agent"
    with socket.socket(socket.AF_UNIX) as listening:
        # a socket of ours, handed over, as libvirt does it: there is nothing to wait for before it can be used
        listening.bind(str(agent))
        listening.listen(1)
        argv = [*_machine(image), *_devices(folder / _OVERLAY, folder / _SEED, listening.fileno())]
        log = (folder / "console").open("wb")
        with log, subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listening.fileno()],
            start_new_session=True,
        ) as process, socket.socket(socket.AF_UNIX) as channel:  # fmt: skip
            try:
                channel.connect(str(agent))
                yield channel
            finally:
                process.kill()


def _machine(image: DiskImage) -> list[str]:
    assert image.kernel
    assert image.initrd
    return [
        *("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none"),
        *("-machine", "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram"),
        *("-accel", "tcg,tb-size=64", "-cpu", "max", "-smp", "1,sockets=1,cores=1,threads=1"),
        *("-m", "512", "-object", "memory-backend-ram,id=pc.ram,size=512M", "-overcommit", "mem-lock=off"),
        *("-rtc", "base=utc", "-no-shutdown", "-boot", "strict=on"),
        *("-kernel", str(image.kernel.path), "-initrd", str(image.initrd.path)),
        *("-append", kernel_command_line(image.command_line, emulated=True)),
    ]


def _devices(overlay: Path, iso: Path, agent: int) -> list[str]:
    ports: list[str] = []
    for number in range(5):
        first = "multifunction=on," if number == 0 else ""
        address = f"addr=0x1{f'.{number:#x}' if number else ''}"
        port = f"port={8 + number},chassis={1 + number},id=pci.{1 + number},bus=pcie.0"
        ports += ["-device", f"pcie-root-port,{port},{first}{address}"]
    return [
        *ports,
        *("-device", "virtio-serial-pci,id=virtio-serial0,bus=pci.1,addr=0x0"),
        *("-drive", f"file={overlay},if=none,id=disk,format=qcow2,discard=unmap"),
        *("-device", "virtio-blk-pci,bus=pci.2,addr=0x0,drive=disk,bootindex=1"),
        *("-drive", f"file={iso},if=none,id=seed,format=raw,readonly=on,discard=unmap"),
        *("-device", "virtio-blk-pci,bus=pci.3,addr=0x0,drive=seed"),
        *("-chardev", "stdio,id=serial,signal=off", "-device", "isa-serial,chardev=serial"),
        *("-chardev", f"socket,id=agent,fd={agent},server=on,wait=off"),
        *("-device", "virtserialport,bus=virtio-serial0.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng,bus=pci.4,addr=0x0"),
        *("-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile=,bus=pcie.0,addr=0x18"),
        *("-vnc", "none", "-device", "VGA,vgamem_mb=8,bus=pcie.0,addr=0x5"),
        *("-device", "pvpanic"),
    ]


def _wait_ready(channel: socket.socket, stopped: threading.Event) -> None:
    agent = _Agent(channel)
    deadline = time.monotonic() + _GIVE_UP_AFTER
    while not stopped.is_set():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"a bare guest was not ready after {_GIVE_UP_AFTER:.0f} s")
        if agent.synchronised() and agent.has_result():
            return
        stopped.wait(_ASK_EVERY)


class _Agent:
    """As much of the guest agent's protocol as readiness needs."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = b""
        self._numbers = itertools.count(1)
        self._in_step = False

    def synchronised(self) -> bool:
        """Whether the agent answers, and answers what was asked last. A question waits in QEMU until it does."""
        if self._in_step:
            return True
        number = next(self._numbers)
        self._send("guest-sync", id=number)
        while (answer := self._answer()) is not None:
            if answer.get("return") == number:
                self._in_step = True
                return True
        return False

    def has_result(self) -> bool:
        """Whether first-boot set-up has written that it is done, without errors."""
        self._send("guest-file-open", path=RESULT_FILE, mode="r")
        opened = self._answer() or {}
        if "return" not in opened:
            return False
        self._send("guest-file-read", handle=opened["return"], count=48 * 1024)
        read = self._answer() or {}
        self._send("guest-file-close", handle=opened["return"])
        self._answer()
        try:
            errors = json.loads(base64.b64decode(read["return"]["buf-b64"]))["v1"]["errors"]
        except (KeyError, ValueError):
            return False
        if errors:
            raise BenchmarkError(f"first-boot set-up of a bare guest failed: {errors}")
        return True

    def _send(self, command: str, **values: object) -> None:
        message = {"execute": command, "arguments": values}
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _answer(self) -> dict[str, Any] | None:
        """The next answer; None if there is none in time."""
        self._channel.settimeout(_ANSWER_WITHIN)
        while b"\n" not in self._received:
            try:
                received = self._channel.recv(65536)
            except TimeoutError:
                self._in_step = False
                return None
            if not received:
                raise BenchmarkError("a bare guest ended during its boot")
            self._received += received
        line, self._received = self._received.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line.strip(b"\xff"))
        return answer
