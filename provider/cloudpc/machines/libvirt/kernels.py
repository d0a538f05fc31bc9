"""Gives a machine that boots a kernel of the host another build's, for its next start.

A kernel needs its modules, which lie on the guest's own disk. They come from the other build's disk, which the guest
sees for a moment, read-only: no network and no package mirror is needed, and they are the very ones of that kernel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import libvirt

from cloudpc.machines.libvirt.agent import Agent
from cloudpc.machines.libvirt.domain_xml import KernelBoot, extra_disk_xml, with_kernel
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.images import BaseImage
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed
from cloudpc.model.image import DiskImage

_ALIAS, _SERIAL, _TARGET = "ua-kernel", "cloudpc-kernel", "vdy"
_SECONDS = 300.0
_LETS_GO_WITHIN, _LOOK_EVERY = 10.0, 0.1
# Mounts of its own, and a session of its own: whatever ends it ends all of it, and leaves nothing mounted.
_APART = ("setsid", "unshare", "--mount", "/bin/sh", "-c")
# Looked for by its serial number, because its name depends on what else there is. Whole or not at all: what is copied
# gets its name last.
_TAKE_MODULES = """
for tries in $(seq 50); do
  for each in /sys/block/*; do
    [ "$(cat "$each/serial" 2>/dev/null)" = "$1" ] && device=/dev/${each##*/} && break 2
  done
  sleep 0.2
done
[ -b "${device-}" ] || { echo "the disk with the modules did not appear" >&2; exit 1; }
from=$(mktemp -d) && mount -t ext4 -o ro,noload,nodev,nosuid "$device" "$from" || exit 1
code=0
for modules in "$from"/lib/modules/*; do
  version=${modules##*/}
  [ -d "/lib/modules/$version" ] && continue
  rm -rf "/lib/modules/.$version" && cp -a "$modules" "/lib/modules/.$version" &&
    mv "/lib/modules/.$version" "/lib/modules/$version" || { rm -rf "/lib/modules/.$version"; code=1; }
done
sync
umount "$from" && rmdir "$from"
exit $code
"""


def update(connection: Any, domain: Any, agent: Agent, image: DiskImage, base: BaseImage) -> str:
    """See `Host.update_kernel`; the image's files are at `base`."""
    before = parsed(_definition(domain)).findtext("./os/kernel")
    if before is None or base.kernel is None:
        message = f"{domain.name()} boots the kernel on its own disk; update it there."
        raise ProvisioningError(ErrorCode.SET_UP_FAILED, message, retriable=False)
    if before == base.kernel:
        return f"already has the kernel of this build of {image.image_id}"
    with _attached(domain, base.disk):
        _take_modules(agent)
    with classified(f"define {domain.name()}"):
        boot = KernelBoot(base.kernel, base.initrd, image.command_line)
        # as it is by now: somebody may have changed it meanwhile
        connection.defineXMLFlags(with_kernel(_definition(domain), boot), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    return f"has the kernel of the current build of {image.image_id} from its next start on; shut it down for that"


def _definition(domain: Any) -> str:
    """Its definition as it will start next time."""
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


@contextmanager
def _attached(domain: Any, disk: str) -> Iterator[None]:
    """While this lasts the guest sees the disk; should it not let go of it, it does at its next start."""
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    with classified(f"show the disk with the modules to {domain.name()}"):
        _detach(domain, wait=_LETS_GO_WITHIN)  # what an interrupted run left
        domain.attachDeviceFlags(extra_disk_xml(disk, _TARGET, _ALIAS, _SERIAL), live)
    try:
        yield
    finally:
        _detach(domain)


def _detach(domain: Any, wait: float = 0) -> None:
    if _ALIAS in domain.XMLDesc(0):
        with suppress(libvirt.libvirtError):
            domain.detachDeviceAlias(_ALIAS, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    until = time.monotonic() + wait
    while time.monotonic() < until and _ALIAS in domain.XMLDesc(0):
        time.sleep(_LOOK_EVERY)


def _take_modules(agent: Agent) -> None:
    try:
        done = agent.run([*_APART, _TAKE_MODULES, "take-modules", _SERIAL], stdin=b"", timeout=_SECONDS)
    except TimeoutError as error:
        done = Completed(1, str(error))
    if done.exit_code != 0:
        said = " / ".join(done.output.strip().splitlines()[-3:])[-400:] or "no output"
        message = f"The guest could not take the modules of another kernel: {said}."
        raise ProvisioningError(ErrorCode.SET_UP_FAILED, message)
