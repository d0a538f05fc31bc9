"""The Cloud PCs of all policies, as Pulumi's state has them: what commands show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from cloudpc.directory.catalogue import short_name
from cloudpc.iac.engine import Engine
from cloudpc.iac.type_tokens import CLOUD_PC, PROVISIONING_POLICY
from cloudpc.model.cloud_pc import WITH_MACHINE, PolicySettings, RecordedCloudPC, Status
from cloudpc.model.identity import key_of, machine_id, user_and_plan
from cloudpc.rules.ownership import PolicyFacts

_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - Pulumi's mark of a secret value, no secret


@dataclass(frozen=True)
class CloudPCRecord:
    """One Cloud PC of state: names as now, the rest as it was made."""

    policy: str
    inputs: dict[str, Any]
    outputs: dict[str, Any] = field(repr=False)  # with credentials, where they were asked for
    urn: str = ""
    """Pulumi's name of its entry."""

    @cached_property
    def recorded(self) -> RecordedCloudPC:
        """What decisions need of it."""
        return RecordedCloudPC.model_validate(self.outputs)

    @property
    def key(self) -> str:
        """Identity within the installation."""
        return key_of(self.user_id, self.service_plan)

    @property
    def user_principal_name(self) -> str:
        """The user's present name: inputs follow a rename, outputs don't."""
        return str(self.inputs.get("userPrincipalName") or self.outputs["userPrincipalName"])

    @property
    def status(self) -> str:
        """Graph's status."""
        return str(self.outputs["status"])

    @property
    def user_id(self) -> str:
        """The directory's id of its user."""
        return str(self.outputs["userId"])

    @property
    def service_plan(self) -> str:
        """The service plan's id."""
        return str(self.outputs["servicePlan"]["id"])

    def has_plan(self, name: str) -> bool:
        """Whether this is its service plan: by id, by the name its licence goes by, or by displayName."""
        return name in (self.service_plan, short_name(self.service_plan), self.outputs["servicePlan"]["displayName"])

    @property
    def generation(self) -> int:
        """Goes up with each reprovision."""
        return int(self.outputs.get("generation", 1))

    @property
    def retry(self) -> int:
        """Goes up with each retry."""
        return int(self.outputs.get("retry", 0))

    @property
    def is_gone(self) -> bool:
        """Whether it has ended without leaving anything."""
        return self.recorded.is_gone

    @property
    def grace_period_end_date_time(self) -> str | None:
        """Until when it is kept, while it is in its grace period, even if its machine is lost."""
        in_grace = self.recorded.status_if_there is Status.IN_GRACE_PERIOD
        return self.outputs.get("gracePeriodEndDateTime") if in_grace else None

    @property
    def settings(self) -> PolicySettings:
        """What it was made with."""
        return self.recorded.settings

    @property
    def device_name(self) -> str:
        """The device's name."""
        return str(self.outputs["deviceName"])

    def as_json(self) -> dict[str, Any]:
        """What `cloudpc list --json` prints; without secrets."""
        plan = self.outputs["servicePlan"]
        return {
            "userPrincipalName": self.user_principal_name,
            "userId": self.outputs["userId"],
            "servicePlan": plan["id"],
            "servicePlanName": plan["displayName"],
            "policy": self.policy,
            "deviceName": self.device_name,
            "status": self.status,
            "statusDetail": self.outputs.get("statusDetail"),
            "host": self.outputs.get("host") or None,
            "connection": self.outputs.get("connection"),
            "powerState": self.recorded.power_state if self.recorded.status in WITH_MACHINE else None,
            "pausedBecause": self.recorded.paused_because or None,
            "lastModifiedDateTime": self.outputs.get("lastModifiedDateTime"),
            "gracePeriodEndDateTime": self.grace_period_end_date_time,
            "why": self.recorded.why or None,
            "leftovers": list(self.recorded.leftovers),
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
    """One policy's stack."""

    policy: str
    installation: str | None
    cloud_pcs: tuple[CloudPCRecord, ...]
    ended: tuple[EndedRecord, ...]
    """Those that are gone, as far as they are remembered."""
    interrupted: bool
    """State remembers operations that a dead run had begun."""
    configuration: dict[str, Any]
    """The values of the last run, from its provider's entry."""
    begun: frozenset[UUID] = frozenset()
    """Machines that operations of a dead run, or of one at work now, are about."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Ids of all policies that its state holds, with their URNs: one, unless the stack has been renamed."""
    assigned: Mapping[str, datetime] = field(default_factory=dict)
    """Its groups' ids, with the time each assignment was first seen."""
    group_names: Mapping[str, str] = field(default_factory=dict)
    """Names that it has its groups under, by their ids."""

    @property
    def machines(self) -> frozenset[UUID]:
        """Identities of all machines that its Cloud PCs have, or had as far as that is remembered."""
        if self.installation is None:
            return frozenset()
        known: list[CloudPCRecord | EndedRecord] = [*self.cloud_pcs, *self.ended]
        return frozenset(machine_id(self.installation, each.user_id, each.service_plan) for each in known)

    def facts(self, *, has_file: bool) -> PolicyFacts:
        """What ownership needs of it; a policy without a file here targets nobody (`cloudpc.iac.program`)."""
        return PolicyFacts(self.policy, self.assigned if has_file else {}, {c.key: c.recorded for c in self.cloud_pcs})


def read(engine: Engine, stacks: Sequence[str], *, show_secrets: bool = False) -> list[StackRecord]:
    """The recorded state of stacks, several at a time.

    Raises:
        EngineError: one can't be read.
    """
    if not stacks:
        return []
    with ThreadPoolExecutor(min(8, len(stacks))) as pool:
        exports = pool.map(lambda stack: engine.export(stack, show_secrets=show_secrets), stacks)
        return [_record(stack, deployment) for stack, deployment in zip(stacks, exports, strict=True)]


def _record(stack: str, deployment: dict[str, Any]) -> StackRecord:
    resources: list[dict[str, Any]] = deployment.get("resources") or []
    policies = [r for r in resources if r["type"] == PROVISIONING_POLICY]
    cloud_pcs = tuple(
        CloudPCRecord(stack, r.get("inputs", {}), _plain(r["outputs"]), r["urn"])
        for r in resources
        if r["type"] == CLOUD_PC and r.get("outputs")
    )
    # both have it: a destroy that failed halfway may have left only one kind
    ids = [p["outputs"].get("installation") for p in policies] + [c.outputs["installation"] for c in cloud_pcs]
    groups = [group for p in policies for group in p["outputs"].get("assignments") or []]
    return StackRecord(
        stack,
        installation=next(filter(None, ids), None),
        cloud_pcs=cloud_pcs,
        ended=tuple(_ended(stack, entry) for p in policies for entry in p["outputs"].get("ended") or []),
        interrupted=bool(deployment.get("pending_operations")),
        configuration=_last_configuration(resources),
        policies={p["outputs"]["policyId"]: p["urn"] for p in policies},
        begun=frozenset(_begun(deployment.get("pending_operations") or [])),
        assigned={group["groupId"]: datetime.fromisoformat(group["firstSeen"]) for group in groups},
        group_names={group["groupId"]: group["displayName"] for group in groups},
    )


def _begun(operations: list[dict[str, Any]]) -> Iterator[UUID]:
    """Of which machines; state has them before the provider is asked."""
    for resource in (operation["resource"] for operation in operations):
        if resource["type"] == CLOUD_PC and (asked := resource.get("inputs")):
            yield machine_id(asked["installation"], asked["userId"], asked["servicePlan"]["id"])


def _ended(stack: str, entry: dict[str, Any]) -> EndedRecord:
    return EndedRecord(
        stack,
        key=entry["key"],
        user_principal_name=entry["userPrincipalName"],
        device_name=entry["deviceName"],
        generation=int(entry["generation"]),
        event=entry["event"],
    )


def _last_configuration(resources: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for resource in resources:
        if resource["type"] == "pulumi:providers:pulumi-python":
            for key, value in resource.get("inputs", {}).items():
                if isinstance(value, str):
                    values[key] = json.loads(value) if value[:1] in ("{", "[") else value
    return values


def _plain(outputs: dict[str, Any]) -> dict[str, Any]:
    """Outputs with opened secrets unwrapped; those still encrypted are left out."""
    return dict(_opened(outputs))


def _opened(outputs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in outputs.items():
        if not (isinstance(value, dict) and _SECRET in value):
            yield name, value
        elif "plaintext" in value:
            yield name, json.loads(value["plaintext"])
