"""The guest of a virtual machine of the fake: QEMU with TCG, an agent in place of Azure's, ssh on its own address."""

from __future__ import annotations

import base64
import itertools
import json
import random
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudpc.machines.libvirt.seed import seed_iso
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage
from tests.images.bare_guest import BareGuest

TAIL = 4096
"""Bytes of each stream that a run command's instance view holds."""
SCRIPTS = "/var/lib/waagent/run-command-handler/download"
"""Where Azure's handler keeps the scripts it was given, each with what it has said beside it."""

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# In a session of its own, so that it can be ended with all that it has started.
_RUN = """
umask 022; dir=$1; mkdir -p -m 700 "$dir" && cd "$dir" && cat > script.sh && chmod 500 script.sh || exit 126
exec > stdout 2> stderr < /dev/null
exec setsid sh -c 'exec "$0"' "$dir/script.sh"
"""
_ANSWER_WITHIN, _ASK_EVERY = 60.0, 0.1
_SPAWNER = ThreadPoolExecutor(1, "spawner")
"""A process that is to end with its parent ends with the thread that started it: this one stays."""


def missing() -> str:
    """Why none can run here; empty if one can."""
    needed = [tool for tool in ("qemu-system-x86_64", "qemu-img", "setpriv") if not shutil.which(tool)]
    if needed:
        return f"needs {', '.join(needed)}"
    try:
        with socket.socket() as probe:
            probe.bind((f"127.{random.randrange(64, 128)}.{random.randrange(256)}.1", 22))
            probe.listen()
    except OSError as error:
        return f"needs port 22 of an address of 127.0.0.0/8 for a guest's ssh: {error.strerror}"
    return ""


class GuestSilentError(Exception):
    """Its agent does not answer: it boots, is off, or hangs."""


@dataclass(frozen=True)
class Ran:
    """What became of a run command: its execution state, and the ends of what it said."""

    state: str
    exit_code: int
    output: str = ""
    error: str = ""


class _Qemu(BareGuest):
    def _launch(self, argv: list[str]) -> subprocess.Popen[bytes]:
        ends_with_us = ("setpriv", "--pdeathsig", "KILL")
        return _SPAWNER.submit(subprocess.Popen, [*ends_with_us, *argv], stdin=subprocess.DEVNULL).result()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def sync(self, timeout: float) -> None:
        """Drop what is under way, and return once the agent answers. Raises TimeoutError, OSError."""
        number = next(self._ids)
        self._agent.settimeout(timeout)
        self._agent.sendall(
            b"\xff" + json.dumps({"execute": "guest-sync", "arguments": {"id": number}}).encode() + b"\n"
        )
        deadline = time.monotonic() + timeout
        while True:
            with suppress(ValueError):
                if json.loads(self._line(max(0.01, deadline - time.monotonic()))).get("return") == number:
                    return


class LocalGuest:
    """May be used from many threads at once; `off` ends them all.

    Args:
        image: what it boots.
        folder: its own.
        seed: what its first boot reads.
        address: of 127.0.0.0/8; its ssh answers there, on port 22.
        disk_gib: of its disk.
    """

    def __init__(self, image: DiskImage, folder: Path, seed: Seed, address: str, disk_gib: int) -> None:
        self.address = address
        iso = folder / "seed.iso"
        iso.write_bytes(seed_iso(seed))
        self._qemu = _Qemu(
            image,
            folder,
            seed=iso,
            memory=max(256, image.minimum_memory_mib),
            disk_gib=disk_gib,
            at=(address, 22),
            reboots=True,
        )
        self._lock = threading.RLock()
        self._numbers = itertools.count(0)
        self._on = self._in_step = False

    @property
    def runs(self) -> bool:
        """Whether it is on: its guest may have switched it off."""
        return self._on and self._qemu.runs

    def on(self) -> None:
        """Switch it on; nothing where it is."""
        with self._lock:
            if not self.runs:
                self.off()
                self._qemu.__enter__()
                self._on, self._in_step = True, False

    def off(self) -> None:
        """Pull the plug."""
        if self._on:
            self._qemu._process.kill()  # what waits for its agent, and has the lock, hears of it
        with self._lock:
            if self._on:
                self._on = False
                self._qemu.__exit__()

    def shut_down(self, within: float = 60) -> None:
        """Ask the guest to switch itself off; whoever does not is switched off."""
        with suppress(GuestSilentError), self._lock:
            self._check(5)
            self._qemu.call_without_answer("guest-shutdown", mode="powerdown")
        deadline = time.monotonic() + within
        while self.runs and time.monotonic() < deadline:
            time.sleep(0.05)
        self.off()

    @property
    def console(self) -> bytes:
        """All it has said on its serial port."""
        return self._qemu.console.read_bytes() if self._qemu.console.exists() else b""

    def first_boot(self) -> dict[str, Any] | None:
        """What cloud-init, or what does its work, says of it; None until it is over, and while nobody answers."""
        try:
            text = self._read("/run/cloud-init/result.json")
        except GuestSilentError:
            return None
        found: dict[str, Any] | None = json.loads(text)["v1"] if text else None
        return found

    def answers(self, within: float = 2) -> bool:
        """Whether its agent does."""
        try:
            with self._lock:
                self._in_step = False
                self._check(within)
        except GuestSilentError:
            return False
        return True

    def run(self, name: str, script: str, environment: dict[str, str], timeout: float, stop: threading.Event) -> Ran:
        """Run a script as root, as Azure's handler does; `stop` ends it. Raises GuestSilentError."""
        folder = f"{SCRIPTS}/{name}/{next(self._numbers)}"
        started = self._call(
            "guest-exec",
            path="/bin/sh",
            arg=["-c", _RUN, "run", folder],
            env=[_PATH, "HOME=/root", *(f"{key}={value}" for key, value in environment.items())],
            **{"input-data": base64.b64encode(script.encode()).decode()},
        )
        pid, deadline = started["pid"], time.monotonic() + timeout
        while not (status := self._call("guest-exec-status", pid=pid))["exited"]:
            if stop.wait(_ASK_EVERY) or time.monotonic() > deadline:
                self._call("guest-exec", path="/bin/kill", arg=["-KILL", "--", f"-{pid}", str(pid)])
                return Ran("Canceled" if stop.is_set() else "TimedOut", -1, *self._said(folder))
        code = status["exitcode"] if "exitcode" in status else 128 + status.get("signal", 0)
        return Ran("Succeeded" if code == 0 else "Failed", code, *self._said(folder))

    def _said(self, folder: str) -> tuple[str, str]:
        """Both streams' ends; nothing of a file that the script has removed."""
        return self._tail(f"{folder}/stdout"), self._tail(f"{folder}/stderr")

    def _tail(self, path: str) -> str:
        return (self._read(path) or b"")[-TAIL:].decode(errors="replace")

    def _read(self, path: str) -> bytes | None:
        with self._lock:
            try:
                handle = self._call("guest-file-open", path=path, mode="r")
            except RuntimeError:
                return None
            try:
                content = b""
                while more := base64.b64decode(self._call("guest-file-read", handle=handle, count=1 << 16)["buf-b64"]):
                    content = (content + more)[-(1 << 20) :]
                return content
            finally:
                self._call("guest-file-close", handle=handle)

    def _call(self, command: str, **arguments: Any) -> Any:
        with self._lock:
            self._check(_ANSWER_WITHIN)
            try:
                return self._qemu.call(command, timeout=_ANSWER_WITHIN, **arguments)
            except (OSError, ValueError) as error:
                self._in_step = False
                raise GuestSilentError(str(error)) from error

    def _check(self, within: float) -> None:
        """That the next line is the answer to the next question: one that came too late is still under way."""
        if not self.runs:
            raise GuestSilentError("it is off")
        if not self._in_step:
            try:
                self._qemu.sync(within)
            except OSError as error:
                raise GuestSilentError(str(error)) from error
            self._in_step = True
