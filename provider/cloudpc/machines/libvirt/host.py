"""A host of Cloud PCs: libvirt and QEMU, local or remote."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

import socket
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt import disks, doctor, identity, kernels, networks, power, removal, screen, shutdown
from cloudpc.machines.libvirt.acceleration import Acceleration
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.capacity import capacity, committed, overcommitted, shortage
from cloudpc.machines.libvirt.cards import CARDS, Found
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.consoles import Consoles
from cloudpc.machines.libvirt.definitions import (
    Definition,
    all_definitions,
    definition_of,
    find_domain,
    has_seed,
    is_running,
)
from cloudpc.machines.libvirt.domain_xml import SEED_ALIAS, claim_xml
from cloudpc.machines.libvirt.domains import Domains
from cloudpc.machines.libvirt.errors import classified, has_code
from cloudpc.machines.libvirt.guest import LibvirtGuest
from cloudpc.machines.libvirt.images import ImageStore
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.making import Making
from cloudpc.machines.libvirt.metadata import NAMESPACE, PREFIX, Label, to_xml
from cloudpc.machines.libvirt.room import Room
from cloudpc.machines.libvirt.starting import Starter
from cloudpc.machines.libvirt.storage import Pool
from cloudpc.machines.libvirt.template_making import TemplateMaker
from cloudpc.machines.libvirt.template_store import TemplateStore
from cloudpc.machines.libvirt.templates import Templates
from cloudpc.machines.libvirt.volumes import MachineVolumes
from cloudpc.model import patience
from cloudpc.model.abilities import (
    ForgetsImages,
    HasConsole,
    KeepsForDiagnosis,
    LeavesOnlyData,
    MovesKernels,
    ShutsDown,
)
from cloudpc.model.access import Access
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.check import Check
from cloudpc.model.digest import digest
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.guests import Guest
from cloudpc.model.image import Image, disk_image
from cloudpc.model.machine_names import named_after
from cloudpc.model.machines import Capacity, Claimed, Host, Hypervisor, Machine, Network, Order, PowerState, Removed
from cloudpc.model.remnants import Remnant, without_machine
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch

_LOOKS_AT_ONCE = 4  # libvirtd works on five calls of a client at once
_LOCK_TIMEOUT = 900.0  # who holds it works; a dead holder's is freed by the kernel


@patience.of_its_host
class LibvirtHost(Host, ForgetsImages, HasConsole, KeepsForDiagnosis, LeavesOnlyData, MovesKernels, ShutsDown):
    """Implements `cloudpc.model.machines.Host`; says there what each call means."""

    def __init__(self, config: LibvirtHostConfig, cache: Path) -> None:
        self._config = config
        self._connection = Connection(config.address)
        # libvirtd works on five calls of a client at once: guests that are slow to answer must not hold up the others.
        self._agents = Connection(config.address)
        self._locks = HostLocks(cache / "locks", config.uri)
        self._pool = Pool(config, self._connection, self._locks)
        self._images = ImageStore(self._pool, self._locks)
        self._volumes = MachineVolumes(self._pool, self._images)
        self.acceleration = Acceleration(self._connection, self._pool, self._locks, cache / "accelerator")
        self._domains = Domains(self._connection, config.name)
        self._consoles = Consoles(self._connection, self._domains)
        starter = Starter(config, self._images, self._volumes, self._locks)
        self._templates = TemplateStore(self._connection, self._pool, self._locks)
        maker = TemplateMaker(
            self._connection, self._templates, self._images, self._locks, self._slot,
            lambda size: shortage(self.capacity(), size),
        )  # fmt: skip
        self.templates = Templates(
            config.name, self._connection, self._templates,
            lambda order, image, id_: starter.template(order, image, self.acceleration.verdict().accelerator, id_),
            maker.make, cache / "templates" / digest(config.uri).hex()[:16],
        )  # fmt: skip
        self.making = Making(
            config.name,
            self._connection,
            self._domains,
            self._consoles,
            self._images,
            self._volumes,
            starter,
            self._locks,
            self.acceleration,
            self.templates,
            self.access,
        )
        CARDS.reach(config.uri, self._cards)

    @property
    def name(self) -> str:
        return self._config.name

    def hypervisor(self) -> Hypervisor:
        return identity.hypervisor(self._connection.get())

    def capacity(self) -> Capacity:
        return self._capacity()[0]

    def _capacity(self) -> tuple[Capacity, Room]:
        connection = self._connection.get()
        with classified("read what is defined on the host"):
            definitions = all_definitions(connection)
            CARDS.saw(self._config.uri, definitions)
            cores = int(connection.getInfo()[2])
            # getInfo leaves out memory that was plugged in later; this is what the host's kernel has.
            memory_kib = int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)["total"])
        room = self._volumes.room(definitions)
        found = capacity(self._config, cores=cores, memory_mib=memory_kib // 1024, room=room, definitions=definitions)
        return found, room

    def _cards(self, known: Container[UUID]) -> Found:
        connection = self._connection.get()
        with classified("look for network cards"):
            domains = {UUID(bytes=domain.UUID()): domain for domain in connection.listAllDomains(0)}
            running = {UUID(bytes=d.UUID()) for d in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)}
            # one that does not run may be given another address by whoever makes it
            read = (definition_of(domain) for id_, domain in domains.items() if id_ not in running or id_ not in known)
            return Found(frozenset(domains), [definition for definition in read if definition is not None])

    def claim(self, order: Order, watch: Watch) -> None:
        watch.check()
        connection = self._connection.get()
        networks.check(connection, self._config, networks.attachment(self._config, order.network))
        with self._locks.hold("host", timeout=_LOCK_TIMEOUT, cancel=watch.cancel):
            self._refuse_existing(connection, order)
            found, room = self._capacity()
            self._refuse_to_overwrite(order)  # the pool has been looked at afresh
            self._refuse(shortage(found, order.size))
            label = Label(order.tag, order.size.disk_gib, room.pool)
            xml = claim_xml(order.id, order.name, order.title, label, order.size.vcpus, order.size.memory_mib)
            with classified(f"define {order.name}"):
                domain = connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            # The lock holds between this user's processes; others on other machines may have claimed meanwhile.
            with classified("read what is defined on the host"):
                now = Capacity(found.total, committed(all_definitions(connection), room))
            if overcommitted(now):
                removal.undefine(domain)
                self._refuse("another client claimed the last place at the same moment")

    def make(self, order: Order, watch: Watch) -> None:
        self.making.make(order, watch)

    def power_on(self, machine_id: UUID, watch: Watch, *, until_ready: bool = True) -> None:
        self.making.power_on(machine_id, watch, until_ready=until_ready)

    def shut_down(self, machine_id: UUID, watch: Watch, *, stays_off: bool) -> str:  # noqa: ARG002 - it costs nothing
        domain, definition = self._domains.need(machine_id)
        self._domains.label(definition)
        self._consoles.keep(machine_id, None)
        with classified(f"turn off {definition.name}", takes_its_time=True):
            return shutdown.shut_down(domain, self._connection.watchers, watch)

    def open_console(self, machine_id: UUID) -> socket.socket:
        domain, definition = self._domains.need(machine_id)
        return screen.opened(domain, definition.name, self._config.address)

    def bring_image(self, image: Image, watch: Watch) -> None:
        self.acceleration.look_ahead()
        self.making.bring_image(disk_image(image), watch)

    def old_images(self) -> list[str]:
        return self._images.old()

    def discard_images(self, names: Collection[str]) -> list[str]:
        return self._images.discard_old(names)

    def update_kernel(self, machine_id: UUID, image: Image, watch: Watch) -> str:
        disk = disk_image(image)
        base = self._images.locate(disk)
        connection = self._connection.get()
        with self._agent(machine_id, "change the kernel", cancel=watch.cancel) as (agent, _definition):
            domain, _ = self._domains.need(machine_id)
            return kernels.update(connection, domain, agent, disk, base)

    def guest(self, machine_id: UUID) -> Guest:
        return LibvirtGuest(self.name, partial(self._asking, machine_id))

    def access(self, machine_id: UUID, watch: Watch) -> Access:
        with self._agent(machine_id, "find the address", cancel=watch.cancel) as (agent, definition):
            if definition.forwarded_port is not None:
                return networks.forwarded(self._config, definition.forwarded_port)
            address = networks.wait_for_address(definition, agent, watch)
            return networks.attached(self._config, self._connection.get(), definition, address)

    @contextmanager
    def _asking(self, machine_id: UUID, doing: str, refused: ErrorCode, cancel: Cancellation) -> Iterator[Agent]:
        with self._agent(machine_id, doing, refused, cancel) as (agent, _definition):
            yield agent

    def _slot(self, watch: Watch) -> AbstractContextManager[None]:
        return self.making.boot_slot(watch)

    def finish(self, machine_id: UUID, phase: Phase) -> None:
        self.templates.settle(machine_id)
        domain, definition = self._domains.need(machine_id)
        label = self._domains.label(definition)
        self._consoles.keep(machine_id, None)
        with classified(f"finish {definition.name}"):
            _detach_seed(domain)
        self._volumes.delete_seed(definition.name)
        with classified(f"write the phase of {definition.name}"):
            _write_label(domain, label.with_phase(phase))

    def retag(self, machine_id: UUID, tag: Tag, disk_gib: int) -> None:
        domain, definition = self._domains.need(machine_id)
        if definition.label is None:
            with classified(f"write the tag of {definition.name}"):
                _write_label(domain, Label(tag, disk_gib))

    def describe(self, machine_id: UUID) -> Machine | None:
        with classified("look for the machine"):
            domain = find_domain(self._connection.get(), machine_id)
            seen = None if domain is None else _look(domain)
        if seen is None:
            return None
        definition, now = seen
        return self._with_disk(definition, definition.machine(self._domains.label(definition), *now))

    def overview(self, machine_ids: Collection[UUID]) -> Mapping[UUID, Machine | TagUnreadable]:
        with classified("look at the machines"):
            all_ = self._connection.get().getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            wanted = [(domain, stats) for domain, stats in all_ if UUID(bytes=domain.UUID()) in machine_ids]
            with ThreadPoolExecutor(_LOOKS_AT_ONCE) as looks:  # each takes a far host its time
                seen = list(looks.map(_now, wanted))
        return {d.id: self._seen(d, now) for d, now in seen if d is not None}

    def _seen(self, definition: Definition, now: tuple[PowerState, str]) -> Machine | TagUnreadable:
        try:
            machine = definition.machine(self._domains.label(definition), *now)
        except TagUnreadable as error:
            return error
        return self._with_disk(definition, machine)

    def _with_disk(self, definition: Definition, machine: Machine) -> Machine:
        if machine.power is not PowerState.STOPPED:
            return machine
        return replace(machine, has_disk=self._has_disk(definition))

    def _has_disk(self, definition: Definition) -> bool:
        with classified(f"look for the disk of {definition.name}", ErrorCode.DISK_FAILED):
            if definition.names_disks:
                return disks.has_one(self._connection.get(), definition)
        return self._volumes.disk(definition.name) is not None  # claimed, and not completely defined yet

    def owned(self, installation: str, besides: Container[UUID] = ()) -> list[Machine]:
        with classified("list the machines"):
            domains = self._connection.get().listAllDomains(0)
            seen = filter(None, (_look(domain) for domain in domains if UUID(bytes=domain.UUID()) not in besides))
            machines = [d.machine(d.label, *now) for d, now in seen if d.label is not None]
        return [machine for machine in machines if machine.tag.installation == installation]

    def unreadable(self, installation: str, known: Collection[UUID] = ()) -> dict[UUID, str]:
        with classified("list the machines"):
            domains = self._connection.get().listAllDomains(0)
            ours = [d for d in domains if _may_be_of(d, installation) or UUID(bytes=d.UUID()) in known]
            seen = filter(None, map(_look, ours))
            return {definition.id: definition.name for definition, _ in seen if definition.label is None}

    def remnants(self, installation: str) -> list[Remnant]:
        # Volumes first: a machine is defined before it has any, so one that is being made is not taken for gone.
        volumes = self._volumes.of_installation(installation)
        return self._without_machine(volumes) if volumes else []

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        if not remnants:
            return []  # as in nearly every run: they need not wait for each other
        with self._locks.hold("host", timeout=_LOCK_TIMEOUT):  # nobody claims its machine again meanwhile
            with classified("list the machines"):
                used = disks.used_by(self._connection.get().listAllDomains(0))
            looked = {each.name: self._volumes.path(each.name) for each in self._without_machine(remnants)}
            paths = {name: path for name, path in looked.items() if path is not None}
            needed = disks.needed(self._volumes.backing(), paths.values(), used)
            gone = sorted(name for name, path in looked.items() if path not in needed)
            self._volumes.delete(name for name in gone if name in paths)
        return gone

    def leaves_only_data(self) -> bool:
        return True  # volumes

    def _without_machine(self, remnants: Iterable[Remnant]) -> list[Remnant]:
        """Those whose machine is not there, under whatever name and with whatever tag."""
        with classified("list the machines"):
            there = {UUID(bytes=domain.UUID()) for domain in self._connection.get().listAllDomains(0)}
        return without_machine(remnants, there)

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:  # noqa: ARG002 - what a domain is goes at once
        self._consoles.keep(machine_id, None)
        with classified("look for the machine"):
            domain = find_domain(self._connection.get(), machine_id)
            machine = None if domain is None else self._machine(domain)
        if machine is not None:
            try:
                changed = disks.changed_by_hand(domain, self._volumes.disk(machine.name))
            finally:
                removal.stop(domain)  # it has ended, whatever can't be removed yet
            disks.remove(self._connection.get(), changed)
        self._volumes.delete_all(machine_id)
        # Last, because it carries the tag: whatever is interrupted before is still known to be ours.
        if domain is not None:
            removal.undefine(domain)
        return Removed.GONE

    def keep_for_diagnosis(self, machine_id: UUID, until: datetime) -> str:
        with classified("look for the machine"):
            domain = find_domain(self._connection.get(), machine_id)
            machine = None if domain is None else self._machine(domain)
            if machine is None:
                return ""
        console = self._consoles.of(machine_id)
        self._consoles.keep(machine_id, None)
        removal.stop(domain)
        kept = self._volumes.keep(machine.name, until, b"" if console is None else console.content)
        removal.undefine(domain)  # last, as in `delete`
        return kept

    def check(self) -> list[Check]:
        return doctor.checks(self, self._connection, self._pool, self.acceleration, self.templates)

    def check_network(self, network: Network) -> list[Check]:
        return networks.health(self._connection.get(), self._config, networks.attachment(self._config, network))

    def close(self) -> None:
        CARDS.leave(self._config.uri)
        self._consoles.close()
        self.acceleration.close()
        self._agents.close()
        self._connection.close()

    def _refuse_existing(self, connection: Any, order: Order) -> None:
        with classified("look for the machine"):
            domain = find_domain(connection, order.id)
            definition = None if domain is None else definition_of(domain)
            if definition is None:
                return
            now = power.power(domain)
        raise Claimed(definition.machine(self._domains.label(definition), *now))

    def _refuse_to_overwrite(self, order: Order) -> None:
        """A disk goes before its domain, so one without was undefined by hand, or the host has lost its definitions."""
        if disk := self._volumes.left_of(order.name):
            raise ProvisioningError(
                ErrorCode.MACHINE_NOT_IN_STATE,
                f"{self.name} has the disk {disk} of this user's machine, which is no longer defined; "
                "it is left untouched",
                retriable=False,
                hint="Define the machine again, and `cloudpc adopt` takes it back; if nobody needs the disk, `cloudpc "
                "doctor --remove-leftovers` removes it. Then `cloudpc retry`.",
            )

    def _refuse(self, missing: str) -> None:
        if missing:
            raise ProvisioningError(
                ErrorCode.NO_CAPACITY,
                f"The host {self.name} has no place for it: {missing}.",
                hint="Add a host, free one, or raise the overcommit in cloudpc:hosts.",
            )

    def _machine(self, domain: Any) -> Machine | None:
        """A domain as the interface describes it; None if it went away just now. Raises TagUnreadable."""
        if (seen := _look(domain)) is None:
            return None
        definition, now = seen
        return definition.machine(self._domains.label(definition), *now)

    @contextmanager
    def _agent(
        self,
        machine_id: UUID,
        doing: str,
        refused: ErrorCode = ErrorCode.SET_UP_FAILED,
        cancel: Cancellation | None = None,
    ) -> Iterator[tuple[Agent, Definition]]:
        """The machine's agent; what it raises becomes an error of `doing`, with the code `refused` if it said no."""
        domain, definition = self._domains.need(machine_id, through=self._agents)
        doing = f"{doing} in {definition.name}"
        with classified(doing, ErrorCode.GUEST_AGENT_LOST, takes_its_time=True):
            try:
                yield Agent(domain, cancel=cancel), definition
            except AgentUnavailable as error:
                if not is_running(domain):
                    message = f"Could not {doing}: it is no longer running."
                    raise ProvisioningError(
                        ErrorCode.GUEST_DIED, message, console=self._consoles.tail(machine_id)
                    ) from error
                message = f"Could not {doing}: the guest agent does not answer ({error})."
                raise ProvisioningError(
                    ErrorCode.GUEST_AGENT_LOST, message, console=self._consoles.tail(machine_id)
                ) from error
            except AgentRefused as error:
                raise ProvisioningError(refused, f"Could not {doing}: {error}.") from error


def _now(found: tuple[Any, dict[str, Any]]) -> tuple[Definition | None, tuple[PowerState, str]]:
    domain, stats = found
    return definition_of(domain), power.of_state(domain, *_state(stats))


def _look(domain: Any) -> tuple[Definition, tuple[PowerState, str]] | None:
    """What a domain is and whether it works; None if it went away just now."""
    definition = definition_of(domain)
    return None if definition is None else (definition, power.power(domain))


def _state(stats: dict[str, Any]) -> tuple[int, int]:
    return int(stats["state.state"]), int(stats["state.reason"])


def _may_be_of(domain: Any, installation: str) -> bool:
    """By its name; names of earlier versions may be another's, and are still reported: nothing is done to them."""
    name = named_after(domain.name())
    return name is not None and name.may_be_of(installation)


def _write_label(domain: Any, label: Label) -> None:
    """Write the label into the definition, and into the running domain if it runs."""
    config, live = libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE
    element = (libvirt.VIR_DOMAIN_METADATA_ELEMENT, to_xml(label), PREFIX, NAMESPACE)
    try:
        domain.setMetadata(*element, config | live if is_running(domain) else config)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
        domain.setMetadata(*element, config)  # it has just stopped


def _detach_seed(domain: Any) -> None:
    """Take the seed out of the definition, and ask the guest to let go of it; it is not waited for.

    It is asked once: a daemon that is asked again, between the guest's letting go and its own hearing of that, crashes
    (libvirt up to 11.3: qemuDomainDetachDeviceLive tells the audit log of a disk that it has just freed).
    """
    if not has_seed(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)):
        return
    domain.detachDeviceAlias(SEED_ALIAS, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    if is_running(domain) and has_seed(domain.XMLDesc(0)):
        # A guest that knows no hot-unplug keeps it until it restarts: it is public material, and gone from the pool.
        with suppress(libvirt.libvirtError):
            domain.detachDeviceAlias(SEED_ALIAS, libvirt.VIR_DOMAIN_AFFECT_LIVE)
