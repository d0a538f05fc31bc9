"""Virtual machines of the fake that are real: each is a guest under QEMU, reads its seed, runs scripts, answers ssh.

Implements `ComputeBackEnd`. Whatever image a machine is ordered with, it boots the one that is given, such as `micro`.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage
from tests.azure.arm import FakeArm
from tests.azure.back_ends import Command, GuestStatus, Outcome, Power, Vm
from tests.azure.errors import ArmFault
from tests.azure.local_guest import GuestSilentError, LocalGuest

_LOOK_EVERY = 0.3
_LATE = 0.5
_NO_WINDOWS = ArmFault("OSProvisioningClientError", "There are guests of Linux only behind this fake.")


@dataclass
class _Running:
    """A machine's guest, and the thread that does with it what takes long."""

    guest: LocalGuest
    folder: Path
    wanted: list[Callable[[], None]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    status: GuestStatus = field(default_factory=lambda: GuestStatus(provisioned=False, agent=False))
    ended: bool = False


def at_guests_pace(arm: FakeArm) -> None:
    """Count no requests, and take a moment for each look at a guest.

    On loopback a driver waits for a hundredth of the time, and guests don't: it would look ten times a second, which
    takes a slow machine's processor from its guests, and be told to rest.
    """
    arm.buckets.on = False
    for looks in ("VirtualMachines_InstanceView", "VirtualMachineRunCommands_GetByVirtualMachine"):
        arm.slow(looks, seconds=_LATE, times=None)


class Guests:
    """Close it: it ends all guests. They end with this process, too, however that ends.

    Args:
        image: what they boot.
    """

    def __init__(self, image: DiskImage) -> None:
        self._image = image
        self.folder = Path(tempfile.mkdtemp(prefix="cloudpc-azure-"))
        self._machines: dict[str, _Running] = {}
        self.prefix: str | None = f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}.0/24"
        """Of the subnet's addresses: all of 127.0.0.0/8 are this machine's, and each guest's ssh has one for itself."""

    def guest(self, name: str) -> LocalGuest:
        """Of the machine of this name."""
        return self._machines[name.lower()].guest

    @property
    def names(self) -> list[str]:
        """Of the machines whose guests are there."""
        return sorted(self._machines)

    def close(self) -> None:
        """End them all, and remove what they were."""
        for name in list(self._machines):
            if thread := self._end(name):
                thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- ComputeBackEnd

    def created(self, vm: Vm) -> None:
        if vm.os != "Linux":
            raise _NO_WINDOWS
        folder = Path(tempfile.mkdtemp(prefix=f"{vm.name}-", dir=self.folder))
        disk_gib = vm.body["properties"]["storageProfile"]["osDisk"].get("diskSizeGB") or 30
        guest = LocalGuest(self._image, folder, _seed(vm), vm.address, disk_gib)
        running = _Running(guest, folder, [guest.on])
        self._machines[vm.name.lower()] = running
        threading.Thread(target=_keep, args=(running,), name=f"guest {vm.name}", daemon=True).start()

    def status(self, vm: Vm) -> GuestStatus:
        return self._machines[vm.name.lower()].status

    def address(self, vm: Vm) -> str | None:
        return None

    def run(self, vm: Vm, command: Command) -> Outcome:
        guest = self.guest(vm.name)
        try:
            ran = guest.run(command.name, command.script, dict(command.environment), command.timeout, command.cancelled)
        except GuestSilentError as error:
            raise TimeoutError(str(error)) from error
        if ran.state == "TimedOut":
            raise TimeoutError
        return Outcome(ran.exit_code, ran.output, ran.error)

    def power(self, vm: Vm, action: Power) -> None:
        running = self._machines[vm.name.lower()]
        guest = running.guest
        steps: dict[Power, list[Callable[[], None]]] = {
            "start": [guest.on], "powerOff": [guest.shut_down], "deallocate": [guest.shut_down],
            "restart": [guest.shut_down, guest.on], "redeploy": [guest.off, guest.on],
        }  # fmt: skip
        with running.changed:
            running.wanted += steps[action]
            running.status = GuestStatus(running.status.provisioned, agent=False, running=action != "powerOff")
            running.changed.notify()

    def console(self, vm: Vm) -> bytes:
        return self.guest(vm.name).console

    def deleted(self, vm: Vm) -> None:
        self._end(vm.name.lower())  # nothing, where it never ran

    def _end(self, name: str) -> threading.Thread | None:
        running = self._machines.pop(name, None)
        if running is None:
            return None
        with running.changed:
            running.ended = True
            running.changed.notify()

        def clear() -> None:
            running.guest.off()
            shutil.rmtree(running.folder, ignore_errors=True)

        thread = threading.Thread(target=clear, name=f"end {name}")
        thread.start()
        return thread


def _keep(running: _Running) -> None:
    """Do with the guest what is wanted, and look how it is."""
    while True:
        with running.changed:
            if not running.wanted:
                running.changed.wait(_LOOK_EVERY)
            if running.ended:
                break
            step = running.wanted.pop(0) if running.wanted else None
        found = _done(step) if step else None
        found = found or _look(running)
        with running.changed:
            if not running.wanted:
                running.status = found
    running.guest.off()


def _done(step: Callable[[], None]) -> GuestStatus | None:
    """Do it; how the guest is where that failed."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - its thread has nobody else to tell
        return GuestStatus(False, False, failure=ArmFault("OSProvisioningInternalError", f"QEMU: {error!r}"))
    return None


def _look(running: _Running) -> GuestStatus:
    guest, before = running.guest, running.status
    if before.failure:
        return before
    if before.agent and before.provisioned and guest.runs:
        return before  # it is asked no more: a guest has little time to answer
    booted = guest.first_boot() is not None
    return GuestStatus(provisioned=before.provisioned or booted, agent=booted, running=guest.runs)


def _seed(vm: Vm) -> Seed:
    """Its customData for NoCloud, which Azure's data source does the work of; `micro` reads JSON without comments."""
    first, *lines = vm.custom_data.decode().splitlines(keepends=True)
    told = "".join(line for line in lines if not line.startswith("#"))
    # As on Azure the name is the machine's, and each machine an instance of its own.
    meta = {"instance-id": vm.id + secrets.token_hex(4), "local-hostname": vm.computer_name}
    return Seed(json.dumps(meta), first + told)
