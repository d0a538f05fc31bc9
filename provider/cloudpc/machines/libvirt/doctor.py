"""What `cloudpc doctor` says of a host: each check on its own, so that one that fails hides no other."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from posixpath import normpath

import libvirt

from cloudpc.machines.libvirt import probe
from cloudpc.machines.libvirt.acceleration import Acceleration
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.errors import classified, has_code
from cloudpc.machines.libvirt.pools import folder_of
from cloudpc.machines.libvirt.storage import GIB, Pool
from cloudpc.machines.libvirt.templates import Templates
from cloudpc.model import patience
from cloudpc.model.check import Check
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.machines import Host

_SLOW_CAPABILITIES = 1.0
_DEFAULT_NETWORK = "default"


def checks(
    host: Host, connection: Connection, pool: Pool, acceleration: Acceleration, templates: Templates
) -> list[Check]:
    """All checks of one host; if it can't be reached, only that."""
    reached = _guarded("libvirt", lambda: _libvirt(connection))
    if reached.status == "failed":
        return [reached]
    return [
        reached,
        _guarded("QEMU", lambda: _qemu(connection)),
        _guarded("acceleration", lambda: _accelerator(acceleration)),
        _guarded("storage pool", lambda: _pool(pool)),
        _guarded("a guest", lambda: _guest(acceleration)),
        _guarded("capacity", lambda: _capacity(host)),
        _guarded(f"network {_DEFAULT_NETWORK}", lambda: _network(connection)),
        *_of_templates(templates),
    ]


def _guarded(what: str, look: Callable[[], Check]) -> Check:
    began = time.monotonic()
    try:
        with classified(f"check {what}"):
            check = look()
    except ProvisioningError as error:
        check = Check(what, "failed", error.message, error.hint)
    took = time.monotonic() - began
    if took < patience.USUAL:
        return check
    slow = f"{check.detail}; this took {took:.0f} s, which is over its usual time"
    return replace(check, status="warning" if check.status == "passed" else check.status, detail=slow)


def _libvirt(connection: Connection) -> Check:
    libvirtd, address = connection.get(), connection.address
    detail = f"{_version(libvirtd.getLibVersion())} at {address.uri}"
    if lacks := address.unprotected:
        hint = "Write qemu+ssh://USER@HOST/system, and let ssh know the host's key."
        return Check("libvirt", "warning", f"{detail}; {lacks}", hint)
    return Check("libvirt", "passed", detail)


def _qemu(connection: Connection) -> Check:
    libvirtd = connection.get()
    detail = _version(libvirtd.getVersion())
    for _again in range(2):  # the first look after an update of QEMU may well take long
        began = time.monotonic()
        libvirtd.getDomainCapabilities(None, "x86_64", "q35", "qemu", 0)
        took = time.monotonic() - began
    if took < _SLOW_CAPABILITIES:
        return Check("QEMU", "passed", detail)
    return Check(
        "QEMU",
        "warning",
        f"{detail}; libvirt examines it again at every call, which takes {took:.1f} seconds each "
        f"time{_kvm(connection)}",
        "Known cause: /dev/kvm that QEMU's user may not open, or may open though it does not work. As udev does it: "
        "`chgrp kvm /dev/kvm; chmod 0660 /dev/kvm` on the host.",
    )


def _kvm(connection: Connection, device: Path = Path("/dev/kvm")) -> str:
    """Who may use /dev/kvm, where that can be seen from here."""
    if not connection.address.is_local:
        return ""
    try:
        is_now = device.stat()
        return f"; {device} is of group {device.group()}, mode {stat.S_IMODE(is_now.st_mode):04o}"
    except (OSError, KeyError):
        return f"; {device} is not there, or of no known group"


def _accelerator(acceleration: Acceleration) -> Check:
    verdict = acceleration.verdict()
    if verdict.accelerator is Accelerator.KVM:
        return Check("acceleration", "passed", f"KVM: {verdict.reason}")
    return Check(
        "acceleration",
        "warning",
        f"TCG, which is slow: {verdict.reason}",
        "Enable virtualisation in the firmware, or nested virtualisation on the outer host. It is tried again after "
        "the host's next boot.",
    )


def _pool(pool: Pool) -> Check:
    storage = pool.open()  # made if it is missing, so that what prevents that is reported here
    _state, capacity, _allocation, available = storage.info()
    folder, asked = folder_of(storage), pool.asked_path
    detail = f"{storage.name()} in {folder}, {available / GIB:.0f} of {capacity / GIB:.0f} GB free"
    if available < GIB:
        return Check("storage pool", "failed", detail, "Free space in that file system.")
    if asked and normpath(asked) != normpath(folder):
        detail = f"{detail}; poolPath says {asked}, which counts only for a pool that has to be made"
        hint = f"Set poolPath to {folder}, or pool to a name that is not taken."
        return Check("storage pool", "warning", detail, hint)
    return Check("storage pool", "passed", detail)


def _guest(acceleration: Acceleration) -> Check:
    """Whether QEMU starts, reads what lies in the pool and runs it: permissions and confinement included."""
    if acceleration.run_probe("qemu") == probe.PROGRESS.decode():
        return Check("a guest", "passed", "a probe guest ran from the storage pool")
    return Check("a guest", "failed", "a probe guest started, but did not run to its end", "See its log on the host.")


def _of_templates(templates: Templates) -> list[Check]:
    found = _guarded("templates", lambda: _templates(templates))
    return [found] if found.detail else []


def _templates(templates: Templates) -> Check:
    """What Cloud PCs are cloned from is nobody's machine and no leftover: it goes when a newer one has its place."""
    there, former, taken = templates.there()
    told = [f"{there} to clone Cloud PCs from"] if there else []
    if former:
        told.append(f"disks of former ones ({former}) stay while Cloud PCs lie on them")
    if told:
        told.append(f"{taken / GIB:.1f} GB of disk, no memory")
    if problems := templates.problems():
        hint = "Those Cloud PCs boot. It is tried again after a day, with another build of the image or another QEMU."
        return Check("templates", "warning", "; ".join([*told, *problems]), hint)
    return Check("templates", "passed", "; ".join(told))


def _capacity(host: Host) -> Check:
    found = host.capacity()
    total, committed = found.total, found.committed
    detail = (
        f"{committed.vcpus} of {total.vcpus} vCPUs, {committed.memory_mib} of {total.memory_mib} MiB memory and "
        f"{committed.disk_gib} of {total.disk_gib} GB disk committed"
    )
    full = min(found.free) <= 0
    return Check("capacity", "warning" if full else "passed", detail, "No further Cloud PC fits." if full else "")


def _network(connection: Connection) -> Check:
    what = f"network {_DEFAULT_NETWORK}"
    try:
        network = connection.get().networkLookupByName(_DEFAULT_NETWORK)
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_SUPPORT):
            return Check(
                what, "passed", "not there; hosted machines use user-mode networking unless hostedNetwork says so"
            )
        raise
    if network.isActive():
        return Check(what, "passed", "active")
    return Check(
        what,
        "passed",
        "not active; only needed where hostedNetwork or a connection names it",
        f"If it is, run `virsh net-start {_DEFAULT_NETWORK}`.",
    )


def _version(number: int) -> str:
    """Libvirt's way to number versions: major * 1,000,000 + minor * 1,000 + release."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
