"""What a look at its machine makes of what is recorded of a Cloud PC, by the rules of `cloudpc.rules.findings`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cloudpc.model.cloud_pc import USABLE, WITH_MACHINE, RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable, unexpected_told
from cloudpc.model.machines import Machine, State
from cloudpc.model.remnants import Remnant, of_machine
from cloudpc.model.tags import Phase
from cloudpc.rules import findings


class MayBeElsewhereError(ProvisioningError):
    """It is not on its host, and another one, which may have it, does not say."""


class Place(Protocol):
    """Where a look goes: a host, or what it has said of all that is on it."""

    @property
    def name(self) -> str:
        """The host's, as configured."""

    def describe(self, machine_id: UUID) -> Machine | None:
        """As `Host` has it."""

    def remnants(self, installation: str) -> list[Remnant]:
        """As `Host` has it."""


def is_looked_at(recorded: RecordedCloudPC) -> bool:
    """Whether it is to have a machine that is worth a look; also one that could not be removed yet."""
    return recorded.has_machine


def as_seen(where: Place | None, recorded: RecordedCloudPC, places: Iterable[Place], now: datetime) -> RecordedCloudPC:
    """What is recorded of one with a machine, as its host has it now.

    Args:
        where: the host of the name that state has; None if cloudpc:hosts no longer has such a name.
        recorded: by state.
        places: the policy's hosts; one that is missed is looked for on them.
        now: with a time zone.

    Raises:
        ProvisioningError: the host does not say.
    """
    if recorded.status is Status.DEPROVISIONING:
        return _still_ending(where, recorded, now)
    if where is None:
        with suppress(MayBeElsewhereError):  # nobody has said that it is not on its own host
            if followed := _followed(recorded, places, now):
                return followed
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"the host {recorded.host} is not in cloudpc:hosts")
    try:
        machine, left = _asked(where, recorded)
    except TagUnreadable as error:
        if recorded.status not in WITH_MACHINE:  # it counts as lost, and goes on doing so
            raise
        return findings.tag_unreadable(recorded, error, now)
    if machine is not None and _is_newer(machine, recorded):
        return findings.not_in_state(recorded, _from_an_older_copy(where, machine, recorded), now)
    if machine is None or machine.tag.generation != recorded.generation:
        message = left or f"its machine is no longer on {where.name}; its data is gone"
        return _followed(recorded, places, now) or _missed(recorded, message, now)
    if not machine.has_disk:
        return _missed(recorded, f"its machine is defined on {where.name}, but its disk is not there", now)
    return _as_its_machine_is(recorded, machine, now)


def told_seen(seen: RecordedCloudPC) -> str:
    """What a look at its machine has changed, in words."""
    if detail := seen.status_detail:
        return f"{seen.status}: {detail.message} [{detail.code}]"
    return seen.events[-1].split(" ", 2)[-1]


def told_still(pc: RecordedCloudPC) -> str:
    """How one that stands still does so, and what becomes of it; to be shown."""
    if pc.power_state == "paused":
        return f"paused: {pc.paused_because}; the next run resumes it"
    return "off; the next run starts it"


def _still_ending(where: Place | None, recorded: RecordedCloudPC, now: datetime) -> RecordedCloudPC:
    """One that has ended: only whether its user has been given another since. Its removal reports all else."""
    if where is not None:
        with suppress(TagUnreadable), unexpected_told(f"looking at {recorded.machine_id}"):
            machine = where.describe(recorded.machine_id)
            if machine is not None and _is_newer(machine, recorded):
                return findings.not_in_state(recorded, _from_an_older_copy(where, machine, recorded), now)
    return recorded


def _asked(where: Place, recorded: RecordedCloudPC) -> tuple[Machine | None, str]:
    """Its machine, or in words what is left of a missing one. Raises ProvisioningError."""
    with unexpected_told(f"looking at {recorded.machine_id}"):
        machine = where.describe(recorded.machine_id)
        if machine is not None and machine.state is State.GOING:  # its data is as good as gone
            machine = None
        return machine, "" if machine or recorded.is_lost else _what_is_left(where, recorded)


def _missed(recorded: RecordedCloudPC, message: str, now: datetime) -> RecordedCloudPC:
    return recorded if recorded.is_lost else findings.lost(recorded, message, now)


def _as_its_machine_is(recorded: RecordedCloudPC, machine: Machine, now: datetime) -> RecordedCloudPC:
    """Its machine is there, with its disk."""
    pc = findings.found_again(recorded, now) if recorded.is_lost else recorded
    if pc.status is Status.IN_GRACE_PERIOD and pc.has_code(ErrorCode.TAG_UNREADABLE):
        pc = findings.tag_readable(pc, now)
    pc = findings.powered(
        findings.described(pc, machine.facts), machine.power, machine.paused_because,
        billed_while_off=machine.is_billed_while_off,
    )  # fmt: skip
    if pc.status not in USABLE:
        return pc
    if message := _of_another_size(pc, machine):
        return findings.size_differs(pc, message, now)
    if pc.has_code(ErrorCode.MACHINE_CHANGED):
        return findings.size_is_right(pc, now)
    return findings.tag_readable(pc, now) if pc.has_code(ErrorCode.TAG_UNREADABLE) else pc


def _of_another_size(recorded: RecordedCloudPC, machine: Machine) -> str:
    plan, size = recorded.service_plan, machine.size
    if (size.vcpus, size.memory_mib) == (plan.v_cpu_count, plan.memory_mib):
        return ""
    has, should = f"{size.vcpus} vCPU and {size.memory_mib} MiB", f"{plan.v_cpu_count} and {plan.memory_mib}"
    return f"its machine has {has}, the service plan {should}"


def _is_newer(machine: Machine, recorded: RecordedCloudPC) -> bool:
    """Whether it was handed over to its user after what this state remembers."""
    return machine.tag.generation > recorded.generation and machine.tag.phase is Phase.HANDED_OVER


def _from_an_older_copy(where: Place, machine: Machine, recorded: RecordedCloudPC) -> str:
    return (
        f"its machine on {where.name} is of generation {machine.tag.generation}, and this state, an older copy, "
        f"of {recorded.generation}; it is left untouched; `cloudpc adopt` takes it back"
    )


def _followed(recorded: RecordedCloudPC, places: Iterable[Place], now: datetime) -> RecordedCloudPC | None:
    """The Cloud PC on another host, if one has it."""
    if (place := _elsewhere(recorded, places)) is None:
        return None
    return as_seen(place, findings.moved(recorded, place.name, now), (), now)


def _elsewhere(recorded: RecordedCloudPC, places: Iterable[Place]) -> Place | None:
    """Another host that has it: it was migrated, or hosts have other names in cloudpc:hosts than before.

    Raises:
        MayBeElsewhereError: one of them does not say, and no other has it.
    """
    its_own = (recorded.policy_id, recorded.generation, Phase.HANDED_OVER)
    doubts: list[str] = []
    for other in (each for each in places if each.name != recorded.host):
        try:
            with unexpected_told(f"looking for {recorded.machine_id} on {other.name}"):
                machine = other.describe(recorded.machine_id)
        except ProvisioningError as error:
            doubts.append(f"{other.name} ({error.message})")
            continue
        if machine and (machine.tag.policy_id, machine.tag.generation, machine.tag.phase) == its_own:
            return other
    if doubts and not recorded.is_lost:
        message = (
            f"its machine is not on {recorded.host}, and may be on {', '.join(doubts)}; until that is known, nothing "
            "is recorded of it. Take a host that is gone for good out of cloudpc:hosts"
        )
        raise MayBeElsewhereError(ErrorCode.HOST_UNREACHABLE, message)
    return None


def _what_is_left(where: Place, recorded: RecordedCloudPC) -> str:
    """Somebody may have undefined it, and can define it again."""
    its = of_machine(where.remnants(recorded.installation), recorded.machine_id)
    disks = [remnant.name for remnant in its if remnant.kind.may_hold_data and not remnant.by_hand]
    if not disks:
        copies = ", ".join(remnant.name for remnant in its if remnant.by_hand)
        gone = f"its machine and its disk are no longer on {where.name}"
        return f"{gone}; what somebody has made beside it is there ({copies}), and stays" if copies else ""
    return (
        f"its machine is no longer defined on {where.name}, but its disk is there ({', '.join(disks)}): it works again "
        "once it is defined again; a reprovision makes a new one, and deletes that disk"
    )
