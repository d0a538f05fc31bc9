"""Makes a claimed machine ready: image, disk, boot slot, start, first boot and network, one stage after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from cloudpc.machines.libvirt import power, removal
from cloudpc.machines.libvirt.acceleration import Acceleration
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.cloning import Clone, NotClonedError, SilentCloneError
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.consoles import Consoles
from cloudpc.machines.libvirt.domains import Domains
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.first_boot_wait import FirstBoot
from cloudpc.machines.libvirt.images import ImageStore
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.starting import Restore, Starter
from cloudpc.machines.libvirt.template_store import Template
from cloudpc.machines.libvirt.templates import Templates
from cloudpc.machines.libvirt.volumes import MachineVolumes
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage, disk_image
from cloudpc.model.machines import Order, PowerState
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch

_AT_LEAST = 20.0
"""Seconds for the network of a guest that was ready at the last moment."""
_OF_CLONING = {
    ErrorCode.START_FAILED,
    ErrorCode.GUEST_DIED,
    ErrorCode.GUEST_AGENT_LOST,
    ErrorCode.FIRST_BOOT_FAILED,
    ErrorCode.BOOT_TIMEOUT,
}
"""With these errors a machine may have failed because it is a clone, and would each time."""


@dataclass(frozen=True)
class Making:
    """The stages of one host, which `Host.make` and `Host.power_on` are made of.

    Args:
        host: its name.
        connection: to it.
        domains: on it.
        consoles: that are read.
        images: in its pool.
        volumes: in its pool.
        starter: of its domains.
        locks: of this user's processes.
        acceleration: how guests run there.
        templates: that machines may be cloned from.
        has_network: waits until a guest has an address, within the time of the watch.
    """

    host: str
    connection: Connection
    domains: Domains
    consoles: Consoles
    images: ImageStore
    volumes: MachineVolumes
    starter: Starter
    locks: HostLocks
    acceleration: Acceleration
    templates: Templates
    has_network: Callable[[UUID, Watch], object]

    def make(self, order: Order, watch: Watch) -> None:
        """See `Host.make`."""
        watch.stage(Stage.IMAGE)
        self.acceleration.look_ahead()
        image = disk_image(order.image(watch))
        self.bring_image(image, watch)
        watch.stage(Stage.DISK)
        template = self.templates.find(order, image, watch)
        seed = order.seed(image)
        booting = template and self._clone(image, self._clone_of(order, template, seed), watch)
        booting = booting or self._boot(order, image, seed, watch)
        watch.stage(Stage.FIRST_BOOT, "waiting for its network")  # what follows may need it
        self.has_network(order.id, watch.within(max(_AT_LEAST, booting.remaining)))

    def _boot(self, order: Order, image: DiskImage, seed: Seed, watch: Watch) -> Watch:
        """Boot it until it is ready; returns the watch over what its first boot may take."""
        watch.stage(Stage.DISK)
        self.create_disk(order, image, seed)
        watch.stage(Stage.STARTING, "waiting for a free boot slot")
        with self.boot_slot(watch):
            watch.stage(Stage.STARTING, f"on {self.host}")
            self.start(order, image)
            watch.stage(Stage.FIRST_BOOT, f"on {self.host}")
            booting = watch.within(order.first_boot_in_seconds)
            self.wait_ready(order.id, booting)
            return booting

    def _clone_of(self, order: Order, template: Template, seed: Seed) -> Clone:
        return Clone(order, template, seed, self.volumes, self.connection.address.is_local)

    def _clone(self, image: DiskImage, clone: Clone, watch: Watch) -> Watch | None:
        """The same as the clone of a template; None: it did not become one, nothing of it runs, and it has to boot."""
        order = clone.order
        try:
            self.volumes.create_clone(order, clone.template.disk)
            watch.stage(Stage.STARTING, "waiting for a free boot slot")
            with self.boot_slot(watch):
                watch.stage(Stage.STARTING, f"on {self.host}, from a template")
                self.start(order, image, clone.restore)
                watch.stage(Stage.FIRST_BOOT, f"on {self.host}")
                booting = watch.within(order.first_boot_in_seconds)
                domain, _definition = self.domains.need(order.id)
                with classified(f"identify {order.name}", ErrorCode.GUEST_AGENT_LOST, takes_its_time=True):
                    clone.identify(domain, booting)
                self.wait_ready(order.id, booting)
                return booting
        except NotClonedError as failed:
            why, is_busy = str(failed), isinstance(failed, SilentCloneError) and not self._has_panicked(order.id)
        except ProvisioningError as failed:
            if failed.code not in _OF_CLONING:
                raise
            why, is_busy = failed.message, False
        if is_busy:
            watch.say(f"booting instead: {why}")
        else:
            self.templates.failed(order, image, clone.template, why)
        self.consoles.keep(order.id, None)
        removal.stop(self.domains.need(order.id)[0])
        return None

    def _has_panicked(self, machine_id: UUID) -> bool:
        console = self.consoles.of(machine_id)
        return console is not None and console.panicked

    def power_on(self, machine_id: UUID, watch: Watch, *, until_ready: bool) -> None:
        """See `Host.power_on`."""
        domain, definition = self.domains.need(machine_id)
        self.domains.label(definition)
        with classified(f"start {definition.name}", ErrorCode.START_FAILED):
            was = power.turn_on(domain)
        if until_ready and was is PowerState.STOPPED:
            watch.note(f"starting it on {self.host}")
            self.wait_ready(machine_id, watch)

    def bring_image(self, image: DiskImage, watch: Watch) -> None:
        """Bring the image to the host unless it is there; safe to call for many machines at once."""
        self.images.ensure(image, watch)

    def create_disk(self, order: Order, image: DiskImage, seed: Seed) -> None:
        """Make the overlay, as large as the service plan says, and the seed."""
        self.volumes.create(order, image, seed)

    def boot_slot(self, watch: Watch) -> AbstractContextManager[None]:
        """Waits until this host may boot one more (under TCG as many at once as cores), over all processes."""
        with classified("read the host's cores"):
            cores = int(self.connection.get().getInfo()[2])
        kvm = self.acceleration.verdict().accelerator is Accelerator.KVM
        return self.locks.slot("boot", max(4, 2 * cores) if kvm else cores, watch.cancel)

    def start(self, order: Order, image: DiskImage, restore: Restore | None = None) -> None:
        """Start the machine, by default by booting it; returns when its processors run."""
        connection = self.connection.get()
        _domain, definition = self.domains.need(order.id)
        label, accelerator = self.domains.label(definition), self.acceleration.verdict().accelerator
        self.consoles.keep(order.id, self.starter.start(connection, order, label, image, accelerator, restore))

    def wait_ready(self, machine_id: UUID, watch: Watch) -> None:
        """Wait until the guest agent answers *and* first-boot set-up is done, within the time of the watch.

        Raises:
            ProvisioningError: GUEST_DIED at once, BOOT_TIMEOUT, FIRST_BOOT_FAILED; with the console's tail.
        """
        FirstBoot(self.connection, machine_id, self.consoles.opened(machine_id)).wait(watch)
