"""What all pages of a server share, and what each page begins with: who asks, and for which Cloud PC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from cloudpc.cli.context import Project
from cloudpc.cli.journal import Journal
from cloudpc.web import pages_folder, static_files
from cloudpc.web.at_work import AtWork
from cloudpc.web.fleet import Fleet, Row, Today
from cloudpc.web.guard import Origins, session_of
from cloudpc.web.person import Person
from cloudpc.web.runs import Run, Runs
from cloudpc.web.sessions import Sessions
from cloudpc.web.sign_in import SignIn
from cloudpc.web.surroundings import Surroundings


@dataclass
class Site:
    """One server's."""

    origins: Origins
    sessions: Sessions
    fleet: Fleet
    journal: Journal
    runs: Runs
    at_work: AtWork
    surroundings: Surroundings
    project_name: str = ""
    sign_in: SignIn | None = None
    """By a tenant; None: by the address that is printed."""
    is_ending: bool = False
    """Whether the server is about to end: what waits for news ends, too."""

    @classmethod
    def of(cls, project: Project, origins: Origins) -> Site:
        """Of a project, with nobody signed in. Raises CommandError: another account has served pages there."""
        journal, fleet = Journal(project), Fleet()

        def ended(run: Run) -> None:
            del run
            fleet.fresh()

        with pages_folder.made(journal.folder):
            runs = Runs(project, journal.folder, ended)
            at_work = AtWork(project.root, runs, lambda: fleet.snapshot.policies)
        return cls(origins, Sessions(), fleet, journal, runs, at_work, Surroundings(), project.root.name)

    def macro(self, template: str, name: str) -> Callable[..., Markup]:
        """A part of pages, by the template that has it."""
        found: Callable[..., Markup] = getattr(self._templates.get_template(template).module, name)
        return found

    @cached_property
    def _templates(self) -> jinja2.Environment:
        made = jinja2.Environment(
            loader=jinja2.PackageLoader("cloudpc.web"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        made.filters["when"] = lambda text: text.replace("T", " ").removesuffix("Z")[:16]
        made.globals["static"] = static_files.base()
        made.globals["has_htmx"] = (static_files.from_npm() / "htmx.org/dist/htmx.min.js").is_file()
        return made

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page for whoever is signed in there; the template has `person`, `csrf` and `path`, too."""
        session = getattr(request.state, "session", None)
        text = self._templates.get_template(template).render(
            person=session.person if session else None,
            csrf=session.csrf if session else "",
            path=request.url.path,
            news=getattr(request.state, "news", ""),
            project=self.project_name,
            **values,
        )
        return HTMLResponse(text, status)

    @property
    def news(self) -> str:
        """Another one whenever something that pages show has changed."""
        return ".".join(str(each.number) for each in (self.fleet, self.runs, self.at_work, self.surroundings))

    def today(self, policy: str) -> Today:
        """What a policy says now."""
        return self.fleet.snapshot.today.get(policy, Today())

    def stage_of(self, row: Row) -> str:
        """What is being done with a Cloud PC now; empty: nothing."""
        return self.at_work.stages.get(row.place, (None, ""))[1]


def site_of(connection: HTTPConnection) -> Site:
    """The server's."""
    site: Site = connection.app.state.site
    return site


def person_of(connection: HTTPConnection) -> Person:
    """Who asks. Raises HTTPException 401: nobody is signed in there."""
    return session_of(connection).person


def admin_of(connection: HTTPConnection) -> Person:
    """An admin who asks. Raises HTTPException: 404 for users, to whom there is no such page."""
    person = person_of(connection)
    if not person.is_admin:
        raise HTTPException(404)
    return person


def cloud_pc_of(connection: HTTPConnection) -> Row:
    """The Cloud PC of the address (`{id}`). Raises HTTPException 404: there is none, or it is another's."""
    person = person_of(connection)
    row = site_of(connection).fleet.first().by_id.get(connection.path_params["id"])
    if row is None or not person.may_see(row.record):
        raise HTTPException(404)
    return row
