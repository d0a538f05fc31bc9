"""`cloudpc:actions` in the policies' files: generations raised by a command, as a pull request would raise them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from cloudpc.cli import deletion
from cloudpc.cli.context import Project
from cloudpc.iac.fleet import CloudPCRecord


class Kind(StrEnum):
    """What is asked for; the key below `cloudpc:actions`."""

    REPROVISION = "reprovision"
    RETRY = "retry"
    END_GRACE = "endGrace"
    UPDATE_KERNEL = "updateKernel"


def recorded(kind: Kind, cloud_pc: CloudPCRecord) -> int:
    """The generation that state has; none counts what has an end of its own."""
    pc = cloud_pc.recorded
    of_kind = {Kind.RETRY: pc.retry, Kind.UPDATE_KERNEL: pc.kernel_generation}
    return of_kind.get(kind, max(pc.generation, pc.waived_generation))


def following(project: Project, kind: Kind, cloud_pc: CloudPCRecord) -> int:
    """The generation that asks for it once more: above the file's and state's."""
    actions = project.values(cloud_pc.policy).get("cloudpc:actions") or {}
    written = (actions.get(kind.value) or {}).get(cloud_pc.key, 0)
    return max(int(written), recorded(kind, cloud_pc)) + 1


def write(project: Project, policy: str, kind: Kind, generations: Mapping[str, int | str | None]) -> None:
    """Write generations (or ends of grace periods), by key, into a policy's file; Pulumi keeps its comments.

    Reprovision generations that state has gone past are taken out: they would be warned of at each run.

    Raises:
        EngineError: it can't be written.
    """
    # the directory allows no character in ids that means something in a path
    values = [f'cloudpc:actions.{kind}["{key}"]={generation}' for key, generation in generations.items()]
    arguments = [argument for value in values for argument in ("--plaintext", value)]
    project.engine.read(["config", "set-all", "--stack", policy, "--path", *arguments])
    if over := _over(project, policy):
        paths = [f'cloudpc:actions.{Kind.REPROVISION}["{key}"]' for key in over]
        project.engine.read(["config", "rm-all", "--stack", policy, "--path", *paths])
    deletion.keep_plain(project, policy)


def _over(project: Project, policy: str) -> list[str]:
    actions = project.values(policy).get("cloudpc:actions") or {}
    written = actions.get(Kind.REPROVISION.value) or {}
    if not written:
        return []
    recorded = {c.key: c.generation for stack in project.records(policy) for c in stack.cloud_pcs}
    return sorted(key for key, generation in written.items() if int(generation) < recorded.get(key, 0))
