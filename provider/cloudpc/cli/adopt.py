"""`cloudpc adopt`: machines that were handed over to their users, and that state does not know any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cloudpc import configuration
from cloudpc.cli import dead_runs, generations
from cloudpc.cli.context import Project
from cloudpc.cli.down import unknown_machines
from cloudpc.cli.generations import Kind
from cloudpc.cli.output import Yes, confirm, err, out, table
from cloudpc.cli.up import How, bring_up_and_tell, check
from cloudpc.cloud_pc import LEAVING, USABLE
from cloudpc.iac.fleet import StackRecord
from cloudpc.provisioning.tags import Phase

if TYPE_CHECKING:
    from cloudpc.iac.runtime import Runtime
    from cloudpc.machines.interface import Host, Machine

_Found = list[tuple["Host", "Machine"]]


def adopt(
    policies: Annotated[list[str] | None, typer.Argument(help="Names of policies; all of them without.")] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete them with all data on them, instead of taking them back.")
    ] = False,
    yes: Yes = False,
    clear_lock: dead_runs.ClearLock = False,
) -> None:
    """Take machines that state has lost back as they are, with new credentials; or remove them.

    A machine is taken back for a user who is entitled under the policy in its tag. `cloudpc doctor` lists them.
    """
    project = Project()
    names = policies or project.policy_ids()
    check(project, names, clear_lock=clear_lock)
    records = {record.policy: record for record in project.records()}
    lost = {name: found for name in names if (found := _lost(project, name, records.get(name)))}
    if not lost:
        err.print("state knows every machine that was handed over; there is nothing to adopt")
        return
    _tell(lost)
    count = sum(map(len, lost.values()))
    if remove:
        confirm(f"Delete {count} machine{'' if count == 1 else 's'} with all data?", yes=yes)
        for name, found in lost.items():
            runtime = _runtime(project, name)
            for host, machine in found:
                if left := runtime.removal.delete_unknown(host, machine):
                    err.print(f"{machine.name} on {host.name} stays for now: {'; '.join(left)}", markup=False)
                else:
                    out.print(f"removed {machine.name} on {host.name}")
        return
    confirm(f"Take {'it' if count == 1 else 'them'} back into state, with new passwords?", yes=yes)
    for name, found in lost.items():
        _ask_for_failed(project, name, found, records.get(name))
    bring_up_and_tell(project, list(lost), How(adopt=tuple(key for found in lost.values() for key in _keys(found))))


def _lost(project: Project, policy: str, record: StackRecord | None) -> _Found:
    """Handed over, and not among the Cloud PCs that have a machine by state."""
    runtime = _runtime(project, policy)
    known = record or StackRecord(policy, None, (), interrupted=False, configuration={}, ended=())
    with_machine = tuple(c for c in known.cloud_pcs if c.status in USABLE | LEAVING)
    found = unknown_machines(runtime, project.installation(policy, record), replace(known, cloud_pcs=with_machine))
    return [(host, machine) for host, machine in found if machine.tag.phase is Phase.HANDED_OVER]


def _runtime(project: Project, policy: str) -> Runtime:
    from cloudpc.iac.runtime import Runtime

    return Runtime(configuration.parse_surroundings(project.values(policy)), project.stacks_folder)


def _keys(found: _Found) -> list[str]:
    return [f"{machine.tag.user_id}/{machine.tag.service_plan_id}" for _, machine in found]


def _ask_for_failed(project: Project, policy: str, found: _Found, record: StackRecord | None) -> None:
    """A run in between has recorded them as failed (machineNotInState); only a retry looks at those again."""
    keys = set(_keys(found))
    failed = [c for c in (record.cloud_pcs if record else ()) if c.key in keys and c.status == "failed"]
    if failed:
        asked = {c.key: generations.following(project, Kind.RETRY, c) for c in failed}
        generations.write(project, policy, Kind.RETRY, asked)


def _tell(lost: dict[str, _Found]) -> None:
    shown = table("MACHINE", "HOST", "DEVICE", "USER'S ID", "POLICY")
    rows: Sequence[tuple[str, ...]] = [
        (machine.name, host.name, machine.tag.device_name, machine.tag.user_id, policy)
        for policy, found in lost.items()
        for host, machine in found
    ]
    for row in rows:
        shown.add_row(*map(escape, row))
    err.print("Handed over to their users, and in no state:")
    err.print(shown)
