"""Templates of one host: which one an order can be cloned from, and that it gets made.

The first machine of a new kind boots; its template is made beside it, in a boot slot of its own. Machines that come
meanwhile wait for that: it takes as long as a boot, and all but one of them would have to wait for a slot anyway.
Nothing of this may fail a machine: where there is no template, it boots.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4
from xml.etree import ElementTree

from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.domain_xml import DomainSpec, domain_xml
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.template_store import Template, TemplateKey, TemplateStore, short
from cloudpc.model.digest import digest
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.image import DiskImage
from cloudpc.model.machines import Order
from cloudpc.model.watch import Watch

log = logging.getLogger(__name__)

_VERSION = "2"
"""Of what a template is; goes up with each change here that makes older ones unfit."""
_PASSES = {ErrorCode.NO_CAPACITY, ErrorCode.STORAGE_FULL, ErrorCode.HOST_UNREACHABLE}
"""Failures that don't depend on what a template is made from: the next run tries again."""
_NOBODY = UUID(int=0)
_LOOK_EVERY = 0.1
_FAILED_FOR = 24 * 3600.0
"""Seconds for which a template that could not be made or used is not made again."""


@dataclass
class _Making:
    """One that is being made by this process."""

    over: threading.Event = field(default_factory=threading.Event)


class Templates:
    """Those of one host.

    Args:
        host: its name.
        connection: to it.
        store: in its pool.
        like: what a template for machines of this order is, under this identity.
        make: makes the one of this key, as machines of this order and image need it.
        failures: folder that remembers what did not work.
    """

    def __init__(
        self,
        host: str,
        connection: Connection,
        store: TemplateStore,
        like: Callable[[Order, DiskImage, UUID], DomainSpec],
        make: Callable[[TemplateKey, DomainSpec, Order, DiskImage, Watch], None],
        failures: Path,
    ) -> None:
        self._host = host
        self._connection = connection
        self._store = store
        self._like = like
        self._make = make
        self._failures = failures
        self._around = ""
        self._lock = threading.Lock()
        self._in_the_making: dict[TemplateKey, _Making] = {}
        self._begun_by: dict[UUID, _Making] = {}

    def find(self, order: Order, image: DiskImage, watch: Watch) -> Template | None:
        """The template to clone, or None: boot. One that is missing is begun, or waited for if it was begun here."""
        if not (order.may_be_cloned and image.waits_for_identity and image.kernel is not None):
            return None
        key = self.key(order, image)
        if self._has_failed(key):
            return None
        if (found := self._store.find(key)) is not None:
            return found
        with self._lock:
            making = self._in_the_making.get(key)
            if making is None:
                self._begin(key, order, image, watch)
                return None
        if not making.over.is_set():
            watch.note("waiting for the template of its kind")
        while not making.over.wait(_LOOK_EVERY):
            watch.check()
        watch.check()  # it may be over because the run is
        return self._store.find(key)

    def settle(self, machine_id: UUID) -> None:
        """Wait for the template that was begun for this machine's sake, if one was: its run may be about to end."""
        with self._lock:
            making = self._begun_by.pop(machine_id, None)
        if making is not None:
            making.over.wait()

    def failed(self, order: Order, image: DiskImage, template: Template, why: str) -> None:
        """A machine could not be cloned from it: nobody tries that again for a day, with this build."""
        key = self.key(order, image)
        if self._remember(key, f"a clone of {image.image_id} failed: {why}"):
            with unexpected_told("removing a template"):
                self._store.retire(template)

    def there(self) -> tuple[int, int, int]:
        """See `TemplateStore.there`."""
        return self._store.there()

    def problems(self) -> list[str]:
        """Why templates that are wanted are not there."""
        files = self._failures.glob("*.json") if self._failures.is_dir() else ()
        return sorted({why for file in files if (why := _recent(file))})

    def key(self, order: Order, image: DiskImage) -> TemplateKey:
        """Of the template that this order could be cloned from."""
        spec = self._like(order, image, _NOBODY)
        connection = self._connection.get()
        if not self._around:  # libvirt may take a second for it
            with classified("ask for QEMU's version"):
                versions = connection.getVersion(), connection.getLibVersion()
                self._around = f"{versions} {_processor(connection.getCapabilities())}"
        size = f"{order.size.vcpus} {order.size.memory_mib} {order.size.disk_gib}"
        whole = short(_VERSION, domain_xml(spec), image.digest, self._around, size, length=16)
        kind = short(size, str(spec.network), spec.accelerator)
        return TemplateKey(whole, short(image.image_id), short(image.digest), kind)

    def _begin(self, key: TemplateKey, order: Order, image: DiskImage, watch: Watch) -> None:
        """With the lock held."""
        making = _Making()
        spec = self._like(order, image, uuid4())

        def make() -> None:
            try:
                self._made(key, spec, order, image, Watch(watch.cancel))
            finally:
                making.over.set()

        self._in_the_making[key] = self._begun_by[order.id] = making
        threading.Thread(target=make, name="template", daemon=True).start()

    def _made(self, key: TemplateKey, spec: DomainSpec, order: Order, image: DiskImage, watch: Watch) -> None:
        try:
            with unexpected_told("making a template"):
                self._make(key, spec, order, image, watch)
        except Cancelled:
            pass
        except ProvisioningError as error:
            if error.code in _PASSES:
                log.info("no template of %s on %s: %s", image.image_id, self._host, error.message)
            else:
                self._remember(key, f"no template of {image.image_id} could be made: {error.message}")

    def _remember(self, key: TemplateKey, why: str) -> bool:
        """Report it once; returns whether this is the first time."""
        file = self._file(key)
        with self._lock:
            if _recent(file):
                return False
            self._failures.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = file.with_suffix(".new")
            new.write_text(json.dumps({"why": why}))
            new.replace(file)
        log.warning("%s: Cloud PCs boot instead of being cloned: %s", self._host, why)
        return True

    def _has_failed(self, key: TemplateKey) -> bool:
        return bool(_recent(self._file(key)))

    def _file(self, key: TemplateKey) -> Path:
        return self._failures / f"{digest(key.name).hex()[:32]}.json"


def _recent(file: Path) -> str:
    """What has failed recently."""
    try:
        if time.time() - file.stat().st_mtime > _FAILED_FOR:
            return ""
        return str(json.loads(file.read_text())["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _processor(capabilities: str) -> str:
    """What the host's is, for guests that see it as it is."""
    cpu = ElementTree.fromstring(capabilities).find("host/cpu")  # noqa: S314 - from the hypervisor
    return "" if cpu is None else ElementTree.tostring(cpu, encoding="unicode")
