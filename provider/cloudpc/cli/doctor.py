"""`cloudpc doctor`: is everything there, does it work, and is anything left over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import typer

from cloudpc.cli import doctor_organisation
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, Json, confirm, out, print_json, styled, table
from cloudpc.configuration import parsing
from cloudpc.configuration.installation import recorded_id
from cloudpc.iac.engine import OWN_FOLDER, EngineError
from cloudpc.model.check import Check
from cloudpc.model.directory import DirectoryError
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.hosts import ByHand, HostConfig
from cloudpc.model.machines import Host, Hypervisor, Machine, PowerState, Removed, State
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.model.remnants import Remnant, left_over, uncertain
from cloudpc.model.tags import Phase
from cloudpc.model.text import command_line
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations import renamed, twins
from cloudpc.operations.asked import Asked
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.operations.runtime import connect

_RESULTS = {"passed": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("failed", "red")}
"""What a check came to in doctor's words, and their colour."""


def doctor(
    remove: Annotated[
        bool, typer.Option("--remove-leftovers", help="Remove unfinished machines and volumes without one.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before removing.")] = False,
    as_json: Json = False,
) -> None:
    """Check engine, state, policies, hosts and what is left over. Exits with 1 if something doesn't work."""
    if remove:
        confirm("Remove what is unfinished? No run may be working on it anywhere.", yes=yes)
    findings = list(_findings(Project(), remove=remove))
    if as_json:
        print_json([_as_json(f) for f in findings])
    else:
        shown = table("CHECK", "RESULT", "DETAIL")
        for f in findings:
            text = f.detail + (f" -> {f.hint}" if f.hint else "")
            shown.add_row(f.what, styled(*_RESULTS[f.status]), text)
        out.print(shown)
    if any(f.status == "failed" for f in findings):
        raise typer.Exit(Exit.ERROR)


def _as_json(check: Check) -> dict[str, Any]:
    return {"what": check.what, "state": _RESULTS[check.status][0], "detail": check.detail, "hint": check.hint}


def _findings(project: Project, *, remove: bool) -> Iterator[Check]:
    seen = doctor_organisation.Seen()
    records: list[StackRecord] = []
    readable = False
    try:
        yield _backend(project)
    except InvalidConfigurationError as error:
        yield from (Check("backend", "failed", str(problem)) for problem in error.problems)
        return
    except EngineError as error:
        yield Check("backend", "failed", str(error))
        return
    try:
        version = project.engine.read(["version"]).strip()
        yield Check("engine", "passed", f"pulumi {version}")
    except EngineError as error:
        yield Check("engine", "failed", str(error), "run `make setup`, then `. .cloudpc/env`")
    try:
        records = project.records()
        readable = True
        stacks = f"{len(records)} stack{'' if len(records) == 1 else 's'}"
        yield Check("state", "passed", f"{stacks}, {sum(len(r.cloud_pcs) for r in records)} Cloud PCs")
    except (EngineError, CommandError) as error:
        yield Check("state", "failed", str(error), "until it can be read, nobody can say what is left over")
        seen.doubts.append("state can't be read")
    yield from _stacks(project, records, seen)
    surroundings: dict[str, tuple[parsing.Surroundings, bool]] = {}
    for name in project.policy_ids():
        yield from _policy(project, name, surroundings)
        if name not in surroundings:
            seen.doubts.append(f"the hosts of the policy {name} are not known")
    ids = {project.installation(name, None) for name in surroundings} | {r.installation for r in records}
    installations = sorted(filter(None, ids | {recorded_id(project.root / OWN_FOLDER)})) if readable else []
    busy = {record.policy for record in records if project.locks(record.policy)}
    inventory = Inventory.of(records)  # wherever state says: a host may have another name, or two
    for config in _each_once(surroundings):
        yield from _host(config, installations, inventory, busy, seen, remove=remove)
    yield from _twins(surroundings)
    everything = doctor_organisation.Known(
        installations, doctor_organisation.owners(records) | seen.owners, seen, remove=remove
    )
    yield from doctor_organisation.findings(project, surroundings, records, everything)


def _backend(project: Project) -> Check:
    backend, hint = project.engine.backend, "set PULUMI_BACKEND_URL; or `make setup`, for one of this project's own"
    if backend.url:
        return Check("backend", "passed", str(backend))
    return Check("backend", "failed", str(backend), hint)


def _policy(project: Project, name: str, surroundings: dict[str, tuple[parsing.Surroundings, bool]]) -> Iterator[Check]:
    """Whether its file can be run; adds what it is surrounded by, and whether its directory is a tenant."""
    try:
        values = project.values(name)
        surroundings[name] = (parsing.parse_surroundings(values), parsing.uses_tenant(values))
        project.inputs(name)
        wrong = project.sealing_problems(name)
        yield from (Check(f"policy {name}", "failed", str(problem)) for problem in wrong)
        marked = "; marked as deleted, goes with its last Cloud PC" if project.is_marked_as_deleted(name) else ""
        if not wrong:
            yield Check(f"policy {name}", "passed", f"valid{marked}")
    except InvalidConfigurationError as error:
        for problem in error.problems:
            yield Check(f"policy {name}", "failed", str(problem))
    except DirectoryError as error:
        yield Check(f"policy {name}", "failed", str(error))


def _stacks(project: Project, records: Sequence[StackRecord], seen: doctor_organisation.Seen) -> Iterator[Check]:
    """What is wrong with state, and who works on it."""
    files = project.policy_ids()
    for policy in (record.policy for record in records if record.policy not in files):
        hint = f"bring the file back, or remove everything with `cloudpc down {policy}`"
        yield Check(f"policy {policy}", "warning", "its stack has no file in stacks/", hint)
        seen.doubts.append(f"the hosts of the policy {policy} are not known")
    for record in records:
        made_by = [c.recorded.policy_id for c in record.cloud_pcs]
        if why := renamed.refusal(record.policy, record.policies, made_by):
            yield Check(f"policy {record.policy}", "failed", why)
    for policy in (record.policy for record in records):
        if held := project.locks(policy):
            dead = all(lock.dead for lock in held)
            detail = f"its lock was {'; '.join(map(str, held))}" + (", by a run that is dead" if dead else "")
            hint = f"`cloudpc up {policy} --clear-lock` takes it away" if dead else "a run is at work on it"
            yield Check(f"policy {policy}", "warning", detail, hint)
            seen.doubts.append(f"a run is, or was, at work on {policy}")
    holders: dict[str, list[CloudPCRecord]] = {}
    for record in records:
        for cloud_pc in record.cloud_pcs:
            if cloud_pc.recorded.has_machine:
                holders.setdefault(cloud_pc.key, []).append(cloud_pc)
    for several in holders.values():
        if len(several) > 1:
            policies = " and ".join(c.policy for c in several)
            who = f"Cloud PC of {several[0].user_principal_name} ({several[0].service_plan})"
            hint = "its machine is of the policy in its tag; take it out of the other's state: " + " or ".join(
                command_line("pulumi", "state", "delete", "--force", "--stack", c.policy, c.urn) for c in several
            )
            yield Check(who, "warning", f"{policies} both have it in state", hint)


def _each_once(surroundings: Mapping[str, tuple[parsing.Surroundings, bool]]) -> list[HostConfig]:
    """The hosts of all policies; those with the same holdings once."""
    return list({h.holdings: h for configured, _ in surroundings.values() for h in configured.hosts}.values())


def _twins(surroundings: Mapping[str, tuple[parsing.Surroundings, bool]]) -> Iterator[Check]:
    by_policy = {policy: configured.hosts for policy, (configured, _) in surroundings.items()}
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


def _host(
    config: HostConfig,
    installations: list[str],
    inventory: Inventory,
    busy: set[str],
    seen: doctor_organisation.Seen,
    *,
    remove: bool,
) -> Iterator[Check]:
    what = f"host {config.name}"
    try:
        host = connect(config)
        for check in host.check():
            yield Check(f"{what}: {check.what}", check.status, check.detail, check.hint)
        for installation in installations:
            yield from _left_over(what, config.by_hand, host, installation, inventory, busy, seen, remove=remove)
    except ProvisioningError as error:
        seen.doubts.append(f"the host {config.name} did not answer")
        yield Check(what, "failed", error.message, error.hint)


def _standing_still(what: str, machines: Sequence[Machine]) -> Iterator[Check]:
    """Their users can't work, and state may not know yet."""
    for machine in (m for m in machines if m.power is not PowerState.RUNNING and m.state is not State.GOING):
        how = f"paused: {machine.paused_because}" if machine.power is PowerState.PAUSED else "off"
        detail = f"{machine.name} ({machine.tag.device_name}, policy {machine.tag.policy_id}) is {how}"
        yield Check(f"{what}: machines", "warning", detail, "the next run of its policy has it go on, if it can")


def _left_over(
    what: str,
    by_hand: ByHand,
    host: Host,
    installation: str,
    inventory: Inventory,
    busy: set[str],
    seen: doctor_organisation.Seen,
    *,
    remove: bool,
) -> Iterator[Check]:
    known, recorded = inventory.given, inventory.remembered
    all_ = host.owned(installation)
    machines = [m for m in all_ if m.id not in known]
    if remove:
        unfinished = [m for m in machines if m.state is not State.THERE and m.tag.policy_id not in busy]
        unfinished = [m for m in unfinished if host.delete(m.id, Watch().within(REMOVED_WITHIN)) is Removed.GONE]
        volumes = left_over(host.remnants(installation), known, recorded, datetime.now(UTC))
        if removed := [m.name for m in unfinished] + host.discard(volumes):
            yield Check(f"{what}: left over", "passed", f"removed {', '.join(removed)}")
        machines = [m for m in machines if m not in unfinished]
    seen.add(machines, [m for m in all_ if m.id in known])
    yield from _standing_still(what, [m for m in all_ if m.id in known])
    unreadable = host.unreadable(installation, known)
    for identity, name in unreadable.items():
        seen.doubts.append(f"{name} carries no tag that can be read")
        whose = "state knows it: `cloudpc adopt` writes its tag anew" if identity in known else "no state knows it"
        hint = f"{whose}; if a newer cloudpc made it, use that one"
        yield Check(f"{what}: tag", "failed", f"{name} carries no tag that can be read; nothing is done to it", hint)
    for machine in machines:
        if machine.state is State.GOING:
            hint = "its host has accepted that; each run of its policy looks again"
            yield Check(f"{what}: left over", "warning", f"{machine.name} is being removed", hint)
        elif machine.tag.phase is not Phase.HANDED_OVER:
            hint = "a run may be working on it; else the next `up` of its policy adopts or removes it"
            yield Check(f"{what}: left over", "warning", f"{machine.name} is unfinished", hint)
        else:
            detail = f"{machine.name} ({machine.tag.device_name}, policy {machine.tag.policy_id}) is in no state"
            yield Check(
                f"{what}: left over", "warning", detail, "`cloudpc adopt` takes it back, or removes it with its data"
            )
    told = list(_volumes(f"{what}: left over", by_hand, host.remnants(installation), known, recorded))
    yield from told
    if not machines and not told and not unreadable:
        yield Check(f"{what}: left over", "passed", "nothing")


def _volumes(
    what: str, by_hand: ByHand, remnants: list[Remnant], known: frozenset[UUID], recorded: frozenset[UUID]
) -> Iterator[Check]:
    for each in left_over(remnants, known, recorded, datetime.now(UTC)):
        yield Check(what, "warning", f"{each.kind} {each.name} has no machine", "--remove-leftovers")
    for each in (r for r in remnants if r.kind.may_hold_data and r.is_of(known)):
        detail = f"{each.kind} {each.name} is of a Cloud PC in state whose machine is not defined any more"
        hint = "define the machine again; `cloudpc reprovision` makes a new one, without that disk"
        yield Check(what, "warning", detail, hint)
    for each in uncertain(remnants, recorded):
        detail = f"{each.kind} {each.name} has no machine; its name, of an older cloudpc, does not say whose it is"
        hint = f"it may be another installation's: look at it, and remove it {by_hand.removing} if it is not"
        yield Check(what, "warning", detail, hint)
