"""Pages over a real project: its state by the real engine, its machines on the fake hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cloudpc.cli.context import Project as Opened
from cloudpc.web.app import create
from cloudpc.web.guard import Origins
from cloudpc.web.person import Person
from cloudpc.web.site import Site
from tests.engine.conftest import tiny_image
from tests.support.project import FAKES, Project, user

__all__ = ["tiny_image"]

ADDRESS = "http://127.0.0.1:8365"
ADMIN = Person("root", is_admin=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_image: Path) -> Iterator[Project]:
    """Two users with a Cloud PC each, one whose Cloud PC has failed; this process is in it, too."""
    made = Project(tmp_path_factory.mktemp("pages") / "a project", tiny_image)
    made.directory([user("u000"), user("u001"), user("u002")])
    made.policy()
    made.init()
    made.host(faults=[{"call": "start", "user": "u002", "fault": "error"}])
    made.env["PYTHONPATH"] = f"{FAKES / 'added_action'}:{FAKES}"
    made.up()
    made.host()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.env.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(FAKES))
        yield made
    made.stop()


@dataclass
class Pages:
    """A server's application, and browsers that are signed in to it."""

    site: Site
    client: TestClient

    def browser(self, person: Person) -> TestClient:
        """One that is signed in."""
        other = TestClient(self.client.app, base_url=ADDRESS, headers={"origin": ADDRESS})
        session = self.site.sessions.begin(person)
        other.cookies.set(self.site.origins.cookie, session.id)
        return other

    def csrf(self, browser: TestClient) -> str:
        """What its forms have."""
        session = self.site.sessions.get(browser.cookies[self.site.origins.cookie])
        assert session
        return session.csrf

    def form(self, browser: TestClient, user_id: str) -> dict[str, str]:
        """What a form on that user's Cloud PC has."""
        return {"csrf": self.csrf(browser), "seen": self.site.fleet.first().by_id[self.id_of(user_id)].seen}

    def id_of(self, user_id: str) -> str:
        return next(row.id for row in self.site.fleet.first().rows if row.record.user_id == user_id)


@pytest.fixture
def pages(project: Project) -> Iterator[Pages]:
    site = Site.of(Opened(), Origins([ADDRESS]))
    with TestClient(create(site), base_url=ADDRESS) as client:
        yield Pages(site, client)
    site.runs.stop_all()


@pytest.fixture
def admin(pages: Pages) -> TestClient:
    return pages.browser(ADMIN)


@pytest.fixture
def someone(pages: Pages) -> TestClient:
    """The user u000."""
    return pages.browser(Person("u000@contoso.example", user_id="u000"))
