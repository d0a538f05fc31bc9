"""My Cloud PCs: a card for each, for its user."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloudpc.web import asking
from cloudpc.web.cloud_pc_pages import connect_line
from cloudpc.web.fleet import Row
from cloudpc.web.person import Person
from cloudpc.web.site import Site, person_of, site_of


def mine(request: Request) -> Response:
    """The cards of whoever looks; an admin has none but their own."""
    person, site = person_of(request), site_of(request)
    rows = [row for row in site.fleet.first().rows if row.record.user_id.lower() == (person.user_id or "").lower()]
    return site.page(request, "mine.html", cards=[_card(site, person, row) for row in rows])


def _card(site: Site, person: Person, row: Row) -> dict[str, object]:
    user = Person(person.name, user_id=row.record.user_id)
    return {
        "row": row,
        "stage": site.stage_of(row),
        "buttons": asking.buttons(user, row, site.today(row.record.policy)),
        "connect": connect_line(row),
        "runs": [run for run in site.runs.all() if run.cloud_pc == row.id and not run.is_over],
    }


ROUTES: list[BaseRoute] = [Route("/mine", mine)]
