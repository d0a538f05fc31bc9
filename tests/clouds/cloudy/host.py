"""A driver for a cloud: slow, without a guest agent of ours, where all there is of a machine is by name and tag.

It shows that `Host` can be implemented in front of a service like Azure's or Google's, and keeps it so: what is
awkward here will be awkward there. service.py says what the cloud does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Container, Iterator, Mapping
from pathlib import Path
from uuid import UUID

from cloudpc.model.access import Ssh
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.machines import (
    HOSTED,
    Amount,
    Capacity,
    Claimed,
    Hypervisor,
    Limits,
    Machine,
    Network,
    Order,
    PowerState,
    Removed,
)
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch

from .driver import CloudyHostConfig
from .guest import CloudyGuest
from .names import id_of, name_of, starts_with
from .service import CloudError, CloudService, Item
from .tags import PHASE, from_tags, installation_of, policy_of, to_tags

_CODES = {
    "Unreachable": ErrorCode.HOST_UNREACHABLE,
    "QuotaExceeded": ErrorCode.NO_CAPACITY,
    "AllocationFailed": ErrorCode.NO_CAPACITY,
    "SubnetIsFull": ErrorCode.NO_CAPACITY,
    "Deleting": ErrorCode.NO_CAPACITY,
    "NotRunning": ErrorCode.GUEST_DIED,
}
_KINDS = {"cards": Kind.NETWORK_CARD, "disks": Kind.DISK}


class CloudyHost:
    """Implements cloudpc.model.machines.Host."""

    def __init__(self, config: CloudyHostConfig) -> None:
        self.name = config.name
        self._subnet = config.subnet
        self._patience = config.patience_in_seconds
        self._young = config.young_in_seconds
        self._cloud = CloudService(Path(config.account))

    # ---- what it is

    def hypervisor(self) -> Hypervisor:
        with self._asking("ask which account it is"):
            return Hypervisor(self._cloud.account(), frozenset())

    def capacity(self) -> Capacity:
        with self._asking("read what is used"):
            usages, machines = self._cloud.usages(), self._cloud.list_machines()
        used, limit = usages.get("vcpus", (sum(m["vcpus"] for m in machines), None))
        committed = Amount(used, sum(m["memory_mib"] for m in machines), sum(m["disk_gib"] for m in machines))
        return Capacity(
            Limits(limit),
            committed,
            frozenset(filter(None, map(_id, machines))),
        )

    def check(self) -> list[Check]:
        try:
            usages = self._cloud.usages()
        except CloudError as error:
            return [Check("the account", "failed", str(error), "look at the provider's status page")]
        full = [f"{what} {used} of {limit}" for what, (used, limit) in usages.items()]
        return [Check("the account", "passed", "answers"), Check("quota", "passed", ", ".join(full) or "none")]

    def check_network(self, network: Network) -> list[Check]:
        subnet = self._subnet_of(network)
        with self._asking(f"look at the subnet {subnet}", not_found=ErrorCode.NETWORK_NOT_FOUND):
            taken, size = self._cloud.subnet(subnet)
        if taken >= size:
            detail = f"all {size} addresses are taken"
            return [Check(f"subnet {subnet}", "failed", detail, "free some, or take a larger subnet")]
        return [Check(f"subnet {subnet}", "passed", f"{size - taken} of {size} are free")]

    def close(self) -> None: ...

    # ---- making

    def claim(self, order: Order, watch: Watch) -> None:
        watch.check()
        name = name_of(order.id)
        self._refuse_existing(order.id)
        image = order.image(watch)
        tags = to_tags(order.tag)
        attempt = order.tag.attempt or "0"
        card, disk = f"{name}-{attempt}-nic", f"{name}-{attempt}-os"
        subnet = self._subnet_of(order.network)
        with contextlib.ExitStack() as undo:
            with self._asking(f"make a network card in {subnet}", not_found=ErrorCode.NETWORK_NOT_FOUND):
                undo.callback(self._remove_part, "cards", card)
                self._cloud.put_card(card, subnet=subnet, tags=tags)
            self._put(order, watch, image=image.image_id, tags=tags, card=card, disk=disk)
            undo.pop_all()
        with contextlib.suppress(ProvisioningError):  # of attempts that died before they had a machine
            self._remove_parts(order.id)

    def _put(self, order: Order, watch: Watch, *, image: str, tags: Mapping[str, str], card: str, disk: str) -> None:
        name, seed = name_of(order.id), order.seed(order.image(watch))
        watch.note(f"asking {self.name} for it")
        try:
            with self._asking(f"make {name}"):
                self._cloud.put_machine(
                    name, vcpus=order.size.vcpus, memory_mib=order.size.memory_mib, disk_gib=order.size.disk_gib,
                    card=card, disk=disk, tags=tags, title=order.title, image=image, first_boot=seed.user_data,
                    description=str(order.id),
                )  # fmt: skip
        except ProvisioningError as error:
            if isinstance(error.__cause__, CloudError) and error.__cause__.code in ("AlreadyExists", "Deleting"):
                self._refuse_existing(order.id)  # somebody was faster
            raise
        try:
            self._wait_until_allocated(name, watch)
        except BaseException:  # a refusal, or Ctrl-C: what was accepted is given back
            with contextlib.suppress(ProvisioningError):
                self._delete(order.id, None)
            raise

    def _refuse_existing(self, machine_id: UUID) -> None:
        if (found := self._get(machine_id)) is not None:
            raise Claimed(self._machine(found))

    def _wait_until_allocated(self, name: str, watch: Watch) -> None:
        while True:
            found = self._need(name)
            if found["state"] == "failed":
                code, _, why = found["failure"].partition(": ")
                raise ProvisioningError(_CODES.get(code, ErrorCode.START_FAILED), f"{self.name} could not: {why}")
            if found["state"] != "allocating":
                return
            watch.note(f"waiting for {self.name} to find a place for it")
            watch.wait(found["ask_again"])

    def make(self, order: Order, watch: Watch) -> None:
        watch.stage(Stage.FIRST_BOOT, f"on {self.name}")
        self._wait_until_ready(name_of(order.id), watch.within(order.first_boot_in_seconds))

    def power_on(self, machine_id: UUID, watch: Watch, *, until_ready: bool = True) -> None:
        machine = self._described(machine_id)
        with self._asking(f"start {machine.name}"):
            self._cloud.start_machine(machine.name)
        if until_ready:
            self._wait_until_ready(machine.name, watch)

    def _wait_until_ready(self, name: str, watch: Watch) -> None:
        while not (found := self._need(name))["ready"]:
            if found["state"] != "running":
                raise ProvisioningError(ErrorCode.GUEST_DIED, f"{name} on {self.name} is {found['state']}")
            if not watch.remaining:
                raise ProvisioningError(ErrorCode.BOOT_TIMEOUT, f"{name} on {self.name} is not ready in time")
            watch.wait(found["ask_again"])

    # ---- looking

    def describe(self, machine_id: UUID) -> Machine | None:
        found = self._get(machine_id)
        return None if found is None else self._machine(found)

    def overview(self, machine_ids: Collection[UUID]) -> Mapping[UUID, Machine | TagUnreadable]:
        by_name = {name_of(machine_id): machine_id for machine_id in machine_ids}
        known = {by_name[m["name"]]: m for m in self._list() if m["name"] in by_name}
        return {machine_id: self._machine_or_error(found) for machine_id, found in known.items()}

    def owned(self, installation: str, besides: Container[UUID] = ()) -> list[Machine]:
        ours = (m for m in self._list() if installation_of(m["tags"]) == installation and _id(m) not in besides)
        return [m for m in map(self._machine_or_error, ours) if isinstance(m, Machine)]

    def unreadable(self, installation: str, known: Collection[UUID] = ()) -> dict[UUID, str]:
        names = {name_of(machine_id): machine_id for machine_id in known}
        found = {}
        for machine in self._list():
            machine_id = names.get(machine["name"], _id(machine))
            is_its = machine["name"] in names or installation_of(machine["tags"]) == installation
            if machine_id and is_its and from_tags(machine["tags"]) is None:
                found[machine_id] = machine["name"]
        return found

    # ---- what its tag says

    def finish(self, machine_id: UUID, phase: Phase) -> None:
        machine = self._described(machine_id)
        with self._asking(f"write the phase of {machine.name}"):
            self._cloud.merge_tags(machine.name, {PHASE: phase.value})

    def retag(self, machine_id: UUID, tag: Tag, disk_gib: int) -> None:
        found = self._get(machine_id)
        if found is not None and from_tags(found["tags"]) is None:
            with self._asking(f"write the tag of {found['name']}"):
                self._cloud.merge_tags(found["name"], to_tags(tag))

    # ---- the guest

    def guest(self, machine_id: UUID) -> CloudyGuest:
        return CloudyGuest(self._cloud, self.name, name_of(machine_id), self._asking)

    def access(self, machine_id: UUID, watch: Watch) -> Ssh:
        machine = self._described(machine_id)
        with self._asking(f"find the address of {machine.name}"):
            card = self._cloud.get_card(self._need(machine.name)["card"])
        if card is None:
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, f"{machine.name} has no network card")
        return Ssh(host=card["address"], port=22)

    # ---- removal

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:
        self.describe(machine_id)  # raises TagUnreadable: nothing is deleted that may be somebody's
        return self._delete(machine_id, watch)

    def _delete(self, machine_id: UUID, watch: Watch | None) -> Removed:
        """Accepted; waited for as long as the watch, where there is one, and our patience last."""
        found = self._get(machine_id)
        if found is not None and found["state"] != "deleting":
            with self._asking(f"delete {found['name']}"), _gone_is_fine():
                self._cloud.merge_tags(found["name"], {PHASE: Phase.GOING.value})
                self._cloud.delete_machine(found["name"])
        waits = None if watch is None else watch.within(self._patience)
        while (found := self._get(machine_id)) is not None or not self._remove_parts(machine_id):
            if waits is None or not waits.remaining:
                return Removed.GOING
            waits.wait(found["ask_again"] if found else 0.02)
        return Removed.GONE

    def _remove_parts(self, machine_id: UUID) -> bool:
        """What a machine that is gone has left; whether there is nothing more."""
        with self._asking("list what machines have left"):
            parts = self._cloud.list_parts()
        its = [
            (kind, p["name"]) for kind in parts for p in parts[kind] if p["name"].startswith(f"{name_of(machine_id)}-")
        ]
        stay = [name for kind, name in its if not self._remove_part(kind, name)]
        return not stay

    def _remove_part(self, kind: str, name: str) -> bool:
        """Whether it is gone now."""
        try:
            self._cloud.delete_part(kind, name)
        except CloudError:
            return False
        return True

    def remnants(self, installation: str) -> list[Remnant]:
        with self._asking("list what machines have left"):
            parts = self._cloud.list_parts()  # before the machines: a card is made before its machine
        old = time.time() - self._young
        ours = [
            Remnant(_KINDS[kind], part["name"], starts_with(part["name"]), policy_id=policy_of(part["tags"]))
            for kind in parts
            for part in parts[kind]
            if not part["machine"] and part["made_at"] <= old and installation_of(part["tags"]) == installation
        ]
        return self._without_machine(ours) if ours else []

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        kinds = {told: kind for kind, told in _KINDS.items()}
        there = self._without_machine(remnants)
        return sorted(r.name for r in there if r.kind in kinds and self._remove_part(kinds[r.kind], r.name))

    def _without_machine(self, remnants: Collection[Remnant]) -> list[Remnant]:
        names = {machine["name"] for machine in self._list()}
        return [remnant for remnant in remnants if remnant.name.partition("-")[0] not in names]

    def _subnet_of(self, network: Network) -> str:
        return self._subnet if network.kind == HOSTED else network.source

    # ---- asking the service

    @contextlib.contextmanager
    def _asking(self, doing: str, not_found: ErrorCode = ErrorCode.GUEST_DIED) -> Iterator[None]:
        """What the service refuses becomes an error of `doing`."""
        try:
            yield
        except CloudError as error:
            code = not_found if error.code == "NotFound" else _CODES.get(error.code, ErrorCode.HYPERVISOR_ERROR)
            message = f"{self.name} could not {doing}: {error.message}"
            raise ProvisioningError(code, message) from error

    def _get(self, machine_id: UUID) -> Item | None:
        with self._asking("look for the machine"):
            return self._cloud.get_machine(name_of(machine_id))

    def _need(self, name: str) -> Item:
        with self._asking(f"look at {name}"):
            found = self._cloud.get_machine(name)
        if found is None:
            raise ProvisioningError(ErrorCode.GUEST_DIED, f"{name} is no longer on {self.name}")
        return found

    def _described(self, machine_id: UUID) -> Machine:
        machine = self.describe(machine_id)
        if machine is None:
            raise ProvisioningError(ErrorCode.GUEST_DIED, f"{name_of(machine_id)} is no longer on {self.name}")
        return machine

    def _list(self) -> list[Item]:
        with self._asking("list the machines"):
            return [machine for machine in self._cloud.list_machines() if id_of(machine["name"]) is not None]

    def _machine_or_error(self, found: Item) -> Machine | TagUnreadable:
        try:
            return self._machine(found)
        except TagUnreadable as error:
            return error

    def _machine(self, found: Item) -> Machine:
        tag = from_tags(found["tags"])
        if tag is None or name_of(tag.machine_id) != found["name"]:
            raise TagUnreadable(found["name"], self.name)
        power = PowerState.STOPPED if found["state"] in ("stopped", "failed") else PowerState.RUNNING
        size = Amount(found["vcpus"], found["memory_mib"], found["disk_gib"])
        return Machine(tag.machine_id, found["name"], tag, power, size)


def _id(found: Item) -> UUID | None:
    """The identity that a machine of ours was made for: its description can't be changed."""
    try:
        return UUID(found["description"])
    except ValueError:
        return None


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    """It went, or somebody else deletes it, just now."""
    try:
        yield
    except CloudError as error:
        if error.code not in ("NotFound", "Deleting"):
            raise
