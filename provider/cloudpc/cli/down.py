"""`cloudpc down`: a policy removed whole, at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cloudpc.cli import large_runs, locks
from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, Yes, behind, colour_of_the_engine, confirm, err, out, styled
from cloudpc.iac import encryption_salt, own_folder, parallel
from cloudpc.iac.engine import OWN_FOLDER
from cloudpc.model.masking import masked
from cloudpc.model.remnants import left_over
from cloudpc.model.tags import Phase
from cloudpc.model.text import command_line, plain
from cloudpc.operations.consent import Consent
from cloudpc.operations.inventory import Found, Inventory, named
from cloudpc.operations.records import StackRecord

if TYPE_CHECKING:
    from cloudpc.operations.runtime import Runtime


ForgetHost = Annotated[
    list[str] | None,
    typer.Option(
        "--forget-host",
        metavar="NAME",
        help="This host is gone for good: Cloud PCs that end or are made again leave their machines there. May "
        "be repeated.",
    ),
]
_ADVICE = (
    "The resources in the stack have been deleted, but the history",
    "If you want to remove the stack completely, run `pulumi stack rm",
)
"""How Pulumi's lines about removing the stack begin, which is what follows anyway."""
_FORGET = "if its tenant or domain is gone for good: --forget-registrations"


def down(
    policy: Annotated[str, typer.Argument(help="Name of the policy.")],
    yes: Yes = False,
    clear_lock: locks.ClearLock = False,
    forget_registrations: Annotated[
        bool,
        typer.Option(
            "--forget-registrations",
            help="Leave behind devices and computer accounts whose tenant or domain can no longer be reached.",
        ),
    ] = False,
    forget_host: ForgetHost = None,
) -> None:
    """Remove a policy completely: Cloud PCs with their data, machines, the stack. Its file and the caches stay.

    As long as the file is there, `up` without names makes its Cloud PCs again.
    """
    from cloudpc.configuration import parsing
    from cloudpc.operations.runtime import Runtime

    project = Project()
    locks.clear(project, policy, clear_lock=clear_lock)
    record = next(iter(project.records(policy)), None)
    values = project.values(policy) if policy in project.policy_ids() else record.configuration if record else {}
    forgotten = forget_host or []
    surroundings = parsing.parse_surroundings(values)
    there = tuple(host for host in surroundings.hosts if host.name not in forgotten)
    runtime = Runtime(replace(surroundings, hosts=there), project.stacks_folder)
    installation = project.installation(policy, record)
    if record is None:
        refuse_to_forget(project, runtime, installation, policy)
        err.print(f"{policy} has no stack: there is nothing to remove")
        _forget(project, policy, whole=True)
        return
    _refuse_without_hosts(record, runtime, forgotten)
    known = Inventory.of([record])
    unfinished, staying = _unknown(runtime, installation, known, policy)
    _tell_what_goes(record, unfinished, staying, forgotten)
    confirm(f"Delete all of this, and the stack of the policy {policy}?", yes=yes)
    with _no_new_file(project, policy):
        _destroy(project, record, forget_registrations=forget_registrations, forgotten=forgotten)
    unfinished, staying = _unknown(runtime, installation, replace(known, given=frozenset()), policy)
    for host, machine in unfinished:
        if left := runtime.removal.delete_unknown(host, machine, forget=forget_registrations):
            raise CommandError(f"{machine.name} on {host.name} stays for now: {'; '.join(left)}; {_FORGET}")
        out.print(f"removed {machine.name} on {host.name}")
    _stop_at_unreadable(project, runtime, installation, policy)
    project.engine.read(["stack", "rm", policy, "--yes", "--preserve-config"])
    remnants = [] if project.engine.stacks() else _remnants(runtime, installation, record)
    if _forget(project, policy, whole=not (staying or remnants)):
        err.print(f"This was the last stack: its state is removed. {OWN_FOLDER} keeps what `cloudpc setup` made.")
    if staying or remnants:
        raise CommandError(f"{policy} is gone; {_why_left(staying, remnants)}")
    out.print(f"{policy} is gone")


def _unknown(runtime: Runtime, installation: str | None, known: Inventory, policy: str) -> tuple[Found, Found]:
    """The policy's machines that its state lacks: those that a run had begun, and those that are not to be touched."""
    unfinished: Found = []
    staying: Found = []
    for host, machine in known.unknown(runtime.hosts, installation, policy):
        (unfinished if known.is_unfinished(machine) else staying).append((host, machine))
    return unfinished, staying


def _tell_what_goes(record: StackRecord, unfinished: Found, staying: Found, forgotten: Sequence[str]) -> None:
    left = {machine.tag.key for _, machine in staying}
    ending = [c for c in record.cloud_pcs if c.recorded.has_machine or c.key not in left]
    if going := sorted(ending, key=lambda c: (c.user_principal_name, c.service_plan)):
        out.print(f"These Cloud PCs of the policy {record.policy} will be deleted, with all data on them:")
        print_rows([c.as_json() for c in going])
    for cloud_pc in going:
        if cloud_pc.recorded.has_machine and cloud_pc.recorded.host in forgotten:
            whose = f"{cloud_pc.user_principal_name} ({cloud_pc.service_plan})"
            out.print(f"The machine of {whose} stays on {cloud_pc.recorded.host}, should that host ever come back.")
    for host, machine in unfinished:
        out.print(f"The machine {machine.name} on {host.name}, which a run had begun, will be deleted.")
    for host, machine in staying:
        out.print(f"The machine {machine.name} on {host.name}, which the policy's state does not know, stays.")
    if any(machine.tag.phase is Phase.READY for _, machine in staying):
        again = command_line("cloudpc", "up", record.policy)
        out.print(f"If a run that was killed has made them, `{again}` takes them over; run that first.")


def _remnants(runtime: Runtime, installation: str | None, record: StackRecord) -> list[str]:
    """What no machine has; with the last stack goes what could say whose it is."""
    now = datetime.now(UTC)
    return [
        f"{remnant.kind} {remnant.name} on {host.name}"
        for host in (runtime.hosts if installation else ())
        for remnant in left_over(host.remnants(installation or ""), (), record.machines, now)
    ]


def _why_left(staying: Found, remnants: Sequence[str]) -> str:
    machines = (
        f"these machines stay, which its state did not know: {named(staying)}. If another backend's state knows "
        "them, leave them to that; `cloudpc adopt` takes lost ones back, `cloudpc adopt --remove` deletes them"
    )
    rest = f"this stays, which no machine has: {', '.join(remnants)}; `cloudpc doctor --remove-leftovers`"
    return "; ".join(([machines] if staying else []) + ([rest] if remnants else []))


def refuse_to_forget(project: Project, runtime: Runtime, installation: str | None, policy: str) -> None:
    """Without its id nobody could say whose a machine is: while there are machines, it is kept."""
    _stop_at_unreadable(project, runtime, installation, policy)
    for host in runtime.hosts:
        if found := Inventory().unknown([host], installation, policy):
            names = ", ".join(machine.name for _, machine in found)
            raise CommandError(
                f"{policy} has no stack in this backend, but machines on {host.name}: {names}. If its state is in "
                "another backend, set PULUMI_BACKEND_URL; if it is lost, `cloudpc adopt` takes them back, and "
                "`cloudpc adopt --remove` removes them with all data"
            )


def _stop_at_unreadable(project: Project, runtime: Runtime, installation: str | None, policy: str) -> None:
    """Nothing says whose these are, and no other policy's state: they may be this one's. Told, and never deleted."""
    if installation is None:
        return
    known = Inventory.of([record for record in project.records() if record.policy != policy]).given
    hosts = [(h, name) for h in runtime.hosts for i, name in h.unreadable(installation).items() if i not in known]
    if hosts:
        found = [f"{name} on {host.name}" for host, name in hosts]
        looks = [runtime.by_hand(host.name).looking for host, _ in hosts]
        raise CommandError(
            f"not everything is gone: {', '.join(found)} has no readable tag, so its owner is unknown. "
            f"If a newer version of cloudpc made it, run `cloudpc down {policy}` with that version; else look at it "
            f"{' or '.join(dict.fromkeys(looks))}, and remove it by hand"
        )


def _refuse_without_hosts(record: StackRecord, runtime: Runtime, forgotten: Sequence[str]) -> None:
    """A Cloud PC whose host is no longer configured could not be deleted, only forgotten."""
    configured = {*forgotten, *(host.name for host in runtime.hosts)}
    if gone := sorted({c.recorded.host for c in record.cloud_pcs if c.recorded.has_machine} - configured):
        flags = " ".join(f"--forget-host {name}" for name in gone)
        raise CommandError(
            f"Cloud PCs of {record.policy} are on {', '.join(gone)}, which is not in its cloudpc:hosts; "
            f"put the host back there, or, if it is gone for good, add {flags}",
            Exit.INVALID,
        )


def _destroy(project: Project, record: StackRecord, *, forget_registrations: bool, forgotten: Sequence[str]) -> None:
    policy = record.policy
    project.engine.read(["state", "unprotect", "--all", "--yes", "--stack", policy])
    arguments = ["destroy", "--stack", policy, "--yes", "--skip-preview", "--color", colour_of_the_engine()]
    consent = Consent(
        delete=policy, forget_hosts=tuple(forgotten), forget_registrations=policy if forget_registrations else None
    )
    env = consent.environment() | large_runs.environment(project, len(record.cloud_pcs))
    # lines in a pipe, not Pulumi's own display: it ends with advice on a stack that goes in a moment
    if parallel.run(project.engine, {policy: arguments}, 1, _tell, env=lambda _: env)[policy] != 0:
        raise CommandError(f"not everything could be deleted; run `cloudpc down {policy}` again to go on; {_FORGET}")


def _tell(_policy: str, line: str) -> None:
    if not plain(line).startswith(_ADVICE):
        out.print(behind(styled("", ""), masked(line)))


@contextmanager
def _no_new_file(project: Project, policy: str) -> Iterator[None]:
    """Pulumi writes a file with only a salt for a stack that has none; commands would take it for a policy's."""
    file = project.file(policy)
    had_one = file.is_file() and not encryption_salt.is_all(file)
    try:
        yield
    finally:
        if not had_one and file.is_file() and encryption_salt.is_all(file):
            file.unlink()


def _forget(project: Project, policy: str, *, whole: bool) -> bool:
    """Leave the project as set-up has made it if no stack is left, and tell whether; if not `whole`, keep its state."""
    file = project.file(policy)
    if file.is_file():
        encryption_salt.forget(file)
    own = project.root / OWN_FOLDER
    if not whole or not own.is_dir() or not project.engine.has_own_backend or project.backend_has_stacks:
        return False
    own_folder.forget_state(own)
    return True
