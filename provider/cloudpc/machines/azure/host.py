"""A host of Cloud PCs: one region of a subscription of Azure, as far as one resource group goes."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import replace
from uuid import UUID

from cloudpc import guests
from cloudpc.machines.azure import billing, entra_join, last_operations, preflight, standing
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.claiming import Claiming, requests_of
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.description import Descriptions, Found, Statuses, card_ids, id_of, is_windows, tags_of
from cloudpc.machines.azure.guest import AzureGuest
from cloudpc.machines.azure.images import Images
from cloudpc.machines.azure.making import turn_off, turn_on
from cloudpc.machines.azure.names import Parts, machine_named_in, name_of
from cloudpc.machines.azure.networks import Networks
from cloudpc.machines.azure.order import Request
from cloudpc.machines.azure.parts import Part, PartsOfGroup
from cloudpc.machines.azure.readiness import wait_until_ready
from cloudpc.machines.azure.removal import Removal
from cloudpc.machines.azure.seeds import custom_data
from cloudpc.machines.azure.sizes import Candidate, Sizes
from cloudpc.machines.azure.tags import PHASE, from_tags, installation_of, to_tags
from cloudpc.machines.azure.virtual_machines import VirtualMachines
from cloudpc.model import patience
from cloudpc.model.abilities import JoinsEntra, OrderChecks, ShutsDown
from cloudpc.model.access import Access
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.guests import Guest
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount, Capacity, Host, Hypervisor, Machine, Network, Order, PowerState, Removed
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import REMOVED_WITHIN, Watch


@patience.of_its_host
class AzureHost(Host, JoinsEntra, ShutsDown):
    """Implements `cloudpc.model.machines.Host`; says there what each call means."""

    def __init__(self, config: AzureHostConfig) -> None:
        self._config = config
        self._arm = Arm(config)
        self._machines = VirtualMachines(self._arm)
        self._parts = PartsOfGroup(self._arm)
        self._sizes = Sizes(self._arm, config)
        self._images = Images(self._arm, config)
        self._networks = Networks(self._arm, config)
        self._descriptions = Descriptions(config.name, self._sizes.amount)
        self._removal = Removal(self._arm, self._machines, self._parts)
        self._claiming = Claiming(
            self._arm, config, self._machines, self._parts, self._removal, self._sizes, self.describe
        )

    @property
    def name(self) -> str:
        return self._config.name

    # ---- what it is

    def hypervisor(self) -> Hypervisor:
        with self._arm.asking("look at the resource group"):
            self._arm.get(self._config.group_path.replace("resourceGroups", "resourcegroups"), "resources")
        return Hypervisor(self._config.where, frozenset())

    def capacity(self) -> Capacity:
        there = [self._machine_or_error(found, Statuses(None)) for found in self._machines.list()]
        return self._sizes.capacity(machine for machine in there if isinstance(machine, Machine))

    def check(self) -> list[Check]:
        found = standing.checks(self._arm, self._config)
        if standing.is_closed(found):
            return found
        found += self._networks.hosted_checks()
        if standing.is_unregistered(found):  # all the rest would say the same
            return found
        stopped = billing.checks(self._machines, deallocates=self._config.deallocate_stopped)
        last = last_operations.checks(self._machines)
        return [*found, *self._sizes.checks(), *stopped, *last]

    def check_order(self, image: Image, plans: Mapping[str, Amount], watch: Watch) -> OrderChecks:
        return preflight.check_order(self._images, self._sizes, image, plans, watch)

    def check_network(self, network: Network) -> list[Check]:
        return self._networks.check(network)

    def close(self) -> None:
        self._arm.close()

    # ---- making

    def claim(self, order: Order, watch: Watch) -> None:
        watch.check()
        self._claiming.refuse_existing(order)
        subnet_id = self._networks.subnet_id(order.network)
        if self._config.max_cloud_pcs is not None:
            there = [machine_id for found in self._machines.list() if (machine_id := id_of(found))]
            self._sizes.refuse_beyond_maximum(order.id, there)
        try:
            self._claim(order, subnet_id, watch)
        except BaseException:
            self._sizes.let_out(order.id)
            raise

    def _claim(self, order: Order, subnet_id: str, watch: Watch) -> None:
        named = order.image(watch)
        image = self._images.find(named, order.size, watch)
        for warning in image.warnings:
            watch.note(warning)
        candidates = self._sizes.candidates(order.tag.service_plan_id, order.size, image, order.id, watch)
        first_boot = custom_data(order.seed(named), order.tag.attempt)

        def request(candidate: Candidate, parts: Parts) -> Request:
            return Request(order, image, candidate, parts, subnet_id, first_boot)

        self._claiming.claim(requests_of(order, candidates, request), watch)

    def make(self, order: Order, watch: Watch) -> None:
        watch.stage(Stage.FIRST_BOOT, f"on {self.name}")
        watch = watch.within(order.first_boot_in_seconds)
        wait_until_ready(self._arm, name_of(order.id), guests.named(order.image(watch).guest_os), watch)
        self._claiming.refuse_beyond_maximum(order)

    def power_on(self, machine_id: UUID, watch: Watch, *, until_ready: bool = True) -> None:
        machine = self._need(machine_id)
        if machine.power is PowerState.RUNNING:
            return
        turn_on(self._arm, self._machines, machine.name, watch)
        if until_ready:
            wait_until_ready(self._arm, machine.name, None, watch)

    def shut_down(self, machine_id: UUID, watch: Watch, *, stays_off: bool) -> str:
        machine = self._need(machine_id)
        if machine.power is not PowerState.RUNNING and not stays_off:
            return "off already"
        return turn_off(self._arm, machine.name, watch, deallocated=stays_off)

    def guest(self, machine_id: UUID) -> Guest:
        return AzureGuest(self._arm, name_of(machine_id))

    def access(self, machine_id: UUID, watch: Watch) -> Access:
        found = self._machines.get(name_of(machine_id), watch=watch)
        card_id = next(card_ids(found), None) if found is not None else None
        if found is None or card_id is None:
            message = f"{name_of(machine_id)} on {self.name} has no network card"
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, message)
        return self._networks.access(found["id"], card_id, watch, is_windows=is_windows(found))

    def give_up_places(self, installation: str, policy_id: str) -> list[str]:
        if not self._config.deallocate_stopped:
            return []
        return list(billing.give_up_places(self._arm, self._machines, installation, policy_id))

    # ---- Entra

    def joins_entra(self, guest_os: str) -> bool:
        return guest_os == entra_join.GUEST_OS

    def entra_tenant(self) -> str:
        return self._arm.tenant()

    def entra_mark(self, machine_id: UUID) -> str:
        return entra_join.mark(self._arm, name_of(machine_id))

    def join_entra(self, machine_id: UUID, watch: Watch) -> UUID | None:
        return entra_join.join(self._arm, name_of(machine_id), watch)

    # ---- what its tag says

    def finish(self, machine_id: UUID, phase: Phase) -> None:
        found = self._machines.get(name_of(machine_id))
        if found is None:
            raise self._gone(machine_id)
        if self._machine(found, Statuses(None)).tag.phase is not phase:
            self._machines.merge_tags(found["name"], {PHASE: phase.value})
        self._claiming.tidy(machine_id)

    def retag(self, machine_id: UUID, tag: Tag, disk_gib: int) -> None:  # noqa: ARG002 - Azure says it of the disk
        found = self._machines.get(name_of(machine_id))
        if found is not None and from_tags(tags_of(found)) is None:
            self._machines.merge_tags(found["name"], to_tags(tag))

    # ---- looking

    def describe(self, machine_id: UUID) -> Machine | None:
        found = self._machines.get(name_of(machine_id), "userData")
        return None if found is None else self._machine(found, self._machines.statuses(found["name"]))

    def overview(self, machine_ids: Collection[UUID]) -> Mapping[UUID, Machine | TagUnreadable]:
        names = {name_of(machine_id): machine_id for machine_id in machine_ids}
        found = {names[vm["name"].lower()]: vm for vm in self._machines.list() if vm["name"].lower() in names}
        return dict(zip(found, self._seen(list(found.values())), strict=True))

    def owned(self, installation: str, besides: Container[UUID] = ()) -> list[Machine]:
        ours = [vm for vm in self._machines.list() if installation_of(tags_of(vm)) == installation]
        seen = self._seen([vm for vm in ours if id_of(vm) not in besides])
        return [machine for machine in seen if isinstance(machine, Machine)]

    def unreadable(self, installation: str, known: Collection[UUID] = ()) -> dict[UUID, str]:
        names = {name_of(machine_id): machine_id for machine_id in known}
        found = {}
        for vm in self._machines.list():
            machine_id = names.get(vm["name"].lower(), id_of(vm))
            is_its = vm["name"].lower() in names or installation_of(tags_of(vm)) == installation
            if machine_id and is_its and from_tags(tags_of(vm)) is None:
                found[machine_id] = vm["name"]
        return found

    def _seen(self, found: list[Found]) -> list[Machine | TagUnreadable]:
        statuses = self._machines.all_statuses() if found else {}
        return [self._machine_or_error(vm, statuses.get(str(vm["id"]).lower(), Statuses(None))) for vm in found]

    def _machine_or_error(self, found: Found, statuses: Statuses) -> Machine | TagUnreadable:
        try:
            return self._machine(found, statuses)
        except TagUnreadable as error:
            return error

    def _machine(self, found: Found, statuses: Statuses) -> Machine:
        machine = self._descriptions.machine(found, statuses)
        if self._config.deallocate_stopped and machine.power is PowerState.STOPPED:
            return replace(machine, power=PowerState.LEFT_OFF)
        return machine

    def _need(self, machine_id: UUID) -> Machine:
        machine = self.describe(machine_id)
        if machine is None:
            raise self._gone(machine_id)
        return machine

    def _gone(self, machine_id: UUID) -> ProvisioningError:
        return ProvisioningError(ErrorCode.GUEST_DIED, f"{name_of(machine_id)} is no longer on {self.name}")

    # ---- removal

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:
        found = self._machines.get(name_of(machine_id), watch=watch)
        if found is not None:
            self._machine(found, Statuses(None))  # raises TagUnreadable: nothing is removed that may be somebody's
        return self._removal.remove(machine_id, found, watch)

    def remnants(self, installation: str) -> list[Remnant]:
        left = self._parts.left(installation)  # before the machines: a card is made before its machine
        there = {vm["name"].lower() for vm in self._machines.list()} if left else set()
        return [
            replace(remnant, superseded=machine_named_in(remnant.name) in there)
            for remnant in left
            # a disk that was exchanged for another may be somebody's copy
            if machine_named_in(remnant.name) not in there or not remnant.kind.may_hold_data
        ]

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        watch = Watch().within(REMOVED_WITHIN)
        return sorted(
            remnant.name
            for remnant in remnants
            if self._may_go(remnant) and self._parts.remove(Part(remnant.kind, remnant.name), watch)
        )

    def _may_go(self, remnant: Remnant) -> bool:
        """Asked by name: a list may lack one that was made a moment ago. Azure keeps what belongs to a machine."""
        machine = machine_named_in(remnant.name)
        if machine is None or remnant.kind not in _KINDS:
            return False
        return (remnant.superseded and not remnant.kind.may_hold_data) or self._machines.get(machine) is None


_KINDS = (Kind.NETWORK_CARD, Kind.DISK)
