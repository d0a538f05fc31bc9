"""`cloudpc list` and `cloudpc show`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from cloudpc.cli import differences
from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, Json, err, out, print_json, styled, table
from cloudpc.iac import outputs
from cloudpc.model.cloud_pc import Status
from cloudpc.operations.records import CloudPCRecord, StackRecord


def list_(
    policy: Annotated[str | None, typer.Option(help="Only this policy.")] = None,
    status: Annotated[list[Status] | None, typer.Option(help="Only these statuses; may be repeated.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also users without a Cloud PC, and why.")] = False,
    outdated: Annotated[
        bool,
        typer.Option("--outdated", help="Only those whose settings differ from the policy's current ones, and how."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 if a listed one has failed.")] = False,
    as_json: Json = False,
) -> None:
    """List the Cloud PCs of all policies."""
    project = Project()
    stacks = project.records()
    if policy is not None:
        project.check_policy(policy, {stack.policy for stack in stacks})
    unknown: list[str] = []
    if outdated:
        rows, unknown = _outdated(project, stacks, policy)
    else:
        rows = _everyone(project, stacks, with_none=all_)
    rows = _chosen(rows, policy, status or ())
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(rows)
        _tell_marked(project, rows)
    elif not unknown:
        hint = "" if all_ or status or policy else "; `cloudpc list --all` shows who has none, and why"
        err.print("none is outdated" if outdated else f"no Cloud PCs{hint}")
    if check and any(row["status"] == Status.FAILED for row in rows):
        raise typer.Exit(Exit.FAILED_CLOUD_PC)
    if unknown:
        raise CommandError(f"the list is incomplete: the current settings are unknown of {', '.join(unknown)}")


def _everyone(project: Project, stacks: Sequence[StackRecord], *, with_none: bool) -> list[dict[str, Any]]:
    rows = [cloud_pc.as_json() for stack in stacks for cloud_pc in stack.cloud_pcs]
    if with_none:
        from cloudpc.cli import without_cloud_pc

        rows += without_cloud_pc.rows(project, stacks, rows)
    return rows


def _outdated(
    project: Project, stacks: Sequence[StackRecord], policy: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows with what differs, and the policies whose current settings are unknown."""
    cloud_pcs = [c for stack in stacks for c in stack.cloud_pcs if policy in (None, c.policy)]
    differing = differences.of_all(project, cloud_pcs)
    named = ((c, differing.found.get((c.policy, c.key))) for c in cloud_pcs)
    return [{**c.as_json(), "outdated": changes} for c, changes in named if changes], differing.unknown


def _chosen(rows: Iterable[dict[str, Any]], policy: str | None, statuses: Sequence[Status]) -> list[dict[str, Any]]:
    """Those asked for by name; a user without a policy counts for each."""
    chosen = [
        row
        for row in rows
        if (policy is None or row["policy"] in (policy, None)) and (not statuses or row["status"] in statuses)
    ]
    return sorted(chosen, key=lambda row: (row["userPrincipalName"], row["servicePlan"] or ""))


def _tell_marked(project: Project, rows: Sequence[dict[str, Any]]) -> None:
    for name in sorted({row["policy"] for row in rows if row["policy"]}):
        if project.is_marked_as_deleted(name):
            err.print(f"{name} is marked as deleted: it is removed with its last Cloud PC")


def show(
    user: Annotated[str, typer.Argument(help="userPrincipalName, its part before the @, or the user's id.")],
    as_json: Json = False,
) -> None:
    """Show all that is known of a user's Cloud PCs."""
    found = Project().of_user(user)
    if as_json:
        print_json([{**c.as_json(), **_more(c)} for c in found])
        return
    for cloud_pc in found:
        shown = table("", "")
        for name, value in {**cloud_pc.as_json(), **_more(cloud_pc)}.items():
            for line_name, line in _lines(name, value):
                shown.add_row(styled(line_name, "bold"), line)
        out.print(shown)
        out.print()


def _more(cloud_pc: CloudPCRecord) -> dict[str, Any]:
    names = ("account", "attempts", "device", "computer", "facts", "onPremisesConnectionName", "hostKey", "settings")
    values = outputs.written(cloud_pc.recorded)
    detail = cloud_pc.recorded.status_detail
    page = f"docs/errors.md#{detail.code.lower()}" if detail else None
    return {"help": page, "generation": cloud_pc.generation, **{name: values.get(name) for name in names}}


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _lines(f"{name}.{key}", inner)]
    if isinstance(value, list):
        return [line for i, inner in enumerate(value) for line in _lines(f"{name}[{i}]", inner)]
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return [] if value in (None, "") else [(name, str(value))]
