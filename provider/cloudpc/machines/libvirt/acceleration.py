"""Whether guests run under KVM on a host: only if a probe guest really did, whatever the capabilities claim."""

from __future__ import annotations

import json
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import libvirt

from cloudpc.machines.libvirt import probe
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.console import Console
from cloudpc.machines.libvirt.domain_xml import probe_xml
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import Pool, raw_volume_xml
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.digest import digest
from cloudpc.model.errors import ErrorCode, ProvisioningError

_RUNS_WITHIN = 3.0
"""Seconds the probe may take; under a working KVM it takes milliseconds."""

_PAUSE = 0.02
_LOCK_TIMEOUT = 60.0
_DAY = 24 * 3600.0
_A_WHILE = 600.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Verdict:
    """The accelerator to use, and why it is this one."""

    accelerator: Accelerator
    reason: str


class Acceleration:
    """Chooses the accelerator of one host; remembers the choice for one boot of it and one version of QEMU."""

    def __init__(self, connection: Connection, pool: Pool, locks: HostLocks, cache: Path) -> None:
        self._connection = connection
        self._pool = pool
        self._locks = locks
        self._cache = cache
        self._lock = threading.Lock()
        self._verdict: Verdict | None = None
        self._ahead: threading.Thread | None = None

    def look_ahead(self) -> None:
        """Begin to decide, beside what comes before the first start: a KVM that is broken costs two probes' time."""
        if self._verdict is None and self._ahead is None:
            self._ahead = threading.Thread(target=self._decide_ahead, daemon=True, name="acceleration")
            self._ahead.start()

    def _decide_ahead(self) -> None:
        with suppress(ProvisioningError, OSError):  # whoever needs the verdict asks again, and gets it
            self.verdict()

    def close(self) -> None:
        """Wait for a probe that runs, so that nothing of it stays."""
        if self._ahead is not None:
            self._ahead.join(2 * _RUNS_WITHIN)

    def verdict(self) -> Verdict:
        """The choice; the first one after the host's boot takes up to seven seconds.

        Raises:
            ProvisioningError: HOST_UNREACHABLE, DISK_FAILED (no pool to put the probe guest in).
        """
        with self._lock:
            if self._verdict is None:
                with self._locks.hold("accelerator", timeout=_LOCK_TIMEOUT):
                    self._verdict = self._recall_or_decide()
            return self._verdict

    def _recall_or_decide(self) -> Verdict:
        connection = self._connection.get()
        with classified("read the host's capabilities"):
            capabilities = parsed(connection.getCapabilities())
            version = str(connection.getVersion())
        if capabilities.find("./guest/arch[@name='x86_64']/domain[@type='kvm']") is None:
            return Verdict(Accelerator.TCG, "the host offers no KVM")
        file = self._cache / f"{self._key(capabilities, version)}.json"
        if (known := self._recall(file)) is not None:
            return known
        verdict, lasts = self._decide()
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        # What kept QEMU from starting may be corrected without a reboot; a run or two need not ask again.
        until = None if lasts else time.time() + _A_WHILE
        told = {"accelerator": verdict.accelerator, "reason": verdict.reason, "until": until}
        new.write_text(json.dumps(told))
        new.replace(file)
        return verdict

    def _key(self, capabilities: ElementTree.Element, version: str) -> str:
        host = capabilities.findtext("./host/uuid", "")
        address = self._connection.address
        if not address.is_local:
            return digest(address.uri, host, version).hex()[:32]
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        return digest(address.uri, host, version, boot, _build(capabilities)).hex()[:32]

    def _recall(self, file: Path) -> Verdict | None:
        try:
            # The boot of another host can't be told apart from here, so its verdict is good for a day.
            if not self._connection.address.is_local and time.time() - file.stat().st_mtime > _DAY:
                return None
            known = json.loads(file.read_text())
            if known["until"] is not None and time.time() > known["until"]:
                return None
            return Verdict(Accelerator(known["accelerator"]), str(known["reason"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _decide(self) -> tuple[Verdict, bool]:
        """The verdict, and whether it holds until the host's next boot."""
        try:
            seen = self.run_probe("kvm")
            if seen != probe.PROGRESS.decode():
                seen = self.run_probe("kvm")  # once more: a host under load may have been too slow
        except ProvisioningError as error:
            # A folder that it may not read, for example, says nothing about KVM, and is corrected without a reboot.
            if error.code is not ErrorCode.START_FAILED or not error.retriable:
                raise
            why = f"the host claims to have KVM, but no guest runs under it: {error.message}"
            return Verdict(Accelerator.TCG, why), False
        if seen == probe.PROGRESS.decode():
            return Verdict(Accelerator.KVM, "a probe guest ran under KVM"), True
        why = (
            f"the host claims to have KVM, but a probe guest got stuck under it (it wrote {seen or 'nothing'} of "
            f"{probe.PROGRESS.decode()})"
        )
        return Verdict(Accelerator.TCG, why), True

    def run_probe(self, kind: Literal["kvm", "qemu"]) -> str:
        """Run the probe guest as a domain of this type; returns what it wrote. Nothing of it stays.

        Raises:
            ProvisioningError: START_FAILED, QEMU could not run it; DISK_FAILED, there is no pool to put it in;
                HOST_UNREACHABLE.
        """
        connection, pool = self._connection.get(), self._pool.open()
        prefix = f"cloudpc-probe-{self._locks.scope}"
        name = f"{prefix}{secrets.token_hex(3)}"
        with classified("upload the probe guest", ErrorCode.DISK_FAILED), self._locks.hold("probe", timeout=60):
            # What a run that was killed left here: under this lock, nobody else's can be in use.
            self._pool.delete(pool, [name for name in self._pool.names(pool) if name.startswith(prefix)])
            volume = self._pool.create(pool, raw_volume_xml(f"{name}.rom", probe.SIZE, "0644"), f"{name}.rom")
            try:
                self._pool.upload(volume, probe.SIZE, iter([probe.rom()]))
                with classified("run the probe guest", ErrorCode.START_FAILED):
                    return _run(connection, probe_xml(name, volume.path(), kind))
            finally:
                self._pool.delete(pool, [f"{name}.rom"])


def _build(capabilities: ElementTree.Element) -> str:
    """What tells this build of QEMU from another of the same version, as an update of its package brings."""
    try:
        found = Path(capabilities.findtext("./guest/arch[@name='x86_64']/emulator", "")).stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _run(connection: Any, xml: str) -> str:
    # It goes with this connection, however that ends.
    domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY)
    try:
        return _progress(connection, domain)
    finally:
        with suppress(libvirt.libvirtError):  # it may have ended by itself
            domain.destroy()


def _progress(connection: Any, domain: Any) -> str:
    console = Console(connection, domain)
    try:
        domain.resume()
        deadline = time.monotonic() + _RUNS_WITHIN
        while probe.PROGRESS not in console.content and not console.ended and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return console.tail(1)
    finally:
        console.close()
