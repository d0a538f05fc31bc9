"""The Cloud PCs that the command line of an action speaks of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cloudpc.cli.context import Project
from cloudpc.cli.names import check_name, of_user
from cloudpc.cli.output import CommandError, Exit, err
from cloudpc.cli.preflight import check
from cloudpc.operations.records import CloudPCRecord
from cloudpc.rules.notices import Reason


@dataclass
class Choice:
    """By whom they were named, so that who is named and left out is an error."""

    users: dict[str, list[CloudPCRecord]] = field(default_factory=dict)
    """By what was written, where users were named."""
    others: list[CloudPCRecord] = field(default_factory=list)

    @staticmethod
    def of(project: Project, users: Sequence[str] | None, policy: str | None, plan: str | None) -> Choice:
        """Raises CommandError for an unknown policy, or a user without such a Cloud PC."""
        stacks = project.records()
        if policy is not None:
            project.check_policy(policy, [stack.policy for stack in stacks])
        everyone = [c for stack in stacks for c in stack.cloud_pcs]

        def meant(cloud_pc: CloudPCRecord) -> bool:
            return policy in (None, cloud_pc.policy) and (plan is None or cloud_pc.has_plan(plan))

        if not users:
            return Choice(others=[c for c in everyone if meant(c) and not c.is_gone])
        choice = Choice({user: [c for c in of_user(user, everyone) if meant(c)] for user in users})
        for user, theirs in choice.users.items():
            if not theirs:
                has = ", ".join(f"{c.service_plan} of {c.policy}" for c in of_user(user, everyone))
                raise CommandError(f"{user} has no such Cloud PC; there are: {has}", Exit.INVALID)
        return choice

    @property
    def cloud_pcs(self) -> list[CloudPCRecord]:
        """All of them, each once."""
        each = [*(c for theirs in self.users.values() for c in theirs), *self.others]
        return list({(c.policy, c.key): c for c in each}.values())

    @property
    def policies(self) -> list[str]:
        """Whose they are."""
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

    def without(self, refused: Callable[[CloudPCRecord], Reason | None]) -> list[CloudPCRecord]:
        """Those that nothing speaks against; reports what is left out.

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
            err.print("no Cloud PC is left to do this with; nothing was done")
        return chosen
