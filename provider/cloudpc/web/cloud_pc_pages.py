"""One Cloud PC: what is known of it, its history, and its buttons."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cloudpc.cli.context import Project
from cloudpc.directory.catalogue import short_name
from cloudpc.model.text import command_line
from cloudpc.rules.actions import ACTIONS
from cloudpc.web import asking
from cloudpc.web.asking import Button
from cloudpc.web.fleet import Row
from cloudpc.web.guard import form_of
from cloudpc.web.person import Person
from cloudpc.web.runs import Run, TwiceError
from cloudpc.web.site import cloud_pc_of, person_of, site_of

_SEE_OTHER = 303
_CHANGED = "{} has changed since this page was loaded: nothing was done. Ask again if you still want it."
_NOT_FOR_USERS = "The policy of this Cloud PC does not let its user do that: nothing was done."


def cloud_pc(request: Request) -> Response:
    """All of one."""
    row, person, site = cloud_pc_of(request), person_of(request), site_of(request)
    return site.page(
        request,
        "cloud_pc.html",
        row=row,
        stage=site.stage_of(row),
        all_buttons=asking.buttons(person, row, site.today(row.record.policy)),
        history=_history(site.journal.of(row.record), row),
        runs=[run for run in site.runs.all() if run.cloud_pc == row.id][:20],
        connect=connect_line(row),
    )


def connect_line(row: Row) -> str:
    """The command that connects to it; empty where there is nothing to connect to."""
    if not row.json["connection"] or row.status == "failed":
        return ""
    return command_line("cloudpc", "connect", row.user, f"--service-plan={short_name(row.record.service_plan)}")


def _history(journal: list[dict[str, Any]], row: Row) -> list[tuple[str, str, str, str]]:
    """When, what, why, by whom; the last first."""
    events = [[*event.split(" ", 2), ""][:3] for event in row.record.recorded.events]
    lines = [(when, status, why, "") for when, status, why in events]
    lines += [(line["time"], line["did"], line.get("command", ""), line["by"]) for line in journal]
    return sorted(lines, key=lambda line: line[0], reverse=True)


def ask(request: Request) -> Response:
    """What an action costs, and what it wants to know, before it is done."""
    return _asked(request, _button(request), {}, "")


async def do(request: Request) -> Response:
    """Do it: the run's page follows."""
    form = await form_of(request)
    return await run_in_threadpool(_do, request, form)


def _do(request: Request, form: dict[str, str]) -> Response:
    button, person, site = _button(request), person_of(request), site_of(request)
    row = button.row
    if button.refusal:
        return _asked(request, button, form, "", status=409)  # the page says why
    if not _is_for(person, button):
        raise HTTPException(404, _NOT_FOR_USERS)
    if form.get("seen") != row.seen:
        return _asked(request, button, {}, _CHANGED.format(row.name), status=409)
    if button.action.loses_data and form.get("typed", "").strip() != row.name:
        return _asked(request, button, form, f"Type the name, {row.name}: nothing was done.", status=400)
    pc = row.record
    run = Run(
        button.words(form), person.name, [pc.policy],
        by_id=person.user_id or "", cloud_pc=row.id, user_id=pc.user_id, user=row.user,
    )  # fmt: skip

    def why_not() -> str:
        """It may have waited for others: what it would delete is another by now, or its user may no longer do that."""
        if not _is_for(person, button):
            return _NOT_FOR_USERS
        now = site.fleet.fresh().by_id.get(row.id) if button.action.loses_data else row
        return "" if now and now.seen == row.seen else _CHANGED.format(row.name)

    try:
        site.runs.start(run, why_not)
    except TwiceError as twice:
        return _asked(request, button, form, f"{twice}.", status=409, other=twice.run)
    site.journal.write(person.name, button.command, pc, command=run.shown, run=run.id)
    return RedirectResponse(f"/runs/{run.id}", _SEE_OTHER)


def _is_for(person: Person, button: Button) -> bool:
    """Whether the policy lets this person do that, as its file says now."""
    return person.is_admin or button.action.is_for_users_of(Project().policy(button.row.record.policy))


def _asked(
    request: Request, button: Button, form: dict[str, str], wrong: str, *, status: int = 200, other: Run | None = None
) -> Response:
    unsaid = {option.name: "…" for option in button.options if option.required}
    return site_of(request).page(
        request, "ask.html", status, row=button.row, button=button, given=form, wrong=wrong, other=other,
        shown=command_line("cloudpc", *button.words(unsaid | {name: said for name, said in form.items() if said})),
    )  # fmt: skip


def _button(request: Request) -> Button:
    row = cloud_pc_of(request)
    today = site_of(request).today(row.record.policy)
    person, command = person_of(request), request.path_params["command"]
    button = asking.button_of(person, row, today, command)
    if button is None:
        raise HTTPException(404, _NOT_FOR_USERS if any(each.command == command for each in ACTIONS) else None)
    return button


ROUTES: list[BaseRoute] = [
    Route("/cloud-pcs/{id}", cloud_pc),
    Route("/cloud-pcs/{id}/do/{command}", ask),
    Route("/cloud-pcs/{id}/do/{command}", do, methods=["POST"]),
]
