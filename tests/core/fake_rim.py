"""What the pipeline works with, in this process: fake hosts that can be told more than faults, a patient clock."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from fake_driver import FakeHostConfig
from fake_hypervisor import FakeHost

from cloudpc import guests
from cloudpc.guests.linux import facts
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, NetworkChoice
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.identity import machine_id
from cloudpc.model.image import DiskImage, Image
from cloudpc.model.machines import Capacity, Machine, Order
from cloudpc.model.outcome import Outcome
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.registration import Registration
from cloudpc.provisioning.resources import Form, Resources
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.lifecycle import reconcile
from tests.support.fake_settings import write_settings
from tests.support.orders import IMAGE

from . import make

CALLS = ["claim", "ensure_image", "create_disk", "start", "wait_ready", "run", "set_password", "finish ready"]
"""The calls that a provisioning from nothing makes, in order, where the policy asks for set-up."""
STAGES = {
    "claim": (Stage.PLACING, ErrorCode.HYPERVISOR_ERROR),
    "ensure_image": (Stage.IMAGE, ErrorCode.IMAGE_UPLOAD_FAILED),
    "create_disk": (Stage.DISK, ErrorCode.DISK_FAILED),
    "start": (Stage.STARTING, ErrorCode.START_FAILED),
    "wait_ready": (Stage.FIRST_BOOT, ErrorCode.GUEST_DIED),
    "run": (Stage.SET_UP, ErrorCode.GUEST_AGENT_LOST),
    "set_password": (Stage.CREDENTIALS, ErrorCode.CREDENTIALS_FAILED),
    "finish ready": (Stage.CREDENTIALS, ErrorCode.HYPERVISOR_ERROR),
}
"""Where each of them belongs, and the code that the fake host's fault there has."""
THROUGH_HQ = NetworkChoice(kind="hosted", connection="hq", domain_join_type="hybridAzureADJoin")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M"


class ScriptedHost(FakeHost):
    """A fake host in a folder, with faults and hooks.

    Args:
        folder: where its things are kept.
        name: as configured.
        settings: of `host.json`.
    """

    def __init__(self, folder: Path, name: str = "local", **settings: Any) -> None:
        super().__init__(FakeHostConfig(name=name, uri=(folder / name).as_uri().replace("file:", "fake:", 1)))
        self.folder = folder / name
        self.calls: list[str] = []
        self.claimed: list[Order] = []
        self.tags: list[Tag] = []
        self.hooks: dict[str, Callable[[], None]] = {}
        self.away = False
        self.configure(**settings)

    def configure(self, **settings: Any) -> None:
        """Write `host.json`."""
        write_settings(self.folder, settings)

    def _fault(self, call: str, user: str, cancel: Cancellation | None = None, timeout: float = 60) -> None:
        self.calls.append(call)
        self._answer()
        if hook := self.hooks.get(call):
            hook()
        super()._fault(call, user, cancel, timeout)

    def _answer(self) -> None:
        if self.away:
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"{self.name} does not answer", hint="start libvirt")

    def capacity(self) -> Capacity:
        self._answer()
        return super().capacity()

    def claim(self, order: Order, watch: Watch) -> None:
        super().claim(order, watch)
        self.claimed.append(order)
        self.tags.append(order.tag)

    def describe(self, machine_id: UUID) -> Machine | None:
        self._answer()
        machine: Machine | None = super().describe(machine_id)
        return machine

    # ---- looking at it from outside

    def machines(self) -> list[Machine]:
        """Machines that are there, whether the host answers or not."""
        machines: list[Machine] = self._all()
        return machines

    def things(self) -> list[str]:
        """Machines, disks, seeds and passwords: what must not be left over."""
        patterns = ("machines/*", "*.seed", "*.qcow2", "*.password")
        kept = {log.name.partition("-failed-")[0] + ".qcow2" for log in self.kept()}
        return sorted(path.name for pattern in patterns for path in self.folder.glob(pattern) if path.name not in kept)

    def kept(self) -> list[Path]:
        """Consoles' logs of failed machines, each of which stands for its disk, too."""
        return sorted(self.folder.glob("*-failed-*.log"))


class PatientCancellation(Cancellation):
    """Waits take no time and are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.check()
        self.waits.append(seconds)


class Lines:
    """A Reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.milestones: list[str] = []
        self.warnings: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def milestone(self, text: str, *, warning: bool = False) -> None:
        self.milestones.append(text)
        if warning:
            self.warnings.append(text)


def image(**changes: Any) -> DiskImage:
    """A base image; the fake never opens it."""
    return replace(IMAGE, **changes)


def desired(policy_id: str = "lab", user_id: str = "u-alice", **settings: Any) -> DesiredCloudPC:
    """A Cloud PC to be made; by default its policy asks for a package, so that there is some set-up."""
    today = make.today(policy_id=policy_id, settings=make.settings(**{"packages": ("git",), **settings}))
    return reconcile({}, [Entitlement(make.user(user_id), make.plan())], {}, today, make.NOW).desired[0]


def of_two_gb() -> DesiredCloudPC:
    """As `desired`, of a plan with more memory."""
    wanted = desired()
    return wanted.model_copy(update={"service_plan": wanted.service_plan.model_copy(update={"ram_in_gb": 2})})


def said(folder: Path, **files: bytes | None) -> str:
    """What a guest with these files says of itself: `system`, `key`, `device`; its own script is run."""
    script = facts.script()
    paths = [folder / name for name in ("system", "key", "device")]
    for path in paths:
        if (content := files.get(path.name)) is not None:
            path.write_bytes(content)
    argv = replace(script, arguments=tuple(map(str, paths))).argv
    return subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout.decode(errors="replace")


IDENTITY = machine_id(make.INSTALLATION, "u-alice", "small")


class Run:
    """One call of `provision`, and what was seen of it."""

    def __init__(self, *hosts: ScriptedHost, cancel: Cancellation | None = None) -> None:
        self.hosts = hosts
        self.cancel = cancel or PatientCancellation()
        self.lines = Lines()
        self.script: Callable[[], bytes | None] = lambda: None
        self.adoptable: tuple[str, ...] = ()
        self.taking: Sequence[ScriptedHost] | None = None
        self.registration = Registration()
        self.image: Callable[[Watch], Image] = lambda _watch: image()
        self.forms: dict[str, Form] = {}
        self.paid: tuple[str, ...] = ()
        self.healthy: Callable[[NetworkChoice, bool], ProvisioningError | None] | None = None
        self.looks: Looks | None = None

    def provision(self, wanted: DesiredCloudPC | None = None) -> Outcome:
        resources = Resources(
            self.hosts, self.image, self.script, guests.named,
            adoptable=self.adoptable, taking=self.taking, healthy=self.healthy, registration=self.registration,
            forms=self.forms, paid=self.paid, shared=self.looks,
        )  # fmt: skip
        return pipeline.provision(wanted or desired(), resources, self.lines, self.cancel)


def hand_over(host: ScriptedHost) -> None:
    """What the program does once state has recorded the Cloud PC."""
    host.finish(IDENTITY, Phase.HANDED_OVER)


def machines(hosts: Sequence[ScriptedHost]) -> dict[str, list[Phase]]:
    """Phases of the machines on each host that has some."""
    return {host.name: [m.tag.phase for m in host.machines()] for host in hosts if host.machines()}
