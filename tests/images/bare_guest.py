"""Boots an image with plain QEMU, without libvirt or any of our drivers: tests of images depend on nothing else."""

from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from cloudpc.machines.libvirt.domain_xml import kernel_command_line
from cloudpc.model.image import DiskImage


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BareGuest:
    """One QEMU process with TCG, an overlay, the agent's socket and ssh forwarded to `address`:`port`.

    Args:
        image: what it boots.
        folder: where its overlay, console and socket are.
        seed: NoCloud's ISO 9660 image.
        vcpus: how many.
        memory: in MiB.
        disk_gib: the overlay's size, when it is made.
        at: a loopback address and a port; None: 127.0.0.1 and a free one.
        reboots: it starts again when the guest says so; otherwise QEMU ends.
    """

    def __init__(
        self,
        image: DiskImage,
        folder: Path,
        *,
        seed: Path | None,
        vcpus: int = 1,
        memory: int = 512,
        disk_gib: int = 8,
        at: tuple[str, int] | None = None,
        reboots: bool = False,
    ) -> None:
        self.address, self.port = at or ("127.0.0.1", free_port())
        self.console = folder / "console.log"
        self._overlay = folder / "overlay.qcow2"
        self._socket = folder / "agent.sock"
        if not self._overlay.exists():
            create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.disk.path), "-F", "qcow2"]
            subprocess.run([*create, str(self._overlay), f"{disk_gib}G"], check=True)
        disk = f"file={self._overlay},if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap"
        self._argv = [
            *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35"),
            *(() if reboots else ("-no-reboot",)),
            *("-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max", "-smp", str(vcpus), "-m", str(memory)),
            *("-serial", f"file:{self.console}", "-monitor", "none"),
            *("-netdev", f"user,id=net0,hostfwd=tcp:{self.address}:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net0,romfile="),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={self._socket},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
            *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
            *("-drive", disk, "-device", "virtio-blk-pci,drive=disk"),
        ]
        if seed:
            drive = f"file={seed},if=none,id=seed,format=raw,readonly=on"
            self._argv += ["-drive", drive, "-device", "virtio-blk-pci,drive=seed"]
        if image.kernel and image.initrd:
            append = kernel_command_line(image.command_line, emulated=True)
            self._argv += ["-kernel", str(image.kernel.path), "-initrd", str(image.initrd.path), "-append", append]

    def __enter__(self) -> Self:
        self._socket.unlink(missing_ok=True)
        self.started = time.monotonic()
        self._process = self._launch(self._argv)
        try:
            self._agent = self._connect()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self._lines = b""
        self._ids = itertools.count(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._agent.close()
        self._process.kill()
        self._process.wait()

    def _launch(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + 60
        agent = socket.socket(socket.AF_UNIX)
        while agent.connect_ex(str(self._socket)) != 0:  # not there yet, or a forerunner's
            assert self._process.poll() is None, "QEMU has ended at once"
            assert time.monotonic() < deadline, "QEMU has opened no socket for the agent"
            time.sleep(0.02)
        return agent

    @property
    def age(self) -> float:
        """Seconds since QEMU was started."""
        return time.monotonic() - self.started

    def memory_mib(self) -> int:
        """Resident memory of the QEMU process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024

    def cpu_seconds(self) -> float:
        """Processor time of the QEMU process so far; unlike wall time hardly changed by what else the host does."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_off(self, timeout: float) -> int:
        """Wait until the guest has switched itself off; QEMU's exit status."""
        return self._process.wait(timeout)

    def call(self, command: str, *, timeout: float = 60, **arguments: Any) -> Any:
        """One command of the agent."""
        message = {"execute": command} | ({"arguments": arguments} if arguments else {})
        self._agent.sendall(json.dumps(message).encode() + b"\n")
        reply = json.loads(self._line(timeout))
        if "error" in reply:
            raise RuntimeError(f"{command}: {reply['error']}")
        return reply["return"]

    def call_without_answer(self, command: str, **arguments: Any) -> None:
        """One command that the agent answers only if it fails."""
        self._agent.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def _line(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while b"\n" not in self._lines:
            self._agent.settimeout(max(0.01, deadline - time.monotonic()))
            received = self._agent.recv(65536)
            if not received:
                raise ConnectionError(f"QEMU ended: {self.console.read_text(errors='replace')[-2000:]}")
            self._lines += received
        line, self._lines = self._lines.split(b"\n", 1)
        return line.strip(b"\xff")

    def wait_agent(self, timeout: float) -> float:
        """Wait for the agent's first answer; seconds from QEMU's start to it."""
        deadline = self.started + timeout
        while time.monotonic() < deadline:
            number = next(self._ids)
            sync = json.dumps({"execute": "guest-sync", "arguments": {"id": number}})
            self._agent.settimeout(10)
            self._agent.sendall(sync.encode() + b"\n")
            try:
                # QEMU keeps what is sent before the agent runs, so that the answer comes as soon as it does.
                while not 0 < json.loads(self._line(5.0)).get("return", 0) <= number:
                    pass
            except TimeoutError:
                continue
            answered = self.age
            self._drain()
            return answered
        raise TimeoutError(self.console.read_text(errors="replace")[-4000:])

    def _drain(self) -> None:
        """Drop answers to syncs that were sent before the agent ran."""
        number = next(self._ids)
        self._agent.sendall(json.dumps({"execute": "guest-sync", "arguments": {"id": number}}).encode() + b"\n")
        while json.loads(self._line(10)).get("return") != number:
            pass

    def read_file(self, path: str) -> bytes | None:
        """A small file of the guest, or None if it is not there."""
        try:
            handle = self.call("guest-file-open", path=path, mode="r")
        except RuntimeError:
            return None
        try:
            return base64.b64decode(self.call("guest-file-read", handle=handle, count=1 << 20)["buf-b64"])
        finally:
            self.call("guest-file-close", handle=handle)

    def wait_first_boot(self, timeout: float) -> dict[str, Any]:
        """Wait for result.json; its `v1` with the seconds since QEMU's start as `seconds`."""
        deadline = self.started + timeout
        while time.monotonic() < deadline:
            if text := self.read_file("/run/cloud-init/result.json"):
                return {**json.loads(text)["v1"], "seconds": self.age}
            time.sleep(0.25)
        raise TimeoutError(self.console.read_text(errors="replace")[-4000:])

    def run(self, *argv: str, stdin: bytes = b"", timeout: float = 120) -> tuple[int, str]:
        """Run a program in the guest; exit status and all output."""
        arguments: dict[str, Any] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        pid = self.call("guest-exec", **arguments)["pid"]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self.call("guest-exec-status", pid=pid)
            if status["exited"]:
                output = base64.b64decode(status.get("out-data", "")) + base64.b64decode(status.get("err-data", ""))
                return int(status.get("exitcode", -1)), output.decode(errors="replace")
            time.sleep(0.1)
        raise TimeoutError(argv)

    def shell(self, script: str) -> str:
        """Run a line of shell in the guest that must succeed; its output."""
        status, output = self.run("/bin/sh", "-c", script)
        assert status == 0, f"{script}: {status}: {output}"
        return output.strip()
