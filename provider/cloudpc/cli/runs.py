"""`cloudpc up` and `cloudpc down`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from cloudpc.cli.cloud_pcs import print_rows
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, confirm, err, out
from cloudpc.iac import file_backend, fleet
from cloudpc.iac.engine import ALLOW_DELETE
from cloudpc.lifecycle import Status
from cloudpc.problems import InvalidConfigurationError, Problem
from cloudpc.provisioning.tags import machine_id

if TYPE_CHECKING:
    from cloudpc.iac.runtime import Runtime
    from cloudpc.machines.interface import Host, Machine

_CLEAR_PENDING = "--clear-pending-creates"
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def up(
    policies: Annotated[list[str] | None, typer.Argument(help="Names of policies; all of them without.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show Pulumi's preview and ask before the run.")] = False,
    clear_lock: Annotated[
        bool, typer.Option("--clear-lock", help="Take away a lock that a run on this machine left when it died.")
    ] = False,
) -> None:
    """Bring policies up to date: `pulumi up`, 32 operations at once, a table and an exit code at the end.

    Exits with 3 if a Cloud PC is failed afterwards; the others are there all the same.
    """
    project = Project()
    names = policies or project.policy_ids()
    if not names:
        raise CommandError(f"no policies in {project.stacks_folder}", Exit.INVALID)
    if preview and not sys.stdin.isatty():
        raise CommandError("--preview asks before the run, and there is no terminal to ask on", Exit.NOT_CONFIRMED)
    problems: list[Problem] = []
    for name in names:
        problems += [p for p in project.problems(name) if p not in problems]
    if problems:
        raise InvalidConfigurationError(problems)
    for name in names:
        _after_a_dead_run(project, name, clear_lock=clear_lock)
    existing = project.engine.stacks()
    for name in names:
        if name not in existing:
            project.engine.read(["stack", "init", name])
    broken = []
    for name in names:
        options = [] if preview else ["--yes", "--skip-preview"]
        if project.engine.run(["up", "--stack", name, *options]) != 0:
            broken.append(name)
    records = fleet.read(project.engine, names)
    for record in records:
        if record.interrupted and record.policy not in broken:
            # what a dead run had begun has been adopted or removed by this one; Pulumi would go on warning of it
            project.engine.read(["refresh", "--stack", record.policy, "--yes", "--skip-preview", _CLEAR_PENDING])
    rows = [c.as_json() for record in records for c in record.cloud_pcs]
    if rows:
        out.print()
        print_rows(sorted(rows, key=lambda r: (r["policy"], r["userPrincipalName"], r["servicePlan"])))
    if broken:
        raise CommandError(f"`pulumi up` did not end well for {', '.join(broken)}; run it again to go on")
    if any(row["status"] == Status.FAILED for row in rows):
        raise typer.Exit(Exit.FAILED_CLOUD_PC)


def _after_a_dead_run(project: Project, stack: str, *, clear_lock: bool) -> None:
    """Offer the way out where a dead run's lock, or what it had half written, stands in the way."""
    held = project.locks(stack)
    shown = "; ".join(str(lock) for lock in held)
    if not all(lock.dead for lock in held):
        raise CommandError(
            f"another run is working on {stack}: its lock was {shown}. Wait for it to end; if it is surely dead, "
            f"`pulumi cancel --stack {stack} --yes` takes the lock away"
        )
    cut_off = project.cut_off(stack)
    if not held and not cut_off:
        return
    left = [f"left its lock ({shown})"] if held else []
    left += [f"was cut off while it wrote {', '.join(path.name for path in cut_off)}"] if cut_off else []
    err.print(f"A run on {stack} died and {' and '.join(left)}.", markup=False)
    if not clear_lock and not sys.stdin.isatty():
        raise CommandError(
            "run again with --clear-lock; what that run began is finished or removed by the next one"
            + ("" if cut_off else f". Or: `pulumi cancel --stack {stack} --yes`")
        )
    confirm("Take that away and go on? What it began is finished or removed by this run.", yes=clear_lock)
    file_backend.mend(cut_off)
    if held:
        project.engine.read(["cancel", "--stack", stack, "--yes"])


def down(
    policy: Annotated[str, typer.Argument(help="Name of the policy.")],
    yes: _Yes = False,
    clear_lock: Annotated[bool, typer.Option("--clear-lock", help="See `cloudpc up`.")] = False,
) -> None:
    """Remove a policy whole: Cloud PCs with their data, machines, the stack. Its files stay; caches too."""
    from cloudpc import configuration
    from cloudpc.iac.runtime import Runtime

    project = Project()
    _after_a_dead_run(project, policy, clear_lock=clear_lock)
    record = next(iter(project.records(policy)), None)
    values = project.values(policy) if policy in project.policy_ids() else record.configuration if record else {}
    runtime = Runtime(*configuration.parse_hosts_and_images(values), project.stacks_folder)
    installation = project.installation(policy, record)
    if record is None:
        _refuse_to_forget(runtime, installation, policy)
        err.print(f"{policy} has no stack: there is nothing to remove")
        _forget(project, policy)
        return
    _refuse_without_hosts(record, runtime)
    unknown = _unknown_machines(runtime, installation, record)
    if record.cloud_pcs:
        out.print(f"These Cloud PCs of the policy {policy} will be deleted, with all data on them:")
        print_rows([c.as_json() for c in record.cloud_pcs])
    for host, machine in unknown:
        out.print(f"The machine {machine.name} on {host.name}, which state does not know, will be deleted.")
    confirm(f"Remove the policy {policy} from Pulumi's state, with everything above?", yes=yes)
    _destroy(project, policy)
    for host, machine in _unknown_machines(runtime, installation, replace(record, cloud_pcs=())):
        host.delete(machine.id)
        out.print(f"removed {machine.name} on {host.name}")
    project.engine.read(["stack", "rm", policy, "--yes", "--preserve-config"])
    if installation and not project.engine.stacks():
        for host in runtime.hosts:
            for volume in host.remove_leftovers(installation):
                out.print(f"removed {volume} on {host.name}, which had no machine any more")
    _forget(project, policy)
    out.print(f"{policy} is gone")


def _refuse_to_forget(runtime: Runtime, installation: str | None, policy: str) -> None:
    """Without its id nobody could say any more whose a machine is: while there are machines, it is kept."""
    for host in runtime.hosts if installation else ():
        assert installation  # noqa: S101
        if found := [m for m in host.owned(installation) if m.tag.policy_id == policy]:
            names = ", ".join(machine.name for machine in found)
            raise CommandError(
                f"{policy} has no stack in this backend, but machines on {host.name}: {names}. If its state is in "
                "another backend, set PULUMI_BACKEND_URL; if it is lost, look at them with `cloudpc doctor`, and "
                "remove them with `virsh destroy` and `virsh undefine --nvram --remove-all-storage`"
            )


def _refuse_without_hosts(record: fleet.StackRecord, runtime: Runtime) -> None:
    """A Cloud PC whose host is no longer configured could not be deleted, only forgotten."""
    configured = {host.name for host in runtime.hosts}
    if gone := sorted({str(c.outputs["host"]) for c in record.cloud_pcs if c.outputs.get("host")} - configured):
        raise CommandError(
            f"Cloud PCs of {record.policy} are on {', '.join(gone)}, which is not in its cloudpc:hosts; "
            "bring the host back there",
            Exit.INVALID,
        )


def _unknown_machines(
    runtime: Runtime, installation: str | None, record: fleet.StackRecord
) -> list[tuple[Host, Machine]]:
    """The policy's machines that its state does not know."""
    if installation is None:
        return []
    known = {machine_id(installation, c.outputs["userId"], c.outputs["servicePlan"]["id"]) for c in record.cloud_pcs}
    return [
        (host, machine)
        for host in runtime.hosts
        for machine in host.owned(installation, besides=known)
        if machine.tag.policy_id == record.policy
    ]


def _destroy(project: Project, policy: str) -> None:
    project.engine.read(["state", "unprotect", "--all", "--yes", "--stack", policy])
    arguments = ["destroy", "--stack", policy, "--yes", "--skip-preview"]
    if project.engine.run(arguments, env={ALLOW_DELETE: policy}) != 0:
        raise CommandError(f"not everything could be deleted; run `cloudpc down {policy}` again to go on")


def _forget(project: Project, policy: str) -> None:
    """Leave the checkout as it was before the first run."""
    file = project.stacks_folder / f"Pulumi.{policy}.yaml"
    if file.is_file():
        # `pulumi stack init` wrote it, for a stack that is gone
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("encryptionsalt:")]
        if kept != lines:
            file.write_text("".join(kept), encoding="utf-8")
    if project.has_own_backend and not project.backend_has_stacks:
        shutil.rmtree(project.root / ".cloudpc", ignore_errors=True)
