"""A machine that goes on with another build's kernel, without losing anything."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest

from cloudpc.machines.libvirt import kernels
from cloudpc.machines.libvirt.domain_xml import KernelBoot, extra_disk_xml, with_kernel
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import ErrorCode
from cloudpc.model.image import DiskImage, ImageFile
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with

from .daemon import Daemon
from .desk import Desk
from .reach import ran

BOOT = "/proc/sys/kernel/random/boot_id"
DEFINED = """
<domain type='{kind}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>m</name><metadata><own:thing xmlns:own='urn:own'>kept</own:thing></metadata>
  <os><type arch='x86_64'>hvm</type><kernel>/old</kernel><initrd>/old-initrd</initrd><cmdline>old</cmdline></os>
  <qemu:commandline><qemu:arg value='-netdev'/></qemu:commandline>
</domain>
"""


@pytest.mark.parametrize(("kind", "command_line"), [("kvm", "quiet"), ("qemu", "mitigations=off no_timer_check quiet")])
def test_only_the_kernel_changes(kind: str, command_line: str) -> None:
    before = ElementTree.fromstring(DEFINED.format(kind=kind))
    after = ElementTree.fromstring(with_kernel(DEFINED.format(kind=kind), KernelBoot("/new", None, "quiet")))
    [boot] = after.findall("os")
    assert [(e.tag, e.text) for e in boot] == [("type", "hvm"), ("kernel", "/new"), ("cmdline", command_line)]
    for element in (before, after):
        element.remove(element.findall("os")[0])
    assert [e.tag for e in before.iter()] == [e.tag for e in after.iter()]


def rebuilt(image: DiskImage, folder: Path) -> DiskImage:
    """Another build: the same files, but for bytes after the initrd's end, which the kernel passes over."""
    assert image.initrd is not None
    content = image.initrd.path.read_bytes() + bytes(512)
    path = folder / "initrd"
    path.write_bytes(content)
    initrd = ImageFile(path, hashlib.sha256(content).hexdigest(), len(content))
    return replace(image, digest="cd" * 32, initrd=initrd)


@pytest.mark.machine
def test_a_machine_takes_another_builds_kernel_and_modules_and_loses_nothing(
    desk: Desk, daemon: Daemon, tmp_path: Path
) -> None:
    host, cancel, newer = desk.host, Cancellation(), rebuilt(desk.image, tmp_path)
    spec = desk.boot()
    host.finish(spec.id, Phase.HANDED_OVER)

    def sh(script: str) -> str:
        done = ran(host, spec.id, "sh", "-c", script, timeout=60)
        assert done.exit_code == 0, done.output
        return done.output.strip()

    sh("echo precious > /home/data; cd /lib/modules && mv $(uname -r) gone; sync")  # as if of another version
    boot = sh(f"cat {BOOT}")
    host.making.bring_image(newer, Watch())

    connection = libvirt.open(daemon.tcp_uri)
    domain = connection.lookupByUUID(spec.id.bytes)
    left = extra_disk_xml(host._images.locate(newer).disk, kernels._TARGET, kernels._ALIAS, "left")
    domain.attachDeviceFlags(left, libvirt.VIR_DOMAIN_AFFECT_LIVE)  # by a run that was killed in the middle
    domain.reset(0)
    host.making.wait_ready(spec.id, Watch(cancel).within(180))
    assert sh("cat /home/data") == "precious", "it boots its own disk"
    assert sh(f"cat {BOOT}") != boot

    assert "from its next start on" in host.update_kernel(spec.id, newer, Watch())
    assert "already" in host.update_kernel(spec.id, newer, Watch())
    assert sh("cd /lib/modules && diff -r gone $(uname -r) && ls -A | wc -l") == "2"
    assert sh("mount | grep -c /tmp/ || true") == "0"

    assert "cd" * 8 not in domain.XMLDesc(0), "what runs goes on as it is"
    domain.destroy()
    assert domain.XMLDesc(0).count("cd" * 8) == 2, "kernel and initrd, but not the disk"
    host.power_on(spec.id, Watch(), until_ready=False)
    host.making.wait_ready(spec.id, Watch(cancel).within(180))
    assert sh("cat /home/data") == "precious"
    described = host.describe(spec.id)
    assert described is not None
    assert described.tag.phase is Phase.HANDED_OVER
    connection.close()


@pytest.mark.machine
def test_one_that_has_its_kernel_on_its_own_disk_is_told_so(desk: Desk) -> None:
    spec = desk.boot()
    own = replace(desk.image, kernel=None, initrd=None)
    with fails_with(ErrorCode.SET_UP_FAILED):
        desk.host.update_kernel(spec.id, own, Watch())
