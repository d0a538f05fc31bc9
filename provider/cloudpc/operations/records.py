"""What state remembers of policies and their Cloud PCs, however it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cloudpc.directory.catalogue import short_name
from cloudpc.model import access
from cloudpc.model.cloud_pc import WITH_MACHINE, PolicySettings, RecordedCloudPC, Status
from cloudpc.model.identity import machine_id, user_and_plan
from cloudpc.model.text import in_utc
from cloudpc.rules.actions.rename import display_name
from cloudpc.rules.ownership import OwnFacts


@dataclass(frozen=True)
class CloudPCRecord:
    """One Cloud PC of state: its user's name as now, the rest as it was made."""

    policy: str
    """The stack it is in."""
    recorded: RecordedCloudPC
    user_principal_name: str
    """The user's present name: inputs follow a rename, outputs don't."""
    urn: str = ""
    """Pulumi's name of its entry."""

    @property
    def key(self) -> str:
        """Identity within the installation."""
        return self.recorded.key

    @property
    def status(self) -> Status:
        """Graph's status."""
        return self.recorded.status

    @property
    def user_id(self) -> str:
        """The directory's id of its user."""
        return self.recorded.user_id

    @property
    def service_plan(self) -> str:
        """The service plan's id."""
        return self.recorded.service_plan.id

    def has_plan(self, name: str) -> bool:
        """Whether this is its service plan: by id, by the name its licence goes by, or by displayName."""
        return name in (self.service_plan, short_name(self.service_plan), self.recorded.service_plan.display_name)

    @property
    def generation(self) -> int:
        """Goes up with each reprovision."""
        return self.recorded.generation

    @property
    def is_gone(self) -> bool:
        """Whether it has ended without leaving anything."""
        return self.recorded.is_gone

    @property
    def grace_period_end_date_time(self) -> str | None:
        """Until when it is kept, while it is in its grace period, even if its machine is lost."""
        in_grace = self.recorded.status_if_there is Status.IN_GRACE_PERIOD
        return _shown(self.recorded.grace_period_end_date_time) if in_grace else None

    @property
    def settings(self) -> PolicySettings:
        """What it was made with."""
        return self.recorded.settings

    @property
    def device_name(self) -> str:
        """The device's name."""
        return self.recorded.device_name

    def as_json(self) -> dict[str, Any]:
        """What `cloudpc list --json` prints; without secrets."""
        pc = self.recorded
        return {
            "userPrincipalName": self.user_principal_name,
            "userId": pc.user_id,
            "servicePlan": pc.service_plan.id,
            "servicePlanName": pc.service_plan.display_name,
            "policy": self.policy,
            "deviceName": pc.device_name,
            "displayName": display_name(pc),
            "status": pc.status.value,
            "statusDetail": pc.status_detail and pc.status_detail.model_dump(by_alias=True),
            "host": pc.host or None,
            "connection": pc.access and access.to_outputs(pc.access)["connection"],
            "powerState": pc.power_state if pc.status in WITH_MACHINE else None,
            "desiredPowerState": pc.desired_power_state if pc.status in WITH_MACHINE else None,
            "pausedBecause": pc.paused_because or None,
            "billedWhileOff": pc.billed_while_off,
            "lastModifiedDateTime": _shown(pc.last_modified_date_time),
            "gracePeriodEndDateTime": self.grace_period_end_date_time,
            "why": pc.why or None,
            "leftovers": list(pc.leftovers),
        }


@dataclass(frozen=True)
class EndedRecord:
    """What the policy's resource remembers of a Cloud PC that is gone."""

    policy: str
    key: str
    user_principal_name: str
    device_name: str
    generation: int
    event: str
    """Its last: when, to which status, why."""

    @classmethod
    def of(cls, policy: str, pc: RecordedCloudPC) -> EndedRecord:
        """One that is gone by now."""
        event = pc.events[-1] if pc.events else ""
        return cls(policy, pc.key, pc.user_principal_name, pc.device_name, pc.generation, event)

    @property
    def user_id(self) -> str:
        """The directory's id of its user."""
        return user_and_plan(self.key)[0]

    @property
    def service_plan(self) -> str:
        """The service plan's id."""
        return user_and_plan(self.key)[1]


@dataclass(frozen=True)
class StackRecord:
    """One policy's stack; without anything before its first run."""

    policy: str
    installation: str | None = None
    cloud_pcs: tuple[CloudPCRecord, ...] = ()
    ended: tuple[EndedRecord, ...] = ()
    """Those that are gone, as far as they are remembered."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Ids of all policies that its state holds, with their URNs: one, unless the stack has been renamed."""
    assigned: Mapping[str, datetime] = field(default_factory=dict)
    """Its groups' ids, with the time each assignment was first seen."""
    group_names: Mapping[str, str] = field(default_factory=dict)
    """Names that it has its groups under, by their ids."""
    taken_away: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of the groups whose assignment was taken away, by the Cloud PC's key (`lifecycle.Reconciliation`)."""
    interrupted: bool = False
    """State remembers operations that a dead run had begun."""
    begun: frozenset[UUID] = frozenset()
    """Machines that operations of a dead run, or of one at work now, are about."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """The values of the last run, from its provider's entry."""

    @property
    def has_run(self) -> bool:
        """Whether state has anything of it."""
        return bool(self.policies or self.cloud_pcs)

    @property
    def by_key(self) -> dict[str, RecordedCloudPC]:
        """What is recorded of its Cloud PCs."""
        return {cloud_pc.key: cloud_pc.recorded for cloud_pc in self.cloud_pcs}

    @property
    def machines(self) -> frozenset[UUID]:
        """Identities of all machines that its Cloud PCs have, or had as far as that is remembered."""
        if self.installation is None:
            return frozenset()
        known: list[CloudPCRecord | EndedRecord] = [*self.cloud_pcs, *self.ended]
        return frozenset(machine_id(self.installation, each.user_id, each.service_plan) for each in known)

    @property
    def newly_ended(self) -> tuple[EndedRecord, ...]:
        """Each once: a run that was killed before it dropped their entries has remembered them already."""
        remembered = {(ended.key, ended.generation) for ended in self.ended}
        ends = [EndedRecord.of(self.policy, c.recorded) for c in self.cloud_pcs if c.is_gone]
        return tuple(end for end in ends if (end.key, end.generation) not in remembered)

    def facts(self, assigned: Mapping[str, datetime], changed: Mapping[str, RecordedCloudPC] | None = None) -> OwnFacts:
        """What ownership needs of it.

        Args:
            assigned: the groups that it is assigned to, with the time each assignment was first seen.
            changed: what a look has found of its Cloud PCs since, by key.
        """
        last = {ended.key: ended.generation for ended in self.ended}
        return OwnFacts(self.policy, assigned, self.by_key | dict(changed or {}), last)


def _shown(time: datetime | None) -> str | None:
    return in_utc(time) if time else None
