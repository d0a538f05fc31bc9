"""What doctor says of state: whether it can be read, what is wrong with it, and who works on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloudpc.cli.context import Project
from cloudpc.cli.doctor_organisation import SeenOnHosts
from cloudpc.model.check import Check
from cloudpc.model.text import command_line
from cloudpc.operations import renamed
from cloudpc.operations.records import CloudPCRecord, StackRecord


def findings(project: Project, records: Sequence[StackRecord], seen: SeenOnHosts) -> Iterator[Check]:
    """What is wrong with stacks.

    Args:
        project: where their files are.
        records: what state has.
        seen: records what may be missing because of it.
    """
    yield from _without_file(project, records, seen)
    yield from _renamed(records)
    yield from _locked(project, records, seen)
    yield from _in_two_states(records)


def _without_file(project: Project, records: Sequence[StackRecord], seen: SeenOnHosts) -> Iterator[Check]:
    files = project.policy_ids()
    for policy in (record.policy for record in records if record.policy not in files):
        hint = f"restore the file, or remove everything with `cloudpc down {policy}`"
        yield Check(f"policy {policy}", "warning", "its stack has no file in stacks/", hint)
        seen.doubts.append(f"the hosts of the policy {policy} are not known")


def _renamed(records: Sequence[StackRecord]) -> Iterator[Check]:
    for record in records:
        made_by = [c.recorded.policy_id for c in record.cloud_pcs]
        if why := renamed.refusal(record.policy, record.policies, made_by):
            yield Check(f"policy {record.policy}", "failed", why)


def _locked(project: Project, records: Sequence[StackRecord], seen: SeenOnHosts) -> Iterator[Check]:
    for policy in (record.policy for record in records):
        if held := project.locks(policy):
            dead = all(lock.dead for lock in held)
            detail = f"its lock was {'; '.join(map(str, held))}" + (", by a run that is dead" if dead else "")
            hint = f"`cloudpc up {policy} --clear-lock` removes it" if dead else "a run is at work on it"
            yield Check(f"policy {policy}", "warning", detail, hint)
            seen.doubts.append(f"a run is, or was, at work on {policy}")


def _in_two_states(records: Sequence[StackRecord]) -> Iterator[Check]:
    """Cloud PCs that are in the state of two policies, though there is one machine."""
    holders: dict[str, list[CloudPCRecord]] = {}
    for cloud_pc in (c for record in records for c in record.cloud_pcs if c.recorded.has_machine):
        holders.setdefault(cloud_pc.key, []).append(cloud_pc)
    for several in (each for each in holders.values() if len(each) > 1):
        policies = " and ".join(c.policy for c in several)
        who = f"Cloud PC of {several[0].user_principal_name} ({several[0].service_plan})"
        hint = "its machine belongs to the policy in its tag; remove it from the other's state: " + " or ".join(
            command_line("pulumi", "state", "delete", "--force", "--stack", c.policy, c.urn) for c in several
        )
        yield Check(who, "warning", f"{policies} both have it in state", hint)
