"""`cloudpc history`: what became of a user's Cloud PCs, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from cloudpc.cli.context import Project
from cloudpc.cli.journal import Journal
from cloudpc.cli.names import of_user
from cloudpc.cli.output import CommandError, Json, coloured, out, print_json, table
from cloudpc.directory.catalogue import short_name
from cloudpc.operations.records import CloudPCRecord, EndedRecord


def history(
    user: Annotated[str, typer.Argument(help="userPrincipalName, its part before the @, or the user's id.")],
    as_json: Json = False,
) -> None:
    """Show what became of a user's Cloud PCs, also of those that have ended, and who asked for what.

    Who asked is known of one account's commands and pages in this project's folder (docs/pages.md); of cloudpc:actions
    by hand, Git knows.
    """
    project = Project()
    stacks = project.records()
    everyone: list[CloudPCRecord | EndedRecord] = [
        *(c for s in stacks for c in s.cloud_pcs),
        *(e for s in stacks for e in s.ended),
    ]
    try:
        found = of_user(user, everyone)
    except CommandError as error:
        message = f"{error}. Of policies that were removed with their stack only `cloudpc:audit` remembers anything"
        raise CommandError(message, error.code) from None
    [user_id] = {each.user_id for each in found}  # some may carry the user's previous name
    journal, seen = Journal(project), set[str]()
    histories = []
    theirs = (record for record in everyone if record.user_id == user_id)
    for record in sorted(theirs, key=_has_ended):  # those that are there first: what was asked of them is told once
        is_new = record.service_plan not in seen  # whatever policy it is of now
        seen.add(record.service_plan)
        histories.append(_history(record, journal.of(record) if is_new else []))
    histories.sort(key=lambda h: (h["events"][0]["dateTime"] if h["events"] else "", h["generation"]))
    if as_json:
        print_json(histories)
        return
    for each in histories:
        plan = short_name(each["servicePlan"])
        which = f"{plan} of {each['policy']}, {each['deviceName']}, generation {each['generation']}"
        out.print(f"{each['userPrincipalName']} ({which}){': ended' if each['ended'] else ''}")
        events = table("", "", "", "")
        lines = [(event["dateTime"], coloured(event["status"]), event["why"]) for event in each["events"]]
        lines += [(asked["dateTime"], asked["action"], f"by {asked['by']}") for asked in each["asked"]]
        for line in sorted(lines, key=lambda line: line[0]):
            events.add_row("", *line)
        out.print(events)


def _history(cloud_pc: CloudPCRecord | EndedRecord, asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(cloud_pc, EndedRecord):
        lines = [cloud_pc.event] if cloud_pc.event else []
    else:
        lines = list(cloud_pc.recorded.events)
    return {
        "userPrincipalName": cloud_pc.user_principal_name,
        "userId": cloud_pc.user_id,
        "servicePlan": cloud_pc.service_plan,
        "policy": cloud_pc.policy,
        "deviceName": cloud_pc.device_name,
        "generation": cloud_pc.generation,
        "ended": _has_ended(cloud_pc),
        "events": [_event(line) for line in lines],
        "asked": [{"dateTime": a["time"], "action": a["did"], "by": a["by"]} for a in asked],
    }


def _has_ended(cloud_pc: CloudPCRecord | EndedRecord) -> bool:
    return isinstance(cloud_pc, EndedRecord) or cloud_pc.is_gone


def _event(line: str) -> dict[str, str]:
    when, _, rest = line.partition(" ")
    status, _, why = rest.partition(" ")
    return {"dateTime": when, "status": status, "why": why}
