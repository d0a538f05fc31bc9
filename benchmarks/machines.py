"""Real guests for the benchmarks: a project on this machine's libvirt, and the Cloud PCs it will ask for."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import yaml

from benchmarks.common import BenchmarkError, Workspace, pulumi, say, undisturbed
from cloudpc import guests
from cloudpc.configuration import reading
from cloudpc.directory.opening import Directories
from cloudpc.images import gallery
from cloudpc.machines.libvirt import driver
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage
from cloudpc.model.watch import Watch
from cloudpc.rules import entitlement, lifecycle
from cloudpc.rules.today import Today
from tests.support.project import REPO, Project

HOST = {
    "name": "local",
    "uri": "qemu:///system" if os.geteuid() == 0 else "qemu:///session",
    "vCpuOvercommit": 16,  # eight guests on two cores, beside whatever else is defined here
}
_IMAGE = "micro"
_LINUX = guests.named("linux")


def built(name: str = _IMAGE) -> DiskImage:
    """The image all guests boot, by default `micro`; built first if need be."""
    return gallery.build(REPO / "vm-images", name, say)


@contextmanager
def real_project(here: Workspace, count: int, image: str = _IMAGE) -> Iterator[Project]:
    """A project with so many users on this machine's libvirt; its Cloud PCs are removed at the end."""
    project = here.project(f"real-{image}-{count}")
    # without the demo's state folder, which `cloudpc down` would take away, the id would be a new one each time
    installation = uuid.uuid4().hex
    project.directory(count)
    path = project.policy(imageType="gallery", imageId=image)
    content = yaml.safe_load(path.read_text())
    content["config"] |= {"cloudpc:hosts": [HOST], "cloudpc:installation": installation}
    path.write_text(yaml.safe_dump(content))
    try:
        yield project
    finally:
        with undisturbed():
            down(project)
            _make_sure(installation)


def init(project: Project) -> None:
    """Make the stack, which each `down` takes away."""
    pulumi(project, "stack", "init", "demo")


def down(project: Project) -> None:
    """Remove the stack with its Cloud PCs, as a user would; whatever state an interrupted run left it in."""
    command = [sys.executable, "-m", "cloudpc.cli.main", "down", "demo", "--yes", "--clear-lock"]
    done = subprocess.run(
        command, cwd=project.root, env=project.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        say(f"`cloudpc down` failed:\n{done.stdout[-2000:]}")


def _make_sure(installation: str) -> None:
    """Whatever `cloudpc down` did not find."""
    host = local()
    try:
        for machine in host.owned(installation):
            host.delete(machine.id, Watch())
        host.discard(host.remnants(installation))
    finally:
        host.close()


def local() -> LibvirtHost:
    """This machine's libvirt."""
    return driver.connect(LibvirtHostConfig.model_validate(HOST))


def all_provisioned(project: Project, count: int) -> None:
    """Raises BenchmarkError unless so many Cloud PCs are there, all provisioned."""
    statuses = project.statuses()
    if len(statuses) != count or set(statuses.values()) != {"provisioned"}:
        raise BenchmarkError(f"{count} Cloud PCs were to be provisioned, but: {statuses}")


def desired(project: Project) -> tuple[DesiredCloudPC, ...]:
    """What the project's program asks for, computed as it does."""
    stacks = project.root / "stacks"
    values: dict[str, Any] = yaml.safe_load((stacks / "Pulumi.demo.yaml").read_text())["config"]
    inputs = reading.read("demo", values, Directories(stacks))
    installation = inputs.configuration.installation
    assert installation
    template = inputs.policy.cloud_pc_naming_template
    today = Today("demo", installation, template, inputs.settings, _LINUX.account_name)
    owed = entitlement.entitled(inputs.policy, inputs.snapshot)
    return lifecycle.reconcile({}, owed, {}, today, datetime.now(UTC)).desired


def seed(cloud_pc: DesiredCloudPC) -> Seed:
    """The seed that provisioning gives this Cloud PC."""
    identity = cloud_pc.machine_id
    return _LINUX.seed(
        instance_id=f"{identity}-{cloud_pc.generation}",
        device_name=cloud_pc.device_name,
        account=cloud_pc.account,
        local_admin=cloud_pc.settings.local_admin_enabled,
    )
