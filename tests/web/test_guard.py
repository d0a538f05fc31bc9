"""What stands before every page; no engine is needed for it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError
from cloudpc.files.project import PROJECT
from cloudpc.web import policies_pages, run_pages, server, static_files, terminal
from cloudpc.web.app import create
from cloudpc.web.guard import Origins
from cloudpc.web.person import Person
from cloudpc.web.runs import Run
from cloudpc.web.sessions import IDLE_SECONDS, Sessions
from cloudpc.web.site import Site
from tests.support.project import REPO

ROOT = Person("root", is_admin=True)
ADDRESS = "http://127.0.0.1:8365"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((REPO / "Pulumi.yaml").read_text())
    monkeypatch.setenv(PROJECT, str(tmp_path))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    return Site.of(Project(), Origins([ADDRESS]))


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create(site), base_url=ADDRESS) as client:
        yield client


def test_an_address_signs_in_once_by_a_cookie_that_no_script_and_no_other_site_has(
    site: Site, client: TestClient
) -> None:
    assert client.get("/fleet").status_code == 401
    token = site.sessions.invite(Person("root", is_admin=True))
    answer = client.get(f"/?token={token}", follow_redirects=False)
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert token not in cookie
    assert client.get("/fleet").status_code == 200
    client.cookies.clear()
    again = client.get(f"/?token={token}")
    assert again.status_code == 401
    assert "works once" in again.text
    assert client.get("/fleet").status_code == 401


def test_it_is_said_how_to_get_another_address_there(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_there in (False, True):
        monkeypatch.setattr(terminal, "is_there", lambda is_there=is_there: is_there)
        for path in ("/fleet", "/?token=x"):
            text = client.get(path).text
            assert ("Enter in its terminal" in text) is is_there
            assert ("started again, it prints another one" in text) is not is_there


def test_requests_of_others_are_refused(site: Site, client: TestClient) -> None:
    session = site.sessions.begin(Person("root", is_admin=True))
    client.cookies.set(site.origins.cookie, session.id)
    assert client.get("/fleet", headers={"host": "evil.example:8365"}).status_code == 403
    assert client.get("/fleet", headers={"host": "127.0.0.1:1"}).status_code == 403
    form = {"csrf": session.csrf}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", ""):
        assert client.post("/sign-out", data=form, headers={"origin": origin}).status_code == 403, origin
    assert client.post("/sign-out", data=form).status_code == 403, "no browser sends a form without"
    own = {"origin": ADDRESS}
    assert client.post("/sign-out", data={"csrf": "x"}, headers=own).status_code == 403
    assert client.post("/sign-out", headers=own).status_code == 403
    assert client.post("/sign-out", content=b"a" * 100_000, headers=own).status_code == 413
    assert client.get("/sign-out").status_code == 405
    assert site.sessions.get(session.id) is session
    assert client.post("/sign-out", data=form, headers=own).status_code == 200
    assert site.sessions.get(session.id) is None


def test_each_answer_forbids_what_is_not_ours(client: TestClient) -> None:
    for path in ("/fleet", "/nothing", f"{static_files.base()}/pages.css", "/?token=x"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        for inline in ("style=", "onclick", "<style", "javascript:"):
            assert inline not in answer.text or path.endswith("css"), (path, inline)


def test_what_pages_load_is_kept_by_browsers_and_pages_are_not(
    site: Site, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = client.get("/fleet")
    assert page.headers["cache-control"] == "no-store"
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert any(address.endswith("/pages.css") for address in addresses)
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    own = client.get(addresses[0].replace(static_files.base(), "/static/0123456789abcdef0123"))
    assert own.status_code == 404
    assert own.headers["cache-control"] == "no-store", "another version's may come yet"
    before = static_files.base.__wrapped__()
    for name in ("live.js", "htmx.js"):
        (tmp_path / name).write_text(name)
        monkeypatch.setattr(static_files, "from_npm", lambda: tmp_path)
        after = static_files.base.__wrapped__()
        assert after != before
        before = after


def test_of_a_mistake_of_ours_nobody_sees_more_than_that(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(_: Request) -> Response:
        raise RuntimeError("what only we should know")

    with TestClient(create(site, [Route("/wrong", wrong)]), base_url=ADDRESS) as client:
        answer = client.get("/wrong")
    assert answer.status_code == 500
    assert "what only we" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "RuntimeError: what only we should know" in caplog.text
    assert "Traceback" not in caplog.text


def test_what_others_send_steers_no_terminal(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(request: Request) -> Response:
        raise RuntimeError(f"what is {request.path_params['what']}\nsecond line")

    with TestClient(create(site, [Route("/wrong/{what}", wrong)]), base_url=ADDRESS) as client:
        assert client.get("/wrong/%1b%5D0;x%07").status_code == 500
    [logged] = [record.getMessage() for record in caplog.records if "RuntimeError" in record.getMessage()]
    assert "second line" in logged
    assert not set("\x1b\x07\n") & set(logged)


def test_the_form_of_a_policy_may_be_longer_than_others(site: Site, client: TestClient) -> None:
    session = site.sessions.begin(Person("root", is_admin=True))
    client.cookies.set(site.origins.cookie, session.id)
    for letters, code in ((100_000, 404), (5_000_000, 413)):
        form = {"csrf": session.csrf, "text": "a" * letters}
        assert client.post("/policies/none", data=form, headers={"origin": ADDRESS}).status_code == code


@pytest.mark.parametrize(
    "was", ["a: 1\nb: 2\nc: 3\n", "a: 1\nb: 2\nc: 3", "a: 1\r\nb: 2\r\nc: 3\r\n", "a: 1\n\n\x0cb: 2\n\n"]
)
def test_a_policy_s_difference_is_one_that_git_applies(tmp_path: Path, was: str) -> None:
    file = tmp_path / "p.yaml"
    sent = was.replace("\r\n", "\n").replace("\n", "\r\n")  # as browsers do
    assert policies_pages._difference("p.yaml", was, policies_pages._as_in_file(sent, was)) == ""
    for old, new in (("a: 1", "a: new\r\nz: 0"), (was.split()[-1], "last")):
        proposed = policies_pages._as_in_file(sent.replace(old, new), was)
        file.write_text(was, newline="")
        diff = policies_pages._difference("p.yaml", was, proposed).encode()
        subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, check=True)
        assert file.read_bytes() == proposed.encode()
        assert proposed != was


def test_a_line_that_the_journal_can_t_keep_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    (site.journal.folder / "audit.jsonl").mkdir()
    site.journal.write("root\x1b", "signed in")
    assert "`signed in` by root" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_file_where_pages_need_a_folder_is_named(site: Site) -> None:
    there = site.journal.folder / "runs"
    there.rmdir()
    there.write_text("")
    with pytest.raises(CommandError, match=f"{there} is not a folder"):
        Site.of(Project(), Origins([ADDRESS]))


def test_what_a_run_says_is_read_by_nobody_who_has_signed_out(site: Site, client: TestClient) -> None:
    run = Run(["up"], "root", ["demo"])
    site.runs._runs[run.id] = run
    session = site.sessions.begin(Person("root", is_admin=True))
    client.cookies.set(site.origins.cookie, session.id)
    begun = Thread(target=lambda: (sleep(1), site.sessions.end(session)))
    begun.start()
    with client.stream("GET", f"/runs/{run.id}/lines") as lines:
        assert "event: over" not in "".join(lines.iter_text()), "it ends all the same"
    begun.join()


def test_news_end_with_the_session(site: Site, client: TestClient) -> None:
    session = site.sessions.begin(Person("root", is_admin=True))
    client.cookies.set(site.origins.cookie, session.id)
    begun = Thread(target=lambda: (sleep(0.5), site.sessions.end(session), sleep(5), setattr(site, "is_ending", True)))
    begun.start()
    with client.stream("GET", "/news") as news:
        assert ": here" in "".join(news.iter_text())
    assert not site.is_ending, "it has not waited for that"
    begun.join()


def test_what_changes_before_a_page_listens_is_news(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_pages, "_BEATS_EVERY", 1)
    client, session = TestClient(create(site), base_url=ADDRESS), site.sessions.begin(ROOT)  # nothing looks by itself
    client.cookies.set(site.origins.cookie, session.id)
    page = client.get("/runs").text
    [since] = re.findall(r'<body data-news="([^"]+)">', page)

    async def told(since: str) -> bool:
        async with asyncio.timeout(60):
            async for text in run_pages._news(site, session, since):
                if "changed" in text or "all is well" in text:
                    return "changed" in text
        raise AssertionError("it has ended")

    assert not asyncio.run(told(since))
    site.surroundings.number += 1
    assert asyncio.run(told(since))


def test_who_has_signed_out_can_sign_in_again(site: Site) -> None:
    told: list[str] = []
    made = server._site(Project(), 8365, Person("root", is_admin=True), told.append)
    with TestClient(create(made), base_url=ADDRESS, headers={"origin": ADDRESS}) as client:
        for _ in range(2):
            assert client.get(told[-1]).status_code == 200
            session = made.sessions.get(client.cookies[made.origins.cookie])
            assert session
            assert "signs you in again" in client.post("/sign-out", data={"csrf": session.csrf}).text
    addresses = [text for text in told if text.startswith(f"{ADDRESS}/?token=")]
    assert len(set(addresses)) == 3
    assert site.origins.addresses == made.origins.addresses


def test_another_address_takes_the_place_of_the_session_before() -> None:
    sessions = Sessions()
    ended: list[tuple[object, bool]] = []
    sessions.on_end.append(lambda session: ended.append((session, sessions.anybody)))
    first = sessions.invite(ROOT)
    lost = sessions.accept(sessions.invite(ROOT))
    assert lost
    assert sessions.accept(first) is None, "a later address is the only one"
    assert sessions.is_open(lost), "what is wrong ends nothing"
    new = sessions.accept(sessions.invite(ROOT))
    assert new
    assert not sessions.is_open(lost)
    assert sessions.is_open(new)
    assert ended == [(lost, True)], "nobody is told to sign in again"


def test_sessions_end_and_tell() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    told: list[object] = []
    sessions.on_end.append(told.append)
    idle = sessions.begin(Person("a"))
    now[0] = IDLE_SECONDS - 1
    assert sessions.get(idle.id) is idle
    now[0] = 2 * IDLE_SECONDS
    assert sessions.get(idle.id) is None
    assert told == [idle]
    other = sessions.begin(Person("b"))
    assert sessions.is_open(other)
    now[0] = 4 * IDLE_SECONDS
    assert not sessions.is_open(other), "what only waits for news uses nothing"
    assert told == [idle, other]


def test_without_the_extra_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from cloudpc.web.command import serve\n"
        "try: serve()\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'cloudpc[web]'" in done.stdout
    assert "uvicorn" in done.stdout


def test_a_user_reads_of_a_run_what_is_theirs() -> None:
    run = Run(["restart"], "bob", ["demo"], user_id="u1", user="u1@contoso.example", waits_for="carol's `cloudpc up`")
    theirs = [
        " ~  pulumi-python:dynamic/cloudpc:CloudPC u1/PLAN updating (0s); disk",
        "    pulumi-python:dynamic/cloudpc:CloudPC (u1/PLAN):",
        "u1@contoso.example  PLAN  demo  CPC-u1  provisioned",
        "cloudpc: not done for u1@contoso.example (PLAN), for the reason above",
    ]
    others = [
        "u11@contoso.example  PLAN",
        "au1@contoso.example PLAN",
        "CloudPC u11/PLAN updating",
        "xu1/PLAN",
        "warning",
    ]
    user = Person("u1@contoso.example", user_id="u1")
    assert run.shown_to(user, [*others, *theirs, *others]) == theirs
    assert run.shown_to(Person("root", is_admin=True), others) == others
    assert "carol" not in run.said_to(user)
    run.ended, run.code = "2026-01-01T00:00:00Z", 1
    assert run.said_to(user) == "did not work; an admin sees here why"
    assert run.said_to(Person("root", is_admin=True)) == "did not work; the reason is below"
