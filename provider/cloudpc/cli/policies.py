"""`cloudpc policy validate|schema|import|delete`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cloudpc.cli import deletion, generations, locks, policy_import, wishes
from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.context import Project
from cloudpc.cli.down import refuse_to_forget
from cloudpc.cli.output import CommandError, Exit, Yes, confirm, err, out, print_json
from cloudpc.cli.owed import Others
from cloudpc.cli.preflight import check
from cloudpc.cli.up import How, bring_up
from cloudpc.configuration import parsing, reading, schemas
from cloudpc.model import drivers
from cloudpc.model.cloud_pc import USABLE, WITH_MACHINE
from cloudpc.model.directory import DirectoryError
from cloudpc.model.problems import Problem, report
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules.actions.end_grace import END_GRACE

if TYPE_CHECKING:
    from cloudpc.operations.host_validation import HostValidation

app = typer.Typer(
    no_args_is_help=True, help="Check provisioning policies before anything is run, import and delete them."
)
app.command("import", no_args_is_help=True)(policy_import.import_)


@app.command()
def validate(
    policies: Annotated[list[str] | None, typer.Argument(help="Names of policies; default: all.")] = None,
    hosts: Annotated[bool, typer.Option("--hosts", help="Ask the hosts, too; nothing is changed there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems as JSON.")] = False,
    unread: Annotated[
        bool,
        typer.Option("--allow-unread", help="Exit with 0 if the only problem is what can't be read here, as in CI."),
    ] = False,
) -> None:
    """Check policies and everything they name, as every run does first.

    Exits with 2 if there are problems, with 1 if a tenant or a host could not be asked, or an encrypted value is one
    that nobody can open here.
    """
    project = Project(pass_over_sealed=True)
    problems: list[Problem] = []
    not_known: list[str] = []
    names = policies or project.policy_ids()
    others = Others.of(project)
    for name in names:
        found, unknown = _validated(project, name, None if as_json else others, hosts=hosts)
        problems += [problem for problem in found if problem not in problems]
        not_known += unknown
    if as_json:
        print_json([{"file": p.file, "field": p.field, "message": p.message, "found": p.found} for p in problems])
    elif problems:
        err.print(report(problems))
    elif not names:
        err.print(f"no policies in {project.stacks_folder}")
    for why in not_known:
        err.print(f"not known: {why}")
    if problems or (not_known and not unread):
        raise typer.Exit(Exit.INVALID if problems else Exit.ERROR)


def _validated(project: Project, name: str, others: Others | None, *, hosts: bool) -> tuple[list[Problem], list[str]]:
    """What is wrong with a policy, and what could not be read; that nothing is wrong is printed, with `others`."""
    try:
        found = project.problems(name, by_state=True)
    except DirectoryError as error:
        return [], [f"{name}: {error}"]
    passed_over = [str(each) for each in project.passed_over.get(name, [])]
    if found or passed_over:
        return found, passed_over
    if small := wishes.too_small(project, name):
        return small, []
    asked = _by_hosts(project, name) if hosts else None
    unread = [f"{name}: {why}" for why in asked.silent] if asked else []
    if asked and (found := asked.problems()):
        return found, unread
    if others:
        inputs = project.inputs(name)
        out.print(f"{name}: valid; {others.count(name, inputs)}")
        for warning in (*inputs.warnings, *(asked.warnings if asked else ())):
            err.print(f"{name}: {warning}")
    return [], unread


class Kind(StrEnum):
    """Which file a schema is of."""

    POLICY = "policy"
    DIRECTORY = "directory"
    CONNECTION = "connection"


@app.command()
def schema(
    of: Annotated[Kind, typer.Option("--of", help="Which kind of file in stacks/.")] = Kind.POLICY,
) -> None:
    """Print the JSON Schema of a policy's file, or of another in stacks/, for editors."""
    print_json(schemas.json_schemas(drivers.installed())[of])


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="Name of the policy.")],
    end_grace: Annotated[
        bool, typer.Option("--end-grace", help="Delete its Cloud PCs now, with all data, without a grace period.")
    ] = False,
    yes: Yes = False,
    clear_lock: locks.ClearLock = False,
) -> None:
    """Delete a policy that is assigned to no group: its stack and file go with its last Cloud PC.

    Its Cloud PCs are kept until their grace periods are over; runs go on until then.
    """
    project = Project()
    record = next(iter(project.records(name)), None)
    _refuse_assigned(project, name)
    file = project.shown(name)
    if record is None:
        _delete_without_stack(project, name, file, yes=yes)
        return
    check(project, [name], clear_lock=clear_lock)
    kept = _tell_what_becomes(record, end_grace=end_grace)
    confirm(f"Delete the policy {name}, with its stack and {file}?", yes=yes)
    deletion.mark(project, name)
    if kept and end_grace:
        if any(c.recorded.status_if_there in USABLE for c in kept):
            bring_up(project, [name], How()).tell_problems()  # begins the grace periods that are then ended
        now = [c for stack in project.records(name) for c in stack.cloud_pcs if c.grace_period_end_date_time]
        generations.write(project, name, END_GRACE, {c.key: END_GRACE.asks(c.recorded) for c in now})
    result = bring_up(project, [name], How())
    result.tell_problems()
    if not result.removed:
        err.print(f"{name} is marked as deleted; the end of its last Cloud PC removes it. Until then:")
        print_rows([c.as_json() for r in result.records for c in r.cloud_pcs if not c.is_gone], err)


def _by_hosts(project: Project, name: str) -> HostValidation:
    """What its hosts say of it."""
    from cloudpc.operations.host_validation import HostValidation

    hosts, asked = wishes.of_policy(project, name)
    are_configured = "cloudpc:hosts" in project.values(name)
    return HostValidation(project.shown(name), hosts, asked, are_configured=are_configured)


def _refuse_assigned(project: Project, name: str) -> None:
    if name not in project.policy_ids():
        message = f"{name} no longer has a file; restore it, or remove everything with `cloudpc down {name}`"
        raise CommandError(message, Exit.INVALID)
    policy = reading.read_policy_and_directory(name, project.values(name), project.directories).policy
    if policy.assignments:
        groups = ", ".join(assignment.target.group_id for assignment in policy.assignments)
        message = f"{name} is assigned to {groups}; take its assignments out of {project.shown(name)} first"
        raise CommandError(f"{message}, then delete it", Exit.INVALID)


def _tell_what_becomes(record: StackRecord, *, end_grace: bool) -> list[CloudPCRecord]:
    """Shows its Cloud PCs before the question; returns those with a machine."""
    left = [c for c in record.cloud_pcs if not c.is_gone]
    kept = [c for c in left if c.recorded.status_if_there in WITH_MACHINE]
    if left:
        err.print(f"Cloud PCs of {record.policy}:")
        print_rows([c.as_json() for c in left], err)
    if kept and end_grace:
        err.print(f"All data on {len(kept)} of them is deleted now, without a grace period.")
    elif kept:
        err.print("They are kept until their grace periods are over; the last one's end removes the policy.")
    return kept


def _delete_without_stack(project: Project, name: str, file: str, *, yes: bool) -> None:
    from cloudpc.operations.runtime import Runtime

    runtime = Runtime(parsing.parse_surroundings(project.values(name)), project.stacks_folder)
    refuse_to_forget(project, runtime, project.installation(name, None), name)
    confirm(f"{name} has no stack. Remove {file}?", yes=yes)
    project.file(name).unlink()
    out.print(f"{file} is removed")
