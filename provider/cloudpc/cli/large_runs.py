"""Runs of large policies, which write state once, at their end; what that asks of who starts them (docs/running.md)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from cloudpc.cli.context import Project
from cloudpc.cli.output import counted, err, out
from cloudpc.iac import checkpoints, file_backend
from cloudpc.model.cloud_pc import USABLE
from cloudpc.model.errors import CloudPCError
from cloudpc.operations.records import StackRecord

LARGE = 100
"""Cloud PCs of a policy. Measured on two cores: 125 from nothing take 7 s with a checkpoint at each step and 4 s
without, 1,000 take 162 s and 51 s; below, there is less to win than the few seconds that a second look costs."""
_AT_ONCE = 8


def environment(project: Project, count: int) -> dict[str, str]:
    """More environment for a run that concerns so many Cloud PCs; nothing where the admin has said how it is to be."""
    chosen = checkpoints.VARIABLE in project.engine.environment()
    return {checkpoints.VARIABLE: "true"} if count >= LARGE and not chosen else {}


def written_at_end(project: Project, names: Sequence[str]) -> frozenset[str]:
    """Those of these policies whose run writes state once, at its end; it says so.

    One that state does not know yet is recorded first, without its Cloud PCs: its installation, and when its groups
    were first seen, must outlive a run that is killed.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = zip(names, pool.map(lambda name: _is_written_at_end(project, name), names), strict=True)
        return frozenset(name for name, at_end in found if at_end)


def hand_over(project: Project, record: StackRecord, begin: datetime) -> None:
    """Mark what a run has made as its users', now that state has it. What can't be reached now, the next run marks.

    Args:
        project: where.
        record: the policy's state after the run.
        begin: the run's.
    """
    from cloudpc.configuration import parsing
    from cloudpc.operations import handing_over
    from cloudpc.operations.runtime import Runtime

    changed = [c.recorded for c in record.cloud_pcs if (c.recorded.last_modified_date_time or begin) >= begin]
    made = [pc for pc in changed if pc.status in USABLE]
    if not made:
        return
    file_backend.settle(project.engine.backend_url, project.file_of_all.name, record.policy)
    runtime = Runtime(parsing.parse_surroundings(project.values(record.policy)), project.stacks_folder, err.print)
    out.print(f"{record.policy}: state is written; handing {counted(len(made))} over to their users")
    left = handing_over.hand_over(
        runtime.hosts, made, lambda done: out.print(f"{record.policy}: {done} of {len(made)} handed over")
    )
    if left:
        err.print(f"{record.policy}: {counted(left)} could not be marked as handed over now; the next run does that")


def _is_written_at_end(project: Project, name: str) -> bool:
    try:
        has_run, there = checkpoints.recorded(project.engine, name)
        count = max(there, len(project.entitled(name)))
        chosen = checkpoints.are_skipped(project.engine.environment())
        if not (chosen or environment(project, count)):
            return False
        if not has_run:
            _record(project, name)
    except CloudPCError:
        return False  # as Pulumi would; the run reports what is wrong
    if not chosen:
        out.print(f"{name}: {counted(count)}, so state is written once, at the end of the run")
    return True


def _record(project: Project, name: str) -> None:
    """What state has of it. Raises EngineError."""
    only = {checkpoints.ONLY_POLICY: "true", checkpoints.VARIABLE: "false"}
    project.engine.read(["up", "--stack", name, "--yes", "--skip-preview"], env=only)
