"""`cloudpc doctor`: is everything there, does it work, and is anything left over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape

from cloudpc import configuration
from cloudpc.cli import doctor_organisation
from cloudpc.cli.cloud_pcs import Json
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, confirm, out, print_json, table
from cloudpc.directory.interface import DirectoryError
from cloudpc.hosts import HostConfig
from cloudpc.iac.engine import EngineError
from cloudpc.iac.fleet import StackRecord
from cloudpc.iac.runtime import connect
from cloudpc.installation import recorded_id
from cloudpc.machines.interface import Check, Host
from cloudpc.problems import InvalidConfigurationError
from cloudpc.provisioning.errors import ProvisioningError
from cloudpc.provisioning.tags import Phase, machine_id

_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]failed[/]"}


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
        print_json([asdict(f) for f in findings])
    else:
        shown = table("CHECK", "RESULT", "DETAIL")
        for f in findings:
            text = f.detail + (f" -> {f.hint}" if f.hint else "")
            shown.add_row(f.what, _MARKS[f.state], escape(text))
        out.print(shown)
    if any(f.state == "failed" for f in findings):
        raise typer.Exit(Exit.ERROR)


def _findings(project: Project, *, remove: bool) -> Iterator[Check]:
    records: list[StackRecord] = []
    readable = False
    seen = doctor_organisation.Seen()
    try:
        version = project.engine.read(["version"]).strip()
        yield Check("engine", "ok", f"pulumi {version}")
        records = project.records()
        readable = True
        stacks = f"{len(records)} stack{'' if len(records) == 1 else 's'}"
        yield Check("state", "ok", f"{stacks}, {sum(len(r.cloud_pcs) for r in records)} Cloud PCs")
    except (EngineError, CommandError) as error:
        yield Check("engine", "failed", str(error), "run `make setup`, then `. .cloudpc/env`")
    files = project.policy_ids()
    for record in records:
        if record.policy not in files:
            hint = f"bring the file back, or remove everything with `cloudpc down {record.policy}`"
            yield Check(f"policy {record.policy}", "warning", "its stack has no file in stacks/", hint)
            seen.doubts.append(f"the hosts of the policy {record.policy} are not known")
    hosts: dict[str, HostConfig] = {}
    surroundings: dict[str, tuple[configuration.Surroundings, bool]] = {}
    for name in files:
        try:
            configured = configuration.parse_surroundings(project.values(name))
            hosts |= {host.uri: host for host in configured.hosts}
            surroundings[name] = (configured, configuration.uses_tenant(project.values(name)))
            configuration.read(name, project.values(name), project.directories)
            yield Check(f"policy {name}", "ok", "valid")
        except InvalidConfigurationError as error:
            for problem in error.problems:
                yield Check(f"policy {name}", "failed", str(problem))
        except DirectoryError as error:
            yield Check(f"policy {name}", "failed", str(error))
    seen.doubts += [f"the hosts of the policy {name} are not known" for name in files if name not in surroundings]
    ids = {project.installation(name, None) for name in surroundings} | {r.installation for r in records}
    installations = sorted(filter(None, ids | {recorded_id(project.root / ".cloudpc")}))
    busy = {record.policy for record in records if project.locks(record.policy)}
    for policy in sorted(busy):
        held = project.locks(policy)
        dead = all(lock.dead for lock in held)
        detail = f"its lock was {'; '.join(map(str, held))}" + (", by a run that is dead" if dead else "")
        hint = f"`cloudpc up {policy} --clear-lock` takes it away" if dead else "a run is at work on it"
        yield Check(f"policy {policy}", "warning", detail, hint)
    seen.doubts += [f"a run is, or was, at work on {policy}" for policy in sorted(busy)]
    configured_names = {host.name for host in hosts.values()}
    for config in hosts.values():
        known = {
            machine_id(c.outputs["installation"], c.outputs["userId"], c.outputs["servicePlan"]["id"])
            for record in records
            for c in record.cloud_pcs
            if c.recorded.has_machine
            # one that was renamed in cloudpc:hosts may be any of those that are there
            and (c.recorded.host == config.name or c.recorded.host not in configured_names)
        }
        yield from _host(config, installations, known, busy, seen, remove=remove and readable)
    everything = doctor_organisation.Known(
        installations, doctor_organisation.owners(records) | seen.owners, seen, remove=remove and readable
    )
    yield from doctor_organisation.findings(project, surroundings, records, everything)


def _host(
    config: HostConfig,
    installations: list[str],
    known: set[UUID],
    busy: set[str],
    seen: doctor_organisation.Seen,
    *,
    remove: bool,
) -> Iterator[Check]:
    what = f"host {config.name}"
    try:
        host = connect(config)
        for check in host.check():
            yield Check(f"{what}: {check.what}", check.state, check.detail, check.hint)
        for installation in installations:
            yield from _left_over(what, host, installation, known, busy, seen, remove=remove)
    except ProvisioningError as error:
        seen.doubts.append(f"the host {config.name} did not answer")
        yield Check(what, "failed", error.message, error.hint)


def _left_over(
    what: str,
    host: Host,
    installation: str,
    known: set[UUID],
    busy: set[str],
    seen: doctor_organisation.Seen,
    *,
    remove: bool,
) -> Iterator[Check]:
    all_ = host.owned(installation)
    machines = [m for m in all_ if m.id not in known]
    volumes = host.leftovers(installation)
    if remove:
        unfinished = [m for m in machines if m.tag.phase is Phase.PROVISIONING and m.tag.policy_id not in busy]
        for machine in unfinished:
            host.delete(machine.id)
        removed = [m.name for m in unfinished] + host.remove_leftovers(installation)
        if removed:
            yield Check(f"{what}: left over", "ok", f"removed {', '.join(removed)}")
        machines = [m for m in machines if m not in unfinished]
        volumes = host.leftovers(installation)
    seen.add(machines, [m for m in all_ if m.id in known])
    for machine in machines:
        if machine.tag.phase is not Phase.HANDED_OVER:
            hint = "a run may be working on it; else the next `up` of its policy adopts or removes it"
            yield Check(f"{what}: left over", "warning", f"{machine.name} is unfinished", hint)
        else:
            detail = f"{machine.name} ({machine.tag.device_name}, policy {machine.tag.policy_id}) is in no state"
            yield Check(
                f"{what}: left over", "warning", detail, "`cloudpc adopt` takes it back, or removes it with its data"
            )
    for volume in volumes:
        yield Check(f"{what}: left over", "warning", f"volume {volume} has no machine", "--remove-leftovers")
    if not machines and not volumes:
        yield Check(f"{what}: left over", "ok", "nothing")
