"""`cloudpc adopt`: machines that were handed over to their users, and are unknown to state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from cloudpc.cli import generations, locks
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Yes, confirm, err, out, table
from cloudpc.cli.preflight import without_hindered
from cloudpc.cli.up import How, bring_up_and_tell
from cloudpc.configuration import parsing
from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC, Status
from cloudpc.model.tags import Phase, Tag
from cloudpc.operations.consent import Consent
from cloudpc.operations.inventory import Found, Inventory
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.provisioning.order import tag_of
from cloudpc.rules.actions.retry import RETRY

if TYPE_CHECKING:
    from cloudpc.model.machines import Host
    from cloudpc.operations.runtime import Runtime


def adopt(
    policies: Annotated[list[str] | None, typer.Argument(help="Names of policies; default: all.")] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete them with all data on them, instead of taking them back.")
    ] = False,
    yes: Yes = False,
    clear_lock: locks.ClearLock = False,
) -> None:
    """Take back machines that state has lost, as they are, with new credentials; or remove them.

    A machine is taken back for a user who is entitled under the policy in its tag. `cloudpc doctor` lists them.
    """
    project = Project()
    names = policies or project.policy_ids()
    names, left_out = without_hindered(project, names, clear_lock=clear_lock)
    for why in left_out:
        err.print(why)
    records = {record.policy: record for record in project.records()}
    _write_tags(project, [records[name] for name in names if name in records], yes=yes)
    known = Inventory.of(list(records.values()))
    lost = {name: found for name in names if (found := _lost(project, name, records.get(name), known))}
    nobodys = {} if policies else _without_policy(project, names, records, known)
    everything = {name: [*lost.get(name, []), *nobodys.get(name, [])] for name in {**lost, **nobodys}}
    if not everything:
        err.print("state knows every machine that was handed over; there is nothing to adopt")
        return
    _tell(everything)
    if remove:
        _remove(project, everything, yes=yes)
        return
    for _, machine in (each for found in nobodys.values() for each in found):
        policy = machine.tag.policy_id
        err.print(
            f"left out: {machine.name}, whose policy {policy} is not here; restore its file, or delete it with --remove"
        )
    _take_back(project, _entitled(project, lost), records, yes=yes)


def _remove(project: Project, everything: Mapping[str, Found], *, yes: bool) -> None:
    count = sum(map(len, everything.values()))
    confirm(f"Delete {count} machine{'' if count == 1 else 's'} with all data?", yes=yes)
    for policy, found in everything.items():
        removal = _runtime(project, policy).removal
        for host, machine in found:
            if left := removal.delete_unknown(host, machine):
                err.print(f"{machine.name} on {host.name} stays for now: {'; '.join(left)}")
            else:
                out.print(f"removed {machine.name} on {host.name}")


def _take_back(project: Project, lost: Mapping[str, Found], records: Mapping[str, StackRecord], *, yes: bool) -> None:
    count = sum(map(len, lost.values()))
    confirm(f"Take {'it' if count == 1 else 'them'} back into state, with new passwords?", yes=yes)
    for policy, found in lost.items():
        _make_way(project, policy, found, records.get(policy))
    keys = tuple(key for found in lost.values() for key in _keys(found))
    bring_up_and_tell(project, list(lost), How(consent=Consent(adopt=keys)))


def _write_tags(project: Project, records: Sequence[StackRecord], *, yes: bool) -> None:
    """Write the tags of machines that state knows and whose tag can't be read: state says what was in it."""
    found = [(host, c) for record in records for host, c in _unreadable(project, record)]
    for host, cloud_pc in found:
        err.print(f"{cloud_pc.device_name} of {cloud_pc.user_principal_name} on {host.name}: its tag can't be read")
    if found:
        confirm("Write it again, as state has it? (Not if a newer version of cloudpc wrote it.)", yes=yes)
    for host, cloud_pc in found:
        tag = _tag(cloud_pc.recorded)
        host.retag(tag.machine_id, tag, cloud_pc.recorded.service_plan.storage_in_gb)
        out.print(f"{cloud_pc.device_name} has its tag again")


def _unreadable(project: Project, record: StackRecord) -> Iterator[tuple[Host, CloudPCRecord]]:
    known = {_tag(c.recorded).machine_id: c for c in record.cloud_pcs if c.recorded.has_machine}
    for host in _runtime(project, record.policy).hosts if record.installation else ():
        found = host.unreadable(record.installation or "", known)
        yield from ((host, known[machine_id]) for machine_id in found if machine_id in known)


def _tag(recorded: RecordedCloudPC) -> Tag:
    """The tag of a machine that was handed over to its user."""
    made = DesiredCloudPC.model_validate(recorded.model_dump())
    joined = recorded.computer.connection if recorded.computer else ""
    return replace(tag_of(made), phase=Phase.HANDED_OVER, joined_through=joined)


def _entitled(project: Project, lost: dict[str, Found]) -> dict[str, Found]:
    """Those whose user may have one; reports the others.

    Raises:
        CommandError: none is left.
    """
    rest: dict[str, Found] = {}
    for policy, found in lost.items():
        entitled = project.entitled(policy)
        for host, machine in found:
            if machine.tag.key in entitled:
                rest.setdefault(policy, []).append((host, machine))
            else:
                why = f"left out: {machine.name}, whose user is not entitled under {policy}; --remove deletes it"
                err.print(why)
    if not rest:
        raise CommandError("none of them can be taken back")
    return rest


def _lost(project: Project, policy: str, record: StackRecord | None, known: Inventory) -> Found:
    """Handed over, and not among the Cloud PCs that have a machine by any stack's state.

    Of a policy that has not run, half-made ones as well: its first run stops before them, and so finishes none.
    """
    found = known.unknown(_runtime(project, policy).hosts, project.installation(policy, record), policy)
    whole = policy in known.policies
    return [(host, machine) for host, machine in found if known.is_lost(machine) or not whole]


def _without_policy(
    project: Project, names: Sequence[str], records: Mapping[str, StackRecord], known: Inventory
) -> dict[str, Found]:
    """Those whose policy no longer has file or stack, by the name of a policy whose hosts have them."""
    here, seen = {*project.policy_ids(), *records}, set[UUID]()
    result: dict[str, Found] = {}
    for name in names:
        installation = project.installation(name, records.get(name))
        for host, machine in known.unknown(_runtime(project, name).hosts, installation):
            if machine.tag.policy_id not in here and machine.id not in seen:
                seen.add(machine.id)
                result.setdefault(name, []).append((host, machine))
    return result


def _runtime(project: Project, policy: str) -> Runtime:
    from cloudpc.operations.runtime import Runtime

    return Runtime(parsing.parse_surroundings(project.values(policy)), project.stacks_folder)


def _keys(found: Found) -> list[str]:
    return [machine.tag.key for _, machine in found]


def _make_way(project: Project, policy: str, found: Found, record: StackRecord | None) -> None:
    """Let state take them: only a retry looks at one recorded as failed again, and nothing at an ended one."""
    keys = set(_keys(found))
    theirs = [c for c in (record.cloud_pcs if record else ()) if c.key in keys]
    for ended in (c for c in theirs if c.status == Status.DEPROVISIONING):
        project.engine.read(["state", "delete", ended.urn, "--stack", policy, "--force", "--yes"])
    failed = [c for c in theirs if c.status == Status.FAILED]
    if failed:
        asked = {c.key: generations.following(project, RETRY, c) for c in failed}
        generations.write(project, policy, RETRY, asked)


def _tell(lost: dict[str, Found]) -> None:
    shown = table("MACHINE", "HOST", "DEVICE", "USER'S ID", "POLICY")
    for host, machine in (each for found in lost.values() for each in found):
        tag = machine.tag
        shown.add_row(machine.name, host.name, tag.device_name, tag.user_id, tag.policy_id)
    err.print("Handed over to their users, but unknown to state:")
    err.print(shown)
