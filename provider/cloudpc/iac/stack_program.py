"""The Pulumi program of a stack: one provisioning policy and its Cloud PCs."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pulumi
from pulumi.output import UNKNOWN

from cloudpc import guests
from cloudpc.configuration import parsing, reading
from cloudpc.configuration.installation import installation_id
from cloudpc.configuration.reading import StackInputs
from cloudpc.configuration.values import NAMESPACE, Values
from cloudpc.directory.opening import Directories, Known, names_of
from cloudpc.iac import checkpoints, encryption_salt, fleet, passphrase, sibling_facts, state
from cloudpc.iac.engine import OWN_FOLDER, Engine, EngineError
from cloudpc.iac.engine_log import displayed
from cloudpc.iac.records import StateError, ended_outputs
from cloudpc.iac.resources import CloudPC, ProvisioningPolicy, leave_out_debug_lines, leave_out_stack_traces
from cloudpc.model.cloud_pc import USABLE, DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.directory import Snapshot
from cloudpc.model.errors import CloudPCError
from cloudpc.model.machines import Host
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.operations import audit, first_run, look, renamed, tidying, twins
from cloudpc.operations.consent import ACCEPT_LOSS, Consent
from cloudpc.operations.overview import Look
from cloudpc.operations.records import StackRecord
from cloudpc.operations.runtime import Runtime
from cloudpc.operations.tidying import Meant
from cloudpc.rules import entitlement, lifecycle
from cloudpc.rules.ownership import OwnFacts, PolicyFacts
from cloudpc.rules.today import Today
from cloudpc.rules.too_small import too_small

_COLLECTED_AFTER = (50_000, 20, 50)
"""For Python's collector of cycles. All that a run declares lives to its end; with the usual (700, 10, 10), looking
through it again and again is half of the program's processor time with 1,000 Cloud PCs, for no memory less."""
_ENDED_KEPT = 200
_FEW = 2
"""This many Cloud PCs may always enter their grace period, whatever share of the policy's they are."""


def declare(stacks: Path, resources: Mapping[str, Any] | None) -> None:
    """See program.run.

    Args:
        stacks: as there.
        resources: what state has of this stack, by URN; None: that is not known yet.
    """
    policy_id = pulumi.get_stack()
    gc.set_threshold(*_COLLECTED_AFTER)
    leave_out_debug_lines()
    try:
        _check_passphrase(policy_id, stacks)
        recorded = state.read(policy_id, resources) or StackRecord(policy_id)
        _check_name(policy_id, recorded)
        values = _values()
        runtime = _runtime(values, stacks)
        hosts = runtime.hosts if runtime else ()
        seen, which = Look(hosts, recorded.by_key), twins.ask(hosts)
        siblings = _siblings(policy_id, stacks)
        known = _known(recorded, siblings)
        inputs = reading.read(policy_id, values, Directories.shared(stacks), known)
        installation = installation_id(
            inputs.configuration.installation,
            recorded.installation,
            stacks.parent / OWN_FOLDER,
        )
        twins.check(which)
        _check_first_run(
            [h for h in hosts if h.name not in which.silent], inputs, installation, recorded, stacks.parent
        )
    except CloudPCError as error:
        raise pulumi.RunError(displayed(str(error))) from None
    found = datetime.now(UTC)
    now = found.replace(microsecond=0)
    changed, before = seen.changed(_warn, found), recorded.by_key
    _tell_changed(changed, before, inputs.snapshot)
    own = recorded.facts(_assigned(inputs, recorded, now), changed)
    plan = _plan(inputs, installation, own, siblings, recorded, now)
    _stop_mass_loss(plan, inputs, own)
    for warning in (*inputs.snapshot.warnings, *inputs.warnings, *_too_small(inputs)):
        _warn(warning)
    for notice in plan.notices:
        if not (pulumi.runtime.is_dry_run() or notice.warning or notice.key in before):
            continue  # a run shows each new one as it is made
        (_warn if notice.warning else _info)(notice.message)
    _tell_failed(before, plan, inputs.snapshot)
    leave_out_stack_traces()
    audited = inputs.configuration.audit
    file = audit.target(audited.path if audited else None, stacks, _warn)
    if file and not pulumi.runtime.is_dry_run():
        audit.catch_up(file, before.values(), _warn)
    if checkpoints.ONLY_POLICY in os.environ and not recorded.has_run:
        ProvisioningPolicy(policy_id, _policy_props(inputs, installation, own, recorded, plan), has_cloud_pcs=True)
        return
    ProvisioningPolicy(
        policy_id,
        _policy_props(inputs, installation, own, recorded, plan),
        has_cloud_pcs=any(d.desired_status is not Status.DEPROVISIONING for d in plan.desired),
    )
    made = [(desired, CloudPC(desired, _word(changed.get(desired.key)))) for desired in plan.desired]
    if runtime and not pulumi.runtime.is_dry_run():
        _finish(made, own.cloud_pcs, inputs, installation, runtime, seen, {*which.silent, *seen.silent})
    pulumi.export("cloudPcs", _counted([cloud_pc.status for _, cloud_pc in made]))


def _counted(statuses: Sequence[pulumi.Output[str]]) -> pulumi.Output[dict[str, int]]:
    """How many have each status. Pulumi's own `Output.all` copies the resources met so far for each one more."""

    async def counted() -> Any:
        if not all(await asyncio.gather(*(status.is_known() for status in statuses))):
            return UNKNOWN
        return dict(sorted(Counter(await asyncio.gather(*(status.future() for status in statuses))).items()))

    return pulumi.Output.from_input(counted())


def _info(message: str) -> None:
    pulumi.log.info(displayed(message))


def _warn(message: str) -> None:
    pulumi.log.warn(displayed(message))


def _check_passphrase(policy_id: str, stacks: Path) -> None:
    """Raises InvalidConfigurationError: passwords would be sealed with an empty one."""
    engine = Engine(stacks.parent, inside_a_run=True)
    if wrong := passphrase.problem(stacks / f"Pulumi.{policy_id}.yaml", engine):
        raise InvalidConfigurationError([wrong])


def _values() -> Values:
    """This project's configuration values; structured ones arrive as JSON."""
    from pulumi.runtime.config import CONFIG, is_config_secret

    given: Mapping[str, str] = CONFIG.get()
    values = {key: value for key, value in given.items() if key.startswith(NAMESPACE)}
    return Values(values, {}, {key: value for key, value in values.items() if is_config_secret(key)})


def _check_name(stack: str, recorded: StackRecord) -> None:
    """Raises StateError: the stack has been renamed."""
    if why := renamed.refusal(stack, recorded.policies, [c.recorded.policy_id for c in recorded.cloud_pcs]):
        raise StateError(why)


def _check_first_run(
    hosts: Sequence[Host], inputs: StackInputs, installation: str, recorded: StackRecord, root: Path
) -> None:
    """Raises StrangersError, EngineError: see `first_run`. Whoever adopts has seen the list of machines and agreed."""
    if not recorded.has_run and inputs.configuration.installation and not Consent.of_this_run().adopt:
        engine = Engine(root, inside_a_run=True)
        first_run.check(hosts, inputs.policy_id, installation, partial(fleet.read_all, engine))


def _runtime(values: dict[str, Any], stacks: Path) -> Runtime | None:
    """What this run works with; None where the configuration is wrong, which is reported completely a moment later."""
    try:
        return Runtime(parsing.parse_surroundings(values), stacks)
    except InvalidConfigurationError:
        return None


def _siblings(own: str, stacks: Path) -> list[PolicyFacts]:
    """The other policies that have run; state says what they are assigned to.

    One whose file is not here, as on another branch, keeps the Cloud PCs that it has; nobody runs it to make others.

    Raises:
        EngineError: it is not known which there are.
    """
    engine = Engine(stacks.parent, inside_a_run=True)
    names, found = engine.stacks(), []
    if own not in names:  # then this is not the backend that the run's engine works with
        raise EngineError(
            "the other policies' stacks can't be listed, so it is not known whom they serve; "
            "write PULUMI_BACKEND_URL with the whole path of its folder"
        )
    for policy_id in names:
        if policy_id != own and (facts := sibling_facts.read(policy_id, engine, state.read)):
            file = stacks / f"Pulumi.{policy_id}.yaml"
            has_file = file.is_file() and not encryption_salt.is_all(file)
            found.append(facts if has_file else replace(facts, assigned={}))
    return found


def _known(recorded: StackRecord, siblings: list[PolicyFacts]) -> Known:
    """What the directory must be asked about whatever the policy's file says now."""
    groups = {*recorded.assigned, *(group for sibling in siblings for group in sibling.assigned)}
    groups.update(*recorded.taken_away.values())
    users = frozenset(c.user_id for c in recorded.cloud_pcs)
    return Known(frozenset(groups), users, names_of(recorded.group_names))


def _assigned(inputs: StackInputs, recorded: StackRecord, now: datetime) -> dict[str, datetime]:
    """This policy's groups with the time each assignment was first seen: kept from run to run (rule 2)."""
    groups = entitlement.assigned_groups(inputs.policy, inputs.snapshot)
    return {group.id: recorded.assigned.get(group.id, now) for group in groups}


def _plan(
    inputs: StackInputs,
    installation: str,
    own: OwnFacts,
    siblings: list[PolicyFacts],
    recorded: StackRecord,
    now: datetime,
) -> lifecycle.Reconciliation:
    today = Today(
        own.policy_id,
        installation,
        inputs.policy.cloud_pc_naming_template,
        inputs.settings,
        guests.named(inputs.settings.guest_os).account_name,
        inputs.policy.grace_period_in_hours,
        inputs.configuration.actions,
    )
    return lifecycle.plan(
        inputs.policy,
        inputs.snapshot,
        own,
        siblings,
        today,
        now,
        formerly_assigned=recorded.group_names,
        taken_away=recorded.taken_away,
    )


def _stop_mass_loss(plan: lifecycle.Reconciliation, inputs: StackInputs, own: OwnFacts) -> None:
    """A directory that has lost many at once is more likely wrong than right: a person decides (rule 10)."""
    count = len(plan.lost_by_directory)
    usable = sum(pc.status_if_there in USABLE for pc in own.cloud_pcs.values())
    share = inputs.configuration.safety.mass_loss_in_percent
    if count <= _FEW or count * 100 <= usable * share or Consent.of_this_run().accept_loss == count:
        return
    some = ", ".join(_present_name(own.cloud_pcs[key], inputs.snapshot) for key in plan.lost_by_directory[:5])
    message = (
        f"{count} of {usable} Cloud PCs of this policy would enter their grace period because of the directory "
        f"({some}{', …' if count > 5 else ''}). Nothing was touched. If that is right: "
        f"`cloudpc up {own.policy_id} --accept-loss {count}`, or {ACCEPT_LOSS}={count} with plain pulumi"
    )
    raise pulumi.RunError(displayed(message))


def _policy_props(
    inputs: StackInputs, installation: str, own: OwnFacts, recorded: StackRecord, plan: lifecycle.Reconciliation
) -> dict[str, Any]:
    names = entitlement.names_written(inputs.policy, inputs.snapshot)
    return {
        "displayName": inputs.policy.display_name,
        "description": inputs.policy.description,
        "installation": installation,
        "assignments": [
            {"groupId": group_id, "displayName": names[group_id], "firstSeen": seen.isoformat()}
            for group_id, seen in sorted(own.assigned.items())
        ],
        "ended": [ended_outputs(ended) for ended in (*recorded.ended, *recorded.newly_ended)[-_ENDED_KEPT:]],
        "takenAway": {key: list(groups) for key, groups in sorted(plan.taken_away.items())},
    }


def _present_name(pc: RecordedCloudPC, snapshot: Snapshot) -> str:
    """The name in the directory now; for users who are no longer there, the former one."""
    user = snapshot.users.get(pc.user_id)
    return user.user_principal_name if user else pc.user_principal_name


def _word(changed: RecordedCloudPC | None) -> str:
    """What the look has found, for the resource's inputs; empty where it found nothing new."""
    if changed is None:
        return ""
    return changed.status_detail.code if changed.status_detail else changed.power_state


def _tell_changed(
    changed: Mapping[str, RecordedCloudPC], recorded: Mapping[str, RecordedCloudPC], snapshot: Snapshot
) -> None:
    """For a preview: in a run the provider reports what it has found. The plan reports machines that stand still."""
    if not pulumi.runtime.is_dry_run():
        return
    for key, pc in changed.items():
        if pc.events != recorded[key].events:
            who = f"{_present_name(pc, snapshot)} ({pc.service_plan.display_name})"
            (_warn if pc.status_detail else _info)(f"{who}: {look.told_seen(pc)}")


def _too_small(inputs: StackInputs) -> list[str]:
    """Said before anything is made. One user's plan stops nobody else's Cloud PC, as in Windows 365."""
    small = too_small(inputs.policy, inputs.snapshot, inputs.minimum_memory_mib)
    told = f"the image {inputs.policy.image_id} {small}; a Cloud PC of such a plan fails when it is made, or made again"
    return [told] if small else []


def _tell_failed(recorded: Mapping[str, RecordedCloudPC], plan: lifecycle.Reconciliation, snapshot: Snapshot) -> None:
    if pulumi.runtime.is_dry_run():
        return
    told = {notice.key for notice in plan.notices}
    for failed in (r for key, r in recorded.items() if r.status is Status.FAILED and key not in told):
        detail = failed.status_detail
        why = f"{detail.message} [{detail.code}]" if detail else "no reason recorded"
        _warn(f"{_present_name(failed, snapshot)} ({failed.service_plan.display_name}) stays failed: {why}")


def _finish(
    made: list[tuple[DesiredCloudPC, CloudPC]],
    recorded: Mapping[str, RecordedCloudPC],
    inputs: StackInputs,
    installation: str,
    runtime: Runtime,
    seen: Look,
    silent: Collection[str],
) -> None:
    """Mark new machines as their users' once state has them, and finish what dead runs of this policy left.

    The engine answers a registration only after state has recorded it, so what is marked is recorded (rule 12). Not so
    where it writes state at its end alone: then `cloudpc up` marks them after that, or the next run's tidying.
    """
    are_recorded = not checkpoints.are_skipped()

    def hand_over(values: list[Any]) -> Any:
        status, machine, host = values
        return asyncio.to_thread(runtime.hand_over, machine, host) if status in USABLE else None

    living: dict[UUID, RecordedCloudPC] = {}
    wanted: set[UUID] = set()
    for desired, cloud_pc in made:
        before = recorded.get(desired.key)
        identity = desired.machine_id
        if before is None or lifecycle.makes_machine(before, desired):
            wanted.add(identity)
            if are_recorded:
                pulumi.Output.all(cloud_pc.status, cloud_pc.id, cloud_pc.host).apply(hand_over)
        elif before.has_machine:
            living[identity] = before

    def tidy() -> None:
        known = {pc.machine_id for pc in recorded.values()}
        meant = Meant(installation, inputs.policy_id, living, wanted, known, seen.handed_over, silent)
        for name in tidying.tidy(runtime.hosts, runtime.removal, meant):
            _info(f"removed {name}, which an interrupted run had begun or a failed one had left for diagnosis")

    def start_tidying(_: list[Any]) -> Any:
        return asyncio.to_thread(tidy)

    pulumi.Output.all().apply(start_tidying)
