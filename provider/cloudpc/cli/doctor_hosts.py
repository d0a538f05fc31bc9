"""What doctor says of hosts: whether they work, which are one, and what of ours is left there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from cloudpc.cli.doctor_organisation import SeenOnHosts
from cloudpc.configuration.parsing import Surroundings
from cloudpc.model import patience
from cloudpc.model.abilities import ForgetsImages
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.hosts import ByHand, HostConfig
from cloudpc.model.machines import Host, Hypervisor, Machine, PowerState, Removed, State
from cloudpc.model.remnants import Machines, Remnant, left_over, uncertain
from cloudpc.model.tags import Phase
from cloudpc.model.text import some_of
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations import twins
from cloudpc.operations.asked import Asked
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.runtime import connect
from cloudpc.operations.second_look import is_still_there


@dataclass(frozen=True)
class Ours:
    """What of ours there should be on hosts, and what becomes of the rest.

    Args:
        installations: whose things are ours.
        inventory: machines that state knows, wherever it says: a host may have another name, or two.
        busy: policies that a run is, or was, at work on.
        remove: whether to remove what is unfinished.
        lost: names of machines that users work on and that no state knows, on all hosts. While there are some, state
            may be lost or in another backend, and what has no machine may be somebody's.
    """

    installations: Sequence[str]
    inventory: Inventory
    busy: set[str]
    remove: bool
    lost: Sequence[str] = ()

    def keeps(self, remnant: Remnant) -> bool:
        """Whether it stays though it is left over."""
        return remnant.kind.may_hold_data and bool(self.lost)


def findings(surroundings: Mapping[str, Surroundings], ours: Ours, seen: SeenOnHosts) -> Iterator[Check]:
    """Look at each host once.

    Args:
        surroundings: of each policy.
        ours: what there should be.
        seen: records what hosts have.
    """
    # hosts with the same holdings are looked at once
    configured = {host.holdings: host for each in surroundings.values() for host in each.hosts}
    if ours.remove:
        ours = replace(ours, lost=_lost(list(configured.values()), ours))
    for config in configured.values():
        yield from _host(config, ours, seen)
    yield from _twins({policy: each.hosts for policy, each in surroundings.items()})


def _lost(configs: Sequence[HostConfig], ours: Ours) -> list[str]:
    """Of hosts that answer, however long that takes: one that is only slow may be the one that has them."""
    with ThreadPoolExecutor(max(1, len(configs))) as pool:
        return sorted({name for names in pool.map(partial(_lost_on, ours), configs) for name in names})


def _lost_on(ours: Ours, config: HostConfig) -> list[str]:
    with suppress(ProvisioningError), unexpected_told(f"listing the machines on {config.where}"):
        host, given = connect(config), ours.inventory.given
        return [m.name for i in ours.installations for m in host.owned(i, given) if ours.inventory.is_lost(m)]
    return []  # its own checks say why


def _host(config: HostConfig, ours: Ours, seen: SeenOnHosts) -> Iterator[Check]:
    what, failed = f"host {config.name}", False
    try:
        host = connect(config)
        for check in host.check():
            failed |= check.status == "failed"
            yield Check(f"{what}: {check.what}", check.status, check.detail, check.hint)
        yield from _slow(what, config.name)
        if isinstance(host, ForgetsImages):
            yield from _old_images(what, host, ours)
        for installation in ours.installations:
            yield from _of_installation(what, config.by_hand, host, installation, ours, seen)
    except ProvisioningError as error:
        seen.doubts.append(f"the host {config.name} did not answer")
        if not (failed and error.code is ErrorCode.HOST_REFUSES):  # its own checks have said why
            yield Check(what, "failed", error.message, error.hint)


def _slow(what: str, host: str) -> Iterator[Check]:
    """How slow the host was in recent runs, which say only that it is slow."""
    if found := patience.lately(host):
        worst, ago = max(found, key=lambda each: each.lasted), (time.time() - found[-1].ended) / 60
        times = "once" if len(found) == 1 else f"{len(found)} times"
        detail = (
            f"slow {times} within the last hour, the last time {ago:.0f} min ago; "
            f"the longest wait was {worst.lasted:.0f} s, to {worst.what}"
        )
        hint = "look at the load, the memory and the storage there; until it is better, other hosts are filled first"
        yield Check(f"{what}: answers", "warning", detail, hint)


def _old_images(what: str, host: ForgetsImages, ours: Ours) -> Iterator[Check]:
    """While a run is at work, all stay: it may be about to make a machine from one."""
    found = host.old_images()
    gone = host.discard_images(found) if ours.remove and not ours.busy else []
    if gone:
        yield Check(f"{what}: images", "passed", f"removed {', '.join(gone)}")
    for name in (each for each in found if each not in gone):
        detail = f"the base image {name}, which an older version brought, is needed by no machine"
        yield Check(f"{what}: images", "warning", detail, "--remove-leftovers")


def _of_installation(
    what: str, by_hand: ByHand, host: Host, installation: str, ours: Ours, seen: SeenOnHosts
) -> Iterator[Check]:
    owned = host.owned(installation)
    given, remembered = ours.inventory.given, ours.inventory.remembered
    known, unknown = [m for m in owned if m.id in given], [m for m in owned if m.id not in given]
    if ours.remove:
        gone = _unfinished_removed(host, unknown, ours)
        left_there = left_over(host.remnants(installation), given, remembered, datetime.now(UTC))
        remnants = [remnant for remnant in left_there if not ours.keeps(remnant)]
        if removed := [machine.name for machine in gone] + host.discard(remnants):
            yield Check(f"{what}: left over", "passed", f"removed {', '.join(removed)}")
        unknown = [machine for machine in unknown if machine not in gone]
    seen.add(unknown, known)
    yield from _standing_still(what, [m for m in known if m.id not in ours.inventory.kept_off])
    unreadable = host.unreadable(installation, given)
    seen.doubts += [f"{name} has no readable tag" for name in unreadable.values()]
    left = [
        *(_unreadable(what, name, is_known=machine_id in given) for machine_id, name in unreadable.items()),
        *(_unknown(f"{what}: left over", machine) for machine in unknown),
        *_left(f"{what}: left over", by_hand, host.remnants(installation), ours),
    ]
    yield from left or [Check(f"{what}: left over", "passed", "nothing")]


def _unfinished_removed(host: Host, machines: Sequence[Machine], ours: Ours) -> list[Machine]:
    """Remove those that no run works on and no user was given; returns those that are gone now."""
    unfinished = [m for m in machines if m.state is not State.THERE and m.tag.policy_id not in ours.busy]
    still = (m for m in unfinished if is_still_there(host, m))
    return [m for m in still if host.delete(m.id, Watch().within(REMOVED_WITHIN)) is Removed.GONE]


_STANDS_STILL = (PowerState.STOPPED, PowerState.PAUSED)


def _standing_still(what: str, machines: Sequence[Machine]) -> Iterator[Check]:
    """Their users can't work, and state may not know yet."""
    for machine in (m for m in machines if m.power in _STANDS_STILL and m.state is not State.GOING):
        how = f"paused: {machine.paused_because}" if machine.power is PowerState.PAUSED else "off"
        detail = f"{machine.name} ({machine.tag.device_name}, policy {machine.tag.policy_id}) is {how}"
        yield Check(
            f"{what}: machines", "warning", detail, "the next run of its policy starts or resumes it, if it can"
        )


def _unreadable(what: str, name: str, *, is_known: bool) -> Check:
    whose = "state knows it; `cloudpc adopt` writes its tag again" if is_known else "no state knows it"
    detail = f"{name} has no readable tag; nothing is done to it"
    return Check(f"{what}: tag", "failed", detail, f"{whose}; if a newer version of cloudpc made it, use that version")


def _unknown(what: str, machine: Machine) -> Check:
    """A machine that belongs to no user by any state."""
    if machine.state is State.GOING:
        hint = "its host has accepted the removal; each run of its policy checks again"
        return Check(what, "warning", f"{machine.name} is being removed", hint)
    if machine.tag.phase is not Phase.HANDED_OVER:
        hint = "a run may be working on it; else the next `up` of its policy adopts or removes it"
        return Check(what, "warning", f"{machine.name} is unfinished", hint)
    detail = f"{machine.name} ({machine.tag.device_name}, policy {machine.tag.policy_id}) is unknown to state"
    return Check(what, "warning", detail, "`cloudpc adopt` takes it back, or removes it with its data")


def _left(what: str, by_hand: ByHand, remnants: list[Remnant], ours: Ours) -> Iterator[Check]:
    known, recorded = ours.inventory.given, ours.inventory.remembered
    lost = (
        "it may belong to a user, and stays while users have machines that are unknown to state "
        f"({some_of(ours.lost)}); `cloudpc adopt` takes those back, or removes them with their data"
    )
    for each in left_over(remnants, known, recorded, datetime.now(UTC)):
        hint = lost if ours.keeps(each) else "--remove-leftovers"
        stays = f", and can't be removed: {each.stays_because}" if each.stays_because else ""
        yield Check(what, "warning", f"{each.kind} {each.name} has no machine{stays}", hint)
    there = Machines(known)
    for each in (r for r in remnants if r.kind.may_hold_data and there.have(r)):
        detail = f"{each.kind} {each.name} belongs to a Cloud PC in state whose machine is no longer defined"
        hint = "define the machine again; `cloudpc reprovision` makes a new one, without that disk"
        yield Check(what, "warning", detail, hint)
    for each in uncertain(remnants, recorded):
        detail = f"{each.kind} {each.name} has no machine; its name, of an older version, does not say whose it is"
        hint = f"it may be another installation's; look at it, and remove it {by_hand.removing} if it is not"
        yield Check(what, "warning", detail, hint)


def _twins(by_policy: Mapping[str, Sequence[HostConfig]]) -> Iterator[Check]:
    places = {config.where: config for hosts in by_policy.values() if len(hosts) > 1 for config in hosts}
    asked = Asked(
        "asking which hypervisor is", {where: partial(_hypervisor, config) for where, config in places.items()}
    )
    for policy, hosts in by_policy.items():
        known = {config.name: asked.answers[config.where] for config in hosts if config.where in asked.answers}
        if why := twins.refusal(known):
            yield Check(f"policy {policy}", "failed", why)


def _hypervisor(config: HostConfig) -> Hypervisor:
    return connect(config).hypervisor()
