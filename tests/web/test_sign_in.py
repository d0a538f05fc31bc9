"""Signing in by a tenant: who comes in as what, and who does not."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError
from cloudpc.files.project import PROJECT
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.lifecycle import reconcile
from cloudpc.web import sign_in_pages
from cloudpc.web.app import create
from cloudpc.web.fleet import Snapshot
from cloudpc.web.guard import Origins
from cloudpc.web.person import Person
from cloudpc.web.registration import CERTIFICATE, SECRET, Options, Registration
from cloudpc.web.server import listen
from cloudpc.web.sign_in import FLOW_SECONDS, SignIn
from cloudpc.web.site import Site
from tests.core import make
from tests.support.project import REPO
from tests.tenant.fixtures import directory_file, sign_in, tenant
from tests.tenant.identifiers import guid
from tests.tenant.sign_in import SignIn as Entra
from tests.tenant.tenant import Tenant

__all__ = ["directory_file", "sign_in", "tenant"]

ADDRESS = "http://localhost:8365"
BEHIND = "https://cloudpcs.example"
ALICE, CAROL = guid("user", "u-alice"), guid("user", "u-carol")
SALES = guid("group", "sales")


@pytest.fixture
def project(tmp_path: Path, sign_in: Entra, monkeypatch: pytest.MonkeyPatch) -> Project:
    """One whose directory is a tenant, with what the environment says of the application."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((REPO / "Pulumi.yaml").read_text())
    (tmp_path / "stacks/Pulumi.demo.yaml").write_text("config:\n  cloudpc:directory: {kind: graph}\n")
    monkeypatch.setenv(PROJECT, str(tmp_path))
    for name in ("AZURE_AUTHORITY_HOST", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, sign_in.environment[name])
    monkeypatch.delenv(CERTIFICATE, raising=False)
    monkeypatch.setenv(SECRET, sign_in.application.secret)
    return Project()


@pytest.fixture
def options(tenant: Tenant, sign_in: Entra) -> dict[str, str]:
    client_id = sign_in.application.client_id
    return {"tenant": tenant.tenant_id, "client_id": client_id, "admin_role": "CloudPC.Admin", "admin_group": SALES}


class Pages:
    """A server whose people the tenant signs in, and a browser."""

    def __init__(self, project: Project, registration: Registration, entra: Entra, ca: Path) -> None:
        self.now = 0.0
        self.entra, self.flow, self.root = entra, entra.code_flow, project.root
        self.address = registration.behind or ADDRESS
        self.site = Site.of(project, Origins([self.address]))
        self.site.sign_in = SignIn(registration, lambda: self.now)
        self.site.fleet.start = lambda: None  # type: ignore[method-assign]
        self.site.fleet.stop = lambda: None  # type: ignore[method-assign]
        self.site.fleet._done = 1
        self.browser = TestClient(create(self.site), base_url=self.address)
        self._tenants = httpx.Client(verify=ssl.create_default_context(cafile=ca))

    def leave(self, then: str = "/") -> str:
        """Off to the tenant; answers where the tenant sends the browser."""
        gone = self.browser.get("/sign-in", params={"next": then}, follow_redirects=False)
        assert gone.status_code == 303
        back = self._tenants.get(gone.headers["location"])
        assert back.status_code == 302, back.text
        return back.headers["location"]

    def sign_in(self, user: str, then: str = "/") -> httpx.Response:
        """All of it, as somebody."""
        self.flow.user = user
        return self.browser.get(self.leave(then))

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / ".cloudpc/pages/audit.jsonl").read_text().splitlines()]

    def is_refused(self, answer: httpx.Response, why: str, status: int = 403) -> bool:
        """With a page, a line in the audit, and no session."""
        assert (answer.status_code, self.audit()[-1]["why"]) == (status, why), answer.text
        assert "Not signed in" in answer.text
        assert "Traceback" not in answer.text
        assert self.audit()[-1]["did"] == "was not signed in"
        return self.browser.get("/mine").status_code == 401


@pytest.fixture
def pages(project: Project, options: dict[str, str], sign_in: Entra) -> Iterator[Pages]:
    made = Pages(project, Registration.of(Options(**options), project), sign_in, sign_in.ca)
    with made.browser:
        yield made


def _cloud_pc(user_id: str) -> CloudPCRecord:
    desired = reconcile({}, [Entitlement(make.user(user_id), make.plan())], {}, make.today(), make.NOW).desired[0]
    recorded = RecordedCloudPC(**desired.model_dump(), status=Status.PROVISIONED, host="local")
    return CloudPCRecord("demo", recorded, f"{user_id}@contoso.example")


def test_a_role_or_a_group_makes_an_admin(pages: Pages) -> None:
    pages.entra.pages.roles["u-alice"] = ["CloudPC.Admin"]
    answer = pages.sign_in("u-alice", "/fleet?sort=user")
    assert answer.status_code == 200, answer.text
    assert re.search(r'http-equiv="refresh" content="0; url=/fleet\?sort=user"', answer.text)
    assert pages.browser.get("/fleet").status_code == 200
    line = pages.audit()[-1]
    assert {"by": "alice@contoso.example", "did": "signed in", "userId": ALICE, "admin": True}.items() <= line.items()
    pages.sign_in("u-carol")
    assert pages.browser.get("/fleet").status_code == 200, "by her group"
    pages.sign_in("u-bob")
    assert pages.browser.get("/fleet").status_code == 404, "he has neither"
    pages.entra.pages.roles["u-bob"] = ["cloudpc.admin", "CloudPC.Adminx"]
    pages.sign_in("u-bob")
    assert pages.browser.get("/fleet").status_code == 404, "those are other roles"


def test_a_name_that_a_page_would_show_backwards_or_not_at_all_is_shown_as_it_is() -> None:
    assert Person("a\u202eb\ud83d\x1b").name == r"a\u202eb\ud83d\x1b"


def test_a_user_sees_their_own_and_another_s_is_not_there(pages: Pages) -> None:
    own, other = _cloud_pc(ALICE), _cloud_pc(CAROL)
    pages.site.fleet.snapshot = Snapshot([StackRecord("demo", cloud_pcs=(own, other))])
    pages.sign_in("u-alice")
    own_id, other_id = (str(each.recorded.machine_id) for each in (own, other))
    mine = pages.browser.get("/mine").text
    assert own_id in mine
    assert other_id not in mine
    assert pages.browser.get(f"/cloud-pcs/{own_id}").status_code == 200
    for address in (f"/cloud-pcs/{other_id}", f"/cloud-pcs/{other_id}/do/restart", "/fleet", "/overview"):
        assert pages.browser.get(address).status_code == 404, address


def test_no_more_is_asked_for_than_who_it_is_and_only_by_pkce(pages: Pages) -> None:
    pages.sign_in("u-alice")
    asked = pages.flow.asked[-1]
    assert set(asked["scope"].split()) == {"openid", "profile"}
    assert (asked["response_type"], asked["response_mode"], asked["code_challenge_method"]) == ("code", "query", "S256")
    assert asked["redirect_uri"] == f"{ADDRESS}/signed-in"
    assert len(asked["state"]) > 15
    assert len(asked["nonce"]) > 15


def test_cookies_are_what_each_is_for(pages: Pages) -> None:
    gone = pages.browser.get("/sign-in", follow_redirects=False).headers["set-cookie"].lower()
    assert "samesite=lax" in gone, "the browser comes back from another site"
    assert "httponly" in gone
    pages.flow.user = "u-alice"
    cookies = pages.browser.get(pages.leave()).headers.get_list("set-cookie")
    session = next(each.lower() for each in cookies if each.startswith("cloudpc-8365="))
    assert "samesite=strict" in session
    assert "httponly" in session


def test_an_answer_counts_once_in_its_own_browser_and_in_time(pages: Pages) -> None:
    pages.flow.user = "u-alice"
    back = pages.leave()
    wrong = re.sub("state=[^&]+", "state=another", back)
    assert pages.is_refused(pages.browser.get(wrong), "state")
    other = TestClient(pages.browser.app, base_url=ADDRESS)
    assert pages.is_refused(other.get(back), "notBegun"), "somebody was sent the address of another's sign-in"
    pages.now = FLOW_SECONDS + 1
    assert pages.is_refused(pages.browser.get(back), "notBegun")
    back = pages.leave()
    key = pages.browser.cookies["cloudpc-8365-sign-in"]
    assert pages.browser.get(back).status_code == 200
    pages.site.sessions.end(next(iter(pages.site.sessions._open.values())))
    pages.browser.cookies.set("cloudpc-8365-sign-in", key)
    assert pages.is_refused(pages.browser.get(back), "notBegun"), "it was used"


def test_a_code_of_another_sign_in_is_none_for_this_one(pages: Pages) -> None:
    pages.flow.user = "u-carol"
    stolen = parse_qs(urlsplit(pages.leave()).query)["code"][0]
    pages.flow.user = "u-alice"
    back = re.sub("code=[^&]+", f"code={stolen}", pages.leave())
    assert pages.is_refused(pages.browser.get(back), "AADSTS501481"), "PKCE"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tid": guid("tenant", "fabrikam")}, "tenant"),
        ({"tid": None}, "tenant"),
        ({"oid": None}, "noId"),
        ({"oid": ["x"]}, "noId"),
        ({"aud": "another"}, "token"),
        ({"exp": 1}, "token"),
        ({"iss": "https://evil.example/v2.0"}, "token"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
    ],
)
def test_a_token_that_says_something_else_lets_nobody_in(pages: Pages, changes: dict[str, Any], why: str) -> None:
    pages.flow.changes = lambda claims: claims.update(changes)
    assert pages.is_refused(pages.sign_in("u-alice"), why)


@pytest.mark.parametrize(
    ("error", "description", "why", "said"),
    [
        ("access_denied", "AADSTS65004: User declined to consent.", "AADSTS65004", "You have not agreed"),
        ("access_denied", "the user cancelled", "access_denied", "cancelled"),
        ("consent_required", "AADSTS65001: no consent", "AADSTS65001", "administrator has to grant it"),
        ("consent_required", "AADSTS99999: something new", "consent_required", "administrator has to grant it"),
        ("interaction_required", "AADSTS50105: not assigned", "AADSTS50105", "not assigned"),
        ("server_error", "AADSTS90033: <b>later</b>", "AADSTS90033", "(AADSTS90033)"),
        ("<script>", "call 0800 1234", "answer", "read"),
    ],
)
def test_a_refusal_of_the_tenant_is_said_in_our_words(
    pages: Pages, error: str, description: str, why: str, said: str
) -> None:
    pages.flow.refuses = (error, description)
    answer = pages.sign_in("u-alice")
    assert pages.is_refused(answer, why)
    assert said in answer.text
    for theirs in ("0800", "later", "something new", "script>alert", "declined"):
        assert theirs not in answer.text
    pages.flow.refuses = None
    assert pages.sign_in("u-alice").status_code == 200


def test_neither_code_nor_error_is_an_answer_that_can_t_be_read(pages: Pages) -> None:
    pages.flow.user = "u-alice"
    assert pages.is_refused(pages.browser.get(re.sub("code=[^&]+&", "", pages.leave())), "answer")
    assert pages.is_refused(pages.browser.get("/signed-in"), "notBegun")


def test_a_secret_that_has_ended_is_told_on_the_terminal(pages: Pages, caplog: pytest.LogCaptureFixture) -> None:
    pages.entra.application.secret = "renewed"
    answer = pages.sign_in("u-alice")
    assert pages.is_refused(answer, "AADSTS7000215", 502)
    assert SECRET in caplog.text
    assert SECRET not in answer.text


def test_a_tenant_that_can_t_be_reached_is_told(pages: Pages, caplog: pytest.LogCaptureFixture) -> None:
    pages.flow.user = "u-alice"
    back = pages.leave()
    pages.entra._server.close()
    assert pages.is_refused(pages.browser.get(back), "unreachable", 502)
    assert "can't be reached" in caplog.text
    assert "Traceback" not in caplog.text


def test_whose_groups_are_too_many_to_name_comes_in_as_a_user_and_reads_why(pages: Pages) -> None:
    def cut(claims: dict[str, Any]) -> None:
        claims.pop("groups", None)
        claims["_claim_names"] = {"groups": "src1"}

    pages.flow.changes = cut
    answer = pages.sign_in("u-carol")
    assert "more groups than" in answer.text
    assert 'http-equiv="refresh"' not in answer.text
    assert pages.audit()[-1]["why"] == "groupsOverage"
    assert pages.browser.get("/fleet").status_code == 404
    pages.entra.pages.roles["u-carol"] = ["CloudPC.Admin"]
    assert "more groups than" not in pages.sign_in("u-carol").text, "the role says it"
    assert pages.browser.get("/fleet").status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil",
        "///evil.example", "/\t/evil.example", "/x\r\nset-cookie: a=b", '/"onload="x', "http:evil.example", "//[", "",
    ],
)  # fmt: skip
def test_one_goes_on_to_a_page_of_ours_or_to_the_start(pages: Pages, address: str) -> None:
    assert '<a href="/">' in pages.sign_in("u-alice", address).text


def test_without_a_session_one_is_led_to_the_sign_in_and_back(pages: Pages) -> None:
    answer = pages.browser.get("/cloud-pcs/x?a=1&b=2")
    assert answer.status_code == 401
    assert 'href="/sign-in?next=%2Fcloud-pcs%2Fx%3Fa%3D1%26b%3D2"' in answer.text
    assert "cloudpc serve" not in answer.text
    assert "Sign in" in pages.browser.get("/?token=x").text


def test_signing_out_ends_the_session_and_says_where_the_tenant_s_ends(pages: Pages) -> None:
    pages.sign_in("u-alice")
    csrf = next(iter(pages.site.sessions._open.values())).csrf
    answer = pages.browser.post("/sign-out", data={"csrf": csrf}, headers={"origin": ADDRESS})
    assert f'href="{pages.entra.authority}/' in answer.text
    assert "/oauth2/v2.0/logout" in answer.text
    assert pages.browser.get("/mine").status_code == 401
    assert not pages.site.sessions._open


def test_a_session_ends_however_much_it_is_used(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    pages.site.sessions.on_end.append(ended.append)
    monkeypatch.setattr(sign_in_pages, "SESSION_SECONDS", 0.3)
    pages.sign_in("u-alice")
    end = time.monotonic() + 20
    while pages.browser.get("/mine").status_code == 200:
        assert time.monotonic() < end
    assert ended
    assert pages.browser.get("/mine").status_code == 401


def test_a_public_client_needs_no_secret(
    project: Project, options: dict[str, str], sign_in: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET)
    pages = Pages(project, Registration.of(Options(**options), project), sign_in, sign_in.ca)
    with pages.browser:
        assert pages.is_refused(pages.sign_in("u-alice"), "AADSTS7000218", 502), "the registration says otherwise"
        sign_in.pages.is_public = True
        assert pages.sign_in("u-alice").status_code == 200


def test_a_certificate_does_as_well_as_a_secret(
    project: Project, options: dict[str, str], sign_in: Entra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes((tmp_path / "sign-in-key.pem").read_bytes() + sign_in.ca.read_bytes())
    monkeypatch.delenv(SECRET)
    monkeypatch.setenv(CERTIFICATE, str(own))
    pages = Pages(project, Registration.of(Options(**options), project), sign_in, sign_in.ca)
    with pages.browser:
        assert pages.sign_in("u-alice").status_code == 200


def test_behind_a_proxy_its_address_alone_is_right(project: Project, options: dict[str, str], sign_in: Entra) -> None:
    registration = Registration.of(Options(**options, behind=f"{BEHIND}/"), project)
    pages = Pages(project, registration, sign_in, sign_in.ca)
    with pages.browser:
        answer = pages.sign_in("u-carol")
        assert pages.flow.asked[-1]["redirect_uri"] == f"{BEHIND}/signed-in"
        for cookie in answer.headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-cloudpc")
            assert "secure" in cookie.lower()
            assert "domain" not in cookie.lower()
        assert pages.browser.get("/fleet").status_code == 200
        assert pages.browser.get("/fleet", headers={"host": "127.0.0.1:8365"}).status_code == 403
        csrf = next(iter(pages.site.sessions._open.values())).csrf
        for origin in ("http://cloudpcs.example", "https://evil.example", ADDRESS):
            post = pages.browser.post("/sign-out", data={"csrf": csrf}, headers={"origin": origin})
            assert post.status_code == 403, origin
        assert pages.browser.post("/sign-out", data={"csrf": csrf}, headers={"origin": BEHIND}).status_code == 200


def test_no_command_that_a_page_begins_has_the_secret(project: Project, options: dict[str, str]) -> None:
    import os

    registration = Registration.of(Options(**options), project)
    assert SECRET not in os.environ
    assert str(registration.credential) not in repr(registration)


def test_what_is_wrong_is_told_at_once(
    project: Project, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = project.stacks_folder
    (stacks / "Pulumi.local.yaml").write_text("config:\n  cloudpc:directory: {kind: local, path: directory.yaml}\n")
    other = "config:\n  cloudpc:directory: {kind: graph}\n  cloudpc:graph: {tenantId: %s}\n"
    (stacks / "Pulumi.other.yaml").write_text(other % guid("tenant", "fabrikam"))
    monkeypatch.setenv(CERTIFICATE, str(tmp_path / "none.pem"))
    wrong = {**options, "client_id": "pages", "admin_group": "sales", "admin_role": " ", "behind": "http://x"}
    with pytest.raises(InvalidConfigurationError) as raised:
        Registration.of(Options(**wrong, as_user="alice"), project)
    fields = {(problem.file, problem.field) for problem in raised.value.problems}
    assert fields == {
        ("command line", "--client-id"), ("command line", "--admin-group"), ("command line", "--admin-role"),
        ("command line", "--behind"), ("command line", "--as"), ("environment", SECRET),
        ("stacks/Pulumi.local.yaml", "cloudpc:directory.kind"), ("stacks/Pulumi.other.yaml", "cloudpc:graph.tenantId"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "address",
    ["cloudpcs.example", "https://", "https://a/b", "https://a?b", "https://u@a", "https://a:x", "https://a,b", "*"],
)
def test_an_address_of_a_proxy_is_a_host_and_no_more(project: Project, options: dict[str, str], address: str) -> None:
    with pytest.raises(InvalidConfigurationError) as raised:
        Registration.of(Options(**options, behind=address), project)
    assert [problem.field for problem in raised.value.problems] == ["--behind"]


def test_behind_a_proxy_a_secret_is_needed(
    project: Project, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET)
    with pytest.raises(InvalidConfigurationError, match=SECRET):
        Registration.of(Options(**options, behind=BEHIND), project)
    (tmp_path / "no.pem").write_text("-----BEGIN CERTIFICATE-----")
    monkeypatch.setenv(CERTIFICATE, str(tmp_path / "no.pem"))
    with pytest.raises(InvalidConfigurationError) as raised:
        Registration.of(Options(**options, behind=BEHIND), project)
    assert [problem.field for problem in raised.value.problems] == [CERTIFICATE]


def test_a_tenant_that_there_is_none_of_and_one_that_is_silent(
    project: Project, options: dict[str, str], sign_in: Entra
) -> None:
    registration = Registration.of(Options(**{**options, "tenant": guid("tenant", "none")}), project)
    with pytest.raises(CommandError, match="no tenant"):
        SignIn(registration)
    sign_in._server.close()
    with pytest.raises(CommandError, match="can't be reached"):
        SignIn(registration)


def test_localhost_is_ours_by_both_of_its_addresses_or_not_at_all() -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:  # this machine has one address alone
        (one,) = listen(0, by_name=True)
        one.close()
        return
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match="--port 0"):
            listen(port, by_name=True)
        (one,) = listen(port, by_name=False)
        one.close()
    both = listen(0, by_name=True)
    addresses = [each.getsockname()[:2] for each in both]
    assert addresses == [("127.0.0.1", addresses[0][1]), ("::1", addresses[0][1])]
    for each in both:
        each.close()
