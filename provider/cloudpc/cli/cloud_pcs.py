"""`cloudpc list` and `cloudpc show`."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.padding import Padding

from cloudpc.cli import drift
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, Terminal, coloured, err, out, print_json, styled, table
from cloudpc.directory.catalogue import short_name
from cloudpc.iac.fleet import CloudPCRecord
from cloudpc.model.cloud_pc import Status
from cloudpc.model.directory import GUID, DirectoryError, Snapshot
from cloudpc.model.errors import ErrorCode
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.model.text import command_line
from cloudpc.rules.entitlement import Reason
from cloudpc.rules.ownership import PolicyFacts

_READABLE = 30
"""Characters that the last column needs at least, to be read beside the others."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def list_(
    policy: Annotated[str | None, typer.Option(help="Only this policy.")] = None,
    status: Annotated[list[Status] | None, typer.Option(help="Only these statuses; may be repeated.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also users without a Cloud PC, and why.")] = False,
    outdated_: Annotated[
        bool, typer.Option("--outdated", help="Only those made with other settings than today's, and what differs.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 if a listed one has failed.")] = False,
    as_json: Json = False,
) -> None:
    """List the Cloud PCs of all policies."""
    project = Project()
    stacks = project.records()
    if policy is not None:
        project.check_policy(policy, {stack.policy for stack in stacks})
    cloud_pcs = [c for stack in stacks for c in stack.cloud_pcs]
    unknown: list[str] = []
    if outdated_:
        differing = drift.differences(project, (c for c in cloud_pcs if policy in (None, c.policy)))
        unknown = differing.unknown
        named = ((c, differing.found.get((c.policy, c.key))) for c in cloud_pcs)
        rows = [{**c.as_json(), "outdated": changes} for c, changes in named if changes]
    else:
        rows = [c.as_json() for c in cloud_pcs]
    if all_ and not outdated_:
        directories = _policies_by_directory(project)
        files = project.policy_ids()
        ignored = _ignored(directories, [stack.facts(has_file=stack.policy in files) for stack in stacks])
        rows += [*_without(directories, rows, ignored), *ignored]
    if policy is not None:
        rows = [r for r in rows if r["policy"] in (policy, None)]
    if status:
        rows = [r for r in rows if r["status"] in {s.value for s in status}]
    rows.sort(key=lambda r: (r["userPrincipalName"], r["servicePlan"] or ""))
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(rows)
        for name in sorted({row["policy"] for row in rows if row["policy"]}):
            if project.is_marked_as_deleted(name):
                err.print(f"{name} is marked as deleted: it goes with its last Cloud PC")
    elif not unknown:
        hint = "" if all_ or status or policy else "; `cloudpc list --all` shows who has none, and why"
        err.print("none is outdated" if outdated_ else f"no Cloud PCs{hint}")
    if check and any(r["status"] == Status.FAILED for r in rows):
        raise typer.Exit(Exit.FAILED_CLOUD_PC)
    if unknown:
        raise CommandError(f"not all are listed: what today's settings are is not known of {', '.join(unknown)}")


def _policies_by_directory(project: Project) -> list[tuple[Snapshot, dict[str, ProvisioningPolicy]]]:
    """The policies that have a valid file, with the directory each works with."""
    from cloudpc.configuration import parsing

    by_directory: dict[str, tuple[Snapshot, dict[str, ProvisioningPolicy]]] = {}
    for policy_id in project.policy_ids():
        try:
            inputs = parsing.read_policy_and_directory(policy_id, project.values(policy_id), project.directories)
        except InvalidConfigurationError as error:
            err.print(f"left out: {policy_id}, whose configuration is wrong: {error.problems[0]}")
            continue
        except DirectoryError as error:
            err.print(f"left out: {policy_id}: {error}")
            continue
        _, policies = by_directory.setdefault(inputs.directory, (inputs.snapshot, {}))
        policies[policy_id] = inputs.policy
    return list(by_directory.values())


def _without(
    directories: list[tuple[Snapshot, dict[str, ProvisioningPolicy]]],
    present: list[dict[str, Any]],
    ignored: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Users who have no Cloud PC, and why."""
    from cloudpc.rules import entitlement

    not_theirs = {(row["policy"], row["userId"], row["servicePlan"]) for row in ignored}
    have = {(row["userId"], row["servicePlan"]) for row in present}
    rows: dict[tuple[str, str | None], dict[str, Any]] = {}
    for snapshot, policies in directories:
        for none in entitlement.not_provisioned(policies, snapshot):
            plan = none.service_plan
            row = _row(none.user, plan, none.policy_id, none.code.value, none.message)
            rows[none.user.id, plan.id if plan else None] = row
        for policy_id, each in policies.items():
            for owed in entitlement.entitled(each, snapshot):
                if (policy_id, owed.user.id, owed.service_plan.id) in not_theirs:
                    continue
                message = "entitled; the next `pulumi up` of this policy makes one"
                row = _row(owed.user, owed.service_plan, policy_id, Reason.NOT_RUN_YET, message)
                rows.setdefault((owed.user.id, owed.service_plan.id), row)
    served = {user for user, _ in have}
    return [
        row for (user, plan), row in rows.items() if (user, plan) not in have and not (plan is None and user in served)
    ]


def _ignored(
    directories: list[tuple[Snapshot, dict[str, ProvisioningPolicy]]], facts: list[PolicyFacts]
) -> list[dict[str, Any]]:
    """Policies that target a user whom another one serves, and which: the first assigned wins (design rule 2)."""
    from cloudpc.rules import entitlement, ownership

    present = {(policy.policy_id, key) for policy in facts for key in policy.cloud_pcs}
    held = ownership.held(facts)
    rows = []
    for snapshot, policies in directories:
        serving = ownership.owners(facts, snapshot)
        for policy_id, policy in policies.items():
            for owed in entitlement.entitled(policy, snapshot):
                first, before = serving.get(owed.user.id, policy_id), held.get(owed.key, policy_id)
                if (policy_id, owed.key) in present:
                    continue  # it says so itself
                if first != policy_id:
                    why = f"ignored for this user, whom {first} serves: the first assigned wins"
                elif before != policy_id:
                    why = f"waits for the end of the one that {before} still has"
                else:
                    continue
                rows.append(_row(owed.user, owed.service_plan, policy_id, ErrorCode.OTHER_POLICY_FIRST.value, why))
    return rows


def _row(user: Any, plan: Any, policy: str | None, code: str, message: str) -> dict[str, Any]:
    return {
        "userPrincipalName": user.user_principal_name,
        "userId": user.id,
        "servicePlan": plan.id if plan else None,
        "servicePlanName": plan.display_name if plan else None,
        "policy": policy,
        "deviceName": None,
        "status": Status.NOT_PROVISIONED.value,
        "statusDetail": {"code": code, "message": message},
        "host": None,
        "connection": None,
        "powerState": None,
        "pausedBecause": None,
        "lastModifiedDateTime": None,
        "gracePeriodEndDateTime": None,
        "why": None,
        "leftovers": [],
    }


def print_rows(rows: list[dict[str, Any]], console: Terminal = out) -> None:
    """The table of Cloud PCs, with the reasons of those that are not usable; below each where it would be too wide."""
    several = Counter(row["userPrincipalName"] for row in rows if row["connection"])
    lines = []
    for row in rows:
        plan = short_name(row["servicePlan"]) if row["servicePlan"] else None
        if plan and GUID.fullmatch(plan):
            plan = row["servicePlanName"]  # a tenant's id says nothing to people
        told = []
        # a lost machine's connection is remembered, in case it comes back
        if row["connection"] and row["status"] != Status.FAILED:
            which = ["--service-plan", plan or ""] if several[row["userPrincipalName"]] > 1 else []
            told.append(command_line("cloudpc", "connect", row["userPrincipalName"], *which))
        if end := row["gracePeriodEndDateTime"]:
            told.append(f"grace until {datetime.fromisoformat(end):%Y-%m-%d %H:%M} UTC ({row['why']})")
        elif row["why"]:
            told.append(row["why"])
        if row["powerState"] == "poweredOff":
            told.append("off; the next run starts it")
        if row["powerState"] == "paused":
            told.append(f"paused: {row['pausedBecause']}; the next run resumes it")
        if row["leftovers"]:
            told.append(f"not removed whole, tried again by each run: {'; '.join(row['leftovers'])}")
        if detail := row["statusDetail"]:
            code = f"[{detail['code']}]"
            told.append(detail["message"] if code in detail["message"] else f"{detail['message']} {code}")
        told += row.get("outdated") or []
        cells = [cell or "-" for cell in (row["userPrincipalName"], plan, row["policy"], row["deviceName"])]
        lines.append(([*cells, row["status"]], "; ".join(told)))
    headers = ["USER", "SERVICE PLAN", "POLICY", "DEVICE", "STATUS"]
    widths = [max(map(len, column)) for column in zip(headers, *(cells for cells, _ in lines), strict=True)]
    if sum(widths) + 2 * len(widths) + _READABLE <= console.width:
        shown = table(*headers, "CONNECT / WHY")
        for (*cells, status), told_ in lines:
            shown.add_row(*cells, coloured(status), told_)
        console.print(shown)
        return
    for (name, plan_, policy, device, status), told_ in lines:
        console.print(styled(name, "bold"), coloured(status), sep="  ")
        console.print(f"  {plan_} of {policy}, {device}")
        if told_:
            console.print(Padding(told_, (0, 0, 0, 2)), soft_wrap=False)


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
        shown.show_header = False
        for name, value in {**cloud_pc.as_json(), **_more(cloud_pc)}.items():
            for line_name, line in _lines(name, value):
                shown.add_row(styled(line_name, "bold"), line)
        out.print(shown)
        out.print()


def _more(cloud_pc: CloudPCRecord) -> dict[str, Any]:
    names = ("account", "attempts", "device", "computer", "onPremisesConnectionName", "hostKey", "settings")
    more = {name: cloud_pc.outputs.get(name) for name in names}
    detail = cloud_pc.outputs.get("statusDetail")
    page = f"docs/errors.md#{detail['code'].lower()}" if detail else None
    return {"help": page, "generation": cloud_pc.outputs.get("generation", 1), **more}


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _lines(f"{name}.{key}", inner)]
    if isinstance(value, list):
        return [line for i, inner in enumerate(value) for line in _lines(f"{name}[{i}]", inner)]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return [] if value in (None, "") else [(name, str(value))]
