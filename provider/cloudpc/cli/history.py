"""`cloudpc history`: what became of a user's Cloud PCs, and when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cloudpc.cli.context import Project, of_user
from cloudpc.cli.output import CommandError, Json, coloured, out, print_json, table
from cloudpc.directory.catalogue import short_name
from cloudpc.operations.records import CloudPCRecord, EndedRecord


def history(
    user: Annotated[str, typer.Argument(help="userPrincipalName, its part before the @, or the user's id.")],
    as_json: Json = False,
) -> None:
    """Show the last changes of a user's Cloud PCs, and the last one of each that has ended."""
    stacks = Project().records()
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
    histories = [_history(each) for each in everyone if each.user_id == user_id]
    histories.sort(key=lambda h: (h["events"][0]["dateTime"] if h["events"] else "", h["generation"]))
    if as_json:
        print_json(histories)
        return
    for each in histories:
        plan = short_name(each["servicePlan"])
        which = f"{plan} of {each['policy']}, {each['deviceName']}, generation {each['generation']}"
        out.print(f"{each['userPrincipalName']} ({which}){': ended' if each['ended'] else ''}")
        events = table("", "", "", "")
        for event in each["events"]:
            events.add_row("", event["dateTime"], coloured(event["status"]), event["why"])
        out.print(events)


def _history(cloud_pc: CloudPCRecord | EndedRecord) -> dict[str, Any]:
    if isinstance(cloud_pc, EndedRecord):
        ended, lines = True, [cloud_pc.event] if cloud_pc.event else []
    else:
        ended, lines = cloud_pc.is_gone, list(cloud_pc.recorded.events)
    return {
        "userPrincipalName": cloud_pc.user_principal_name,
        "userId": cloud_pc.user_id,
        "servicePlan": cloud_pc.service_plan,
        "policy": cloud_pc.policy,
        "deviceName": cloud_pc.device_name,
        "generation": cloud_pc.generation,
        "ended": ended,
        "events": [_event(line) for line in lines],
    }


def _event(line: str) -> dict[str, str]:
    when, _, rest = line.partition(" ")
    status, _, why = rest.partition(" ")
    return {"dateTime": when, "status": status, "why": why}
