"""`cloudpc reprovision`, `cloudpc retry`, `cloudpc update-kernel` and `cloudpc end-grace`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import typer

from cloudpc.cli import drift, generations, locks
from cloudpc.cli.context import Project, check_name, of_user
from cloudpc.cli.generations import Kind
from cloudpc.cli.output import CommandError, Exit, Yes, coloured, confirm, err, table
from cloudpc.cli.preflight import check
from cloudpc.cli.up import How, bring_up_and_tell
from cloudpc.iac.fleet import CloudPCRecord
from cloudpc.model.cloud_pc import USABLE, WAITING, Status
from cloudpc.rules import lifecycle

Users = Annotated[list[str] | None, typer.Argument(help="userPrincipalNames, their parts before the @, or users' ids.")]
User = Annotated[list[str], typer.Argument(help="userPrincipalNames, their parts before the @, or users' ids.")]
Policy = Annotated[str | None, typer.Option("--policy", help="Only those of this policy.")]
Plan = Annotated[str | None, typer.Option("--service-plan", help="Only those of this service plan, by id or name.")]
WriteOnly = Annotated[
    bool, typer.Option("--write-only", help="Only write it into the policy's file; the next run does it.")
]

_REPROVISIONED = USABLE | {Status.FAILED}
_BY_ITSELF = "each run tries again by itself"
_HINTS = {
    **dict.fromkeys(WAITING, _BY_ITSELF),
    Status.IN_GRACE_PERIOD: "its user is no longer entitled",
    Status.DEPROVISIONING: "it has ended",
}


def reprovision(
    users: Users = None,
    policy: Policy = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed ones.")] = False,
    outdated_: Annotated[
        bool, typer.Option("--outdated", help="Only those made with other settings than the policy has today.")
    ] = False,
    service_plan: Plan = None,
    yes: Yes = False,
    write_only: WriteOnly = False,
    clear_lock: locks.ClearLock = False,
) -> None:
    """Delete Cloud PCs with all data on them and make them again, with today's policy.

    For provisioned, provisionedWithWarnings and failed ones. Interrupted anywhere, the next run finishes it.
    """
    project = Project()
    if not (users or policy or failed or outdated_):
        raise CommandError("which ones? Name users, or give --policy, --failed or --outdated", Exit.INVALID)
    found = _Choice.of(project, users, policy, service_plan)
    if failed:
        found.keep(lambda c: c.status == Status.FAILED)
    if outdated_:
        differing = drift.differences(project, found.cloud_pcs)
        if differing.unknown:
            raise CommandError("which ones are outdated is not known; nothing was done", Exit.INVALID)
        found.keep(lambda c: (c.policy, c.key) in differing.found)
    found.check(project, clear_lock=clear_lock)
    entitled = _entitled(project, found.policies)

    def refused(cloud_pc: CloudPCRecord) -> str:
        if cloud_pc.recorded.is_not_in_state:
            return _ADOPT
        if cloud_pc.status not in _REPROVISIONED:
            return _is(cloud_pc, "only a provisioned, provisionedWithWarnings or failed one can be reprovisioned")
        return "" if (cloud_pc.policy, cloud_pc.key) in entitled else _NOT_ENTITLED

    chosen = found.without(refused)
    if not chosen:
        return
    _tell(f"All data on {_count(chosen)} will be lost:", project, chosen)
    confirm(f"Delete {_count(chosen)} and make {'it' if len(chosen) == 1 else 'them'} again?", yes=yes)
    _write_and_run(project, Kind.REPROVISION, chosen, write_only=write_only)


def retry(
    users: Users = None,
    policy: Policy = None,
    service_plan: Plan = None,
    write_only: WriteOnly = False,
    clear_lock: locks.ClearLock = False,
) -> None:
    """Give failed Cloud PCs three fresh attempts, and try again what failed of the set-up of working ones.

    With today's policy. Nothing on a machine that works is lost.
    """
    project = Project()
    found = _Choice.named(project, users, policy, service_plan)
    found.check(project, clear_lock=clear_lock)
    entitled = _entitled(project, found.policies)

    def refused(cloud_pc: CloudPCRecord) -> str:
        if cloud_pc.status != Status.FAILED and not cloud_pc.recorded.failed_extras:
            return _is(cloud_pc, "only a failed one, or one of whose set-up something failed, can be tried again")
        if cloud_pc.recorded.is_lost:
            return "its machine is lost: `cloudpc reprovision` makes a new one"
        return "" if (cloud_pc.policy, cloud_pc.key) in entitled else _NOT_ENTITLED

    if chosen := found.without(refused):
        _write_and_run(project, Kind.RETRY, chosen, write_only=write_only)


def update_kernel(
    users: Users = None,
    policy: Policy = None,
    service_plan: Plan = None,
    write_only: WriteOnly = False,
    clear_lock: locks.ClearLock = False,
) -> None:
    """Give Cloud PCs the kernel of their image's present build, from their next start on.

    For those made of a recipe in vm-images/, after `cloudpc image build`. Nothing on them is lost.
    """
    project = Project()
    found = _Choice.named(project, users, policy, service_plan)
    found.check(project, clear_lock=clear_lock)
    today = {name: drift.settings_of_today(project, name) for name in found.policies}

    def refused(cloud_pc: CloudPCRecord) -> str:
        settings, made = today[cloud_pc.policy], cloud_pc.recorded
        if made.status not in USABLE:
            return _is(cloud_pc, "only one that works can be given another kernel")
        if settings is None:
            return "what its policy says today is not known"
        if why := lifecycle.no_kernel_for(made.settings, settings):
            return why
        has_it = settings.image_digest == (made.kernel_digest or made.settings.image_digest)
        return f"it has the kernel of the present build of {settings.image_id}" if has_it else ""

    if chosen := found.without(refused):
        _write_and_run(project, Kind.UPDATE_KERNEL, chosen, write_only=write_only)


def end_grace(
    users: User,
    policy: Policy = None,
    service_plan: Plan = None,
    yes: Yes = False,
    write_only: WriteOnly = False,
    clear_lock: locks.ClearLock = False,
) -> None:
    """End the grace period of Cloud PCs now: they are deleted with all data on them."""
    project = Project()
    found = _Choice.of(project, users, policy, service_plan)
    found.check(project, clear_lock=clear_lock)

    def refused(cloud_pc: CloudPCRecord) -> str:
        if cloud_pc.grace_period_end_date_time:
            return ""
        return f"it is {cloud_pc.status}; only the grace period of one that is inGracePeriod can be ended"

    if not (chosen := found.without(refused)):
        return
    _tell(f"All data on {_count(chosen)} will be lost:", project, chosen)
    confirm(f"End the grace period of {_count(chosen)}?", yes=yes)
    _write_and_run(project, Kind.END_GRACE, chosen, write_only=write_only)


_ADOPT = (
    "state does not know its user's machine: `cloudpc adopt` takes it back; "
    "after `cloudpc adopt --remove`, `cloudpc retry` makes a new one"
)
_NOT_ENTITLED = "its user is no longer entitled: the next run of its policy says what becomes of it"


@dataclass
class _Choice:
    """The Cloud PCs that a command line speaks of."""

    users: dict[str, list[CloudPCRecord]] = field(default_factory=dict)
    """By what was written, where users were named."""
    others: list[CloudPCRecord] = field(default_factory=list)

    @classmethod
    def named(cls, project: Project, users: Sequence[str] | None, policy: str | None, plan: str | None) -> _Choice:
        """As `of`; raises CommandError as well where nobody is named, for who means nobody would get everybody."""
        if not (users or policy):
            raise CommandError("which ones? Name users, or give --policy", Exit.INVALID)
        return cls.of(project, users, policy, plan)

    @staticmethod
    def of(project: Project, users: Sequence[str] | None, policy: str | None, plan: str | None) -> _Choice:
        """Raises CommandError for an unknown policy, or a user without such a Cloud PC."""
        stacks = project.records()
        if policy is not None:
            project.check_policy(policy, [stack.policy for stack in stacks])
        everyone = [c for stack in stacks for c in stack.cloud_pcs]

        def meant(cloud_pc: CloudPCRecord) -> bool:
            return policy in (None, cloud_pc.policy) and (plan is None or cloud_pc.has_plan(plan))

        if not users:
            return _Choice(others=[c for c in everyone if meant(c) and not c.is_gone])
        choice = _Choice({user: [c for c in of_user(user, everyone) if meant(c)] for user in users})
        for user, theirs in choice.users.items():
            if not theirs:
                has = ", ".join(f"{c.service_plan} of {c.policy}" for c in of_user(user, everyone))
                raise CommandError(f"{user} has no such Cloud PC, but: {has}", Exit.INVALID)
        return choice

    @property
    def cloud_pcs(self) -> list[CloudPCRecord]:
        each = [*(c for theirs in self.users.values() for c in theirs), *self.others]
        return list({(c.policy, c.key): c for c in each}.values())

    @property
    def policies(self) -> list[str]:
        return sorted({c.policy for c in self.cloud_pcs})

    def keep(self, wanted: Callable[[CloudPCRecord], bool]) -> None:
        """Only those, and without a word about the others."""
        self.others, self.users = [c for c in self.cloud_pcs if wanted(c)], {}

    def check(self, project: Project, *, clear_lock: bool) -> None:
        """Before anything is written: nothing stands in the way of a run, and everybody is who was named.

        Raises:
            InvalidConfigurationError, DirectoryError, CommandError: something does, or somebody is not.
        """
        check(project, self.policies, clear_lock=clear_lock)
        named = [(name, cloud_pc) for name, theirs in self.users.items() for cloud_pc in theirs]
        for policy in sorted({cloud_pc.policy for _, cloud_pc in named}):
            of_policy = [(name, cloud_pc) for name, cloud_pc in named if cloud_pc.policy == policy]
            today = project.users(policy, {cloud_pc.user_id for _, cloud_pc in of_policy})
            for name, cloud_pc in of_policy:
                check_name(name, cloud_pc, today.get(cloud_pc.user_id))

    def without(self, refused: Callable[[CloudPCRecord], str]) -> list[CloudPCRecord]:
        """Those that nothing speaks against; what is left out is told.

        Raises:
            CommandError: none of a named user's.
        """
        reasons = {(c.policy, c.key): refused(c) for c in self.cloud_pcs}

        def line(cloud_pc: CloudPCRecord) -> str:
            who = f"{cloud_pc.user_principal_name} ({cloud_pc.service_plan})"
            return f"{who}: {reasons[cloud_pc.policy, cloud_pc.key]}"

        for theirs in self.users.values():
            if all(reasons[c.policy, c.key] for c in theirs):
                raise CommandError("; ".join(map(line, theirs)), Exit.INVALID)
        left_out = [c for c in self.cloud_pcs if reasons[c.policy, c.key]]
        for cloud_pc in left_out:
            err.print(f"left out: {line(cloud_pc)}")
        chosen = [c for c in self.cloud_pcs if c not in left_out]
        if not chosen:
            err.print("there is none to do that with; nothing was done")
        return chosen


def _is(cloud_pc: CloudPCRecord, rule: str) -> str:
    hint = _HINTS.get(Status(cloud_pc.status))
    return f"it is {cloud_pc.status}{f' ({hint})' if hint else ''}; {rule}"


def _entitled(project: Project, policies: Iterable[str]) -> set[tuple[str, str]]:
    """Policy and key of all that is owed, as far as the policies alone say it."""
    return {(policy, key) for policy in policies for key in project.entitled(policy)}


def _count(cloud_pcs: Sequence[CloudPCRecord]) -> str:
    return f"{len(cloud_pcs)} Cloud PC{'' if len(cloud_pcs) == 1 else 's'}"


def _tell(title: str, project: Project, cloud_pcs: Sequence[CloudPCRecord]) -> None:
    differing = drift.differences(project, cloud_pcs).found
    err.print(title)
    shown = table("USER", "SERVICE PLAN", "POLICY", "DEVICE", "STATUS", "TODAY'S POLICY / WHY")
    for c in cloud_pcs:
        cells = (c.user_principal_name, c.service_plan, c.policy, c.device_name)
        detail = c.recorded.status_detail
        told = [*differing.get((c.policy, c.key), []), *([detail.message] if detail and c.recorded.is_lost else [])]
        changes = "; ".join(told) or "-"
        shown.add_row(*cells, coloured(c.status), changes)
    err.print(shown)


def _write_and_run(project: Project, kind: Kind, chosen: Sequence[CloudPCRecord], *, write_only: bool) -> None:
    policies = sorted({c.policy for c in chosen})
    wanted: dict[tuple[str, str], int | str | None] = {
        (c.policy, c.key): (
            c.grace_period_end_date_time if kind is Kind.END_GRACE else generations.following(project, kind, c)
        )
        for c in chosen
    }
    for policy in policies:
        asked = {key: value for (of, key), value in wanted.items() if of == policy}
        generations.write(project, policy, kind, asked)
    files = ", ".join(project.shown(policy) for policy in policies)
    err.print(f"Written to {files}: cloudpc:actions.{kind} of {_count(chosen)}.")
    if write_only:
        err.print(f"The next run does it: cloudpc up {' '.join(policies)}")
    else:
        result = bring_up_and_tell(project, policies, How())
        everyone = [c for record in result.records for c in record.cloud_pcs if (c.policy, c.key) in wanted]
        if left := [c for c in everyone if not _is_done(kind, c, wanted[c.policy, c.key])]:
            names = ", ".join(f"{c.user_principal_name} ({c.service_plan})" for c in left)
            raise CommandError(f"not done for {names}, for the reason above; the next run tries again")


def _is_done(kind: Kind, cloud_pc: CloudPCRecord, wanted: int | str | None) -> bool:
    """Whether a run has carried out what was asked for; whether that went well, its status says."""
    match kind:
        case Kind.REPROVISION:
            return cloud_pc.generation == wanted
        case Kind.END_GRACE:
            return cloud_pc.grace_period_end_date_time is None
        case Kind.RETRY | Kind.UPDATE_KERNEL:
            return generations.recorded(kind, cloud_pc) == wanted
