"""The Pulumi program of a stack: one provisioning policy and its Cloud PCs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pulumi

from cloudpc import configuration, entitlement, lifecycle
from cloudpc.configuration import StackInputs
from cloudpc.directory.interface import DirectoryError
from cloudpc.iac import state
from cloudpc.iac.resources import CloudPC, ProvisioningPolicy, leave_out_debug_lines, leave_out_stack_traces
from cloudpc.iac.runtime import Runtime
from cloudpc.installation import installation_id
from cloudpc.lifecycle import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.problems import InvalidConfigurationError
from cloudpc.provisioning.tags import machine_id


def run(stacks: Path) -> None:
    """Declare the stack's resources.

    Args:
        stacks: the folder of the stacks' files.

    Raises:
        pulumi.RunError: bad input or unreadable state, in words; nothing was registered.
    """
    policy_id = pulumi.get_stack()
    leave_out_debug_lines()
    try:
        inputs = configuration.read(policy_id, _values(), stacks)
        recorded = state.read(policy_id)
        installation = installation_id(
            inputs.configuration.installation,
            recorded.provisioning_policy.get("installation"),
            stacks.parent / ".cloudpc",
        )
    except (InvalidConfigurationError, DirectoryError, state.StateError, ValueError) as error:
        raise pulumi.RunError(str(error)) from None
    today = lifecycle.Today(policy_id, installation, inputs.policy.cloud_pc_naming_template, inputs.settings)
    owed = entitlement.entitled(inputs.policy, inputs.snapshot)
    plan = lifecycle.reconcile(recorded.cloud_pcs, owed, today)
    _tell(plan, recorded.cloud_pcs)
    leave_out_stack_traces()
    ProvisioningPolicy(policy_id, _policy_props(inputs, installation))
    made = [(desired, CloudPC(desired)) for desired in plan.desired]
    if not pulumi.runtime.is_dry_run():
        _finish(made, recorded.cloud_pcs, inputs, installation, stacks)
    statuses = pulumi.Output.all(*(cloud_pc.status for _, cloud_pc in made))
    pulumi.export("cloudPcs", statuses.apply(lambda all_: dict(sorted(Counter(all_).items()))))


def _values() -> dict[str, Any]:
    """This project's configuration values; structured ones arrive as JSON."""
    from pulumi.runtime.config import CONFIG

    values: Mapping[str, str] = CONFIG.get()
    return {
        key: json.loads(value) if value[:1] in ("{", "[") else value
        for key, value in values.items()
        if key.startswith(configuration.NAMESPACE)
    }


def _policy_props(inputs: StackInputs, installation: str) -> dict[str, Any]:
    groups = entitlement.assigned_groups(inputs.policy, inputs.snapshot)
    return {
        "displayName": inputs.policy.display_name,
        "description": inputs.policy.description,
        "installation": installation,
        "assignments": sorted(f"{group.display_name} ({group.id})" for group in groups),
    }


def _tell(plan: lifecycle.Reconciliation, recorded: Mapping[str, RecordedCloudPC]) -> None:
    for notice in plan.notices:
        pulumi.log.info(notice.message)
    if pulumi.runtime.is_dry_run():
        return
    for failed in (r for r in recorded.values() if r.status is Status.FAILED):
        detail = failed.status_detail
        why = f"{detail.message} [{detail.code}]" if detail else "no reason recorded"
        pulumi.log.warn(f"{failed.user_principal_name} ({failed.service_plan.display_name}) stays failed: {why}")


def _finish(
    made: list[tuple[DesiredCloudPC, CloudPC]],
    recorded: Mapping[str, RecordedCloudPC],
    inputs: StackInputs,
    installation: str,
    stacks: Path,
) -> None:
    """Mark new machines as their users' once state has them, and finish what dead runs of this policy left.

    The engine answers a registration only after state has recorded it, so what is marked is recorded (design rule 12).
    """
    runtime = Runtime(inputs.configuration.hosts, dict(inputs.configuration.images), stacks)

    def hand_over(values: list[Any]) -> Any:
        status, machine, host = values
        return asyncio.to_thread(runtime.hand_over, machine, host) if status in USABLE else None

    living: dict[UUID, str] = {}
    wanted: set[UUID] = set()
    for desired, cloud_pc in made:
        before = recorded.get(desired.key)
        identity = machine_id(installation, desired.user_id, desired.service_plan.id)
        if before is not None and before.status in USABLE:
            living[identity] = before.host
        elif before is None or lifecycle.next_step(before, desired) is lifecycle.Step.PROVISION:
            wanted.add(identity)
            pulumi.Output.all(cloud_pc.status, cloud_pc.id, cloud_pc.host).apply(hand_over)

    def tidy() -> bool:
        for name in runtime.tidy(installation, inputs.policy_id, living, wanted):
            pulumi.log.info(f"removed {name}, which an interrupted run had begun")
        return True

    def start_tidying(_: list[Any]) -> Any:
        return asyncio.to_thread(tidy)

    pulumi.Output.all().apply(start_tidying)
