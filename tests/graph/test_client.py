"""Signing in, and what goes wrong before and between requests: each a sentence that says what to do."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from kiota_abstractions.api_error import APIError

from cloudpc.graph import odata, permissions, refusals
from cloudpc.graph.client import Graph, Session
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.credentials import TOKEN_VARIABLE, Tokens
from cloudpc.graph.credentials import sign_in as signing_in
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Call
from cloudpc.microsoft import clouds
from cloudpc.microsoft.sign_in import authority, proxy_note
from tests.graph.fixtures import jwt, reached
from tests.tenant.fixtures import directory_file, sign_in, tenant
from tests.tenant.sign_in import SignIn
from tests.tenant.tenant import Tenant

__all__ = ["directory_file", "reached", "sign_in", "tenant"]

Reached = Callable[..., GraphConfig]
_VARIABLES = (
    "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
    "AZURE_TOKEN_CREDENTIALS", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", TOKEN_VARIABLE,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is signed in, whoever runs the tests."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")  # where there is no `az`
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


@pytest.fixture
def by_secret(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> SignIn:
    """The environment has the application's secret."""
    for name, value in sign_in.environment.items():
        monkeypatch.setenv(name, value)
    return sign_in


def skus(graph: Graph, timeout: float = 60) -> int:
    """The number of the tenant's subscriptions: any call will do."""

    async def read(session: Session) -> int:
        found = await session.required(Call.READ_SKUS, session.client.subscribed_skus.get)
        return len(found.value or [])

    return graph.run(read, timeout)


@pytest.fixture
def opened() -> Iterator[Callable[[GraphConfig], Graph]]:
    made: list[Graph] = []

    def new(config: GraphConfig) -> Graph:
        made.append(Graph(config))
        return made[-1]

    yield new
    for graph in made:
        graph.close()


Opened = Callable[[GraphConfig], Graph]


def reaching(tenant: Tenant, **values: Any) -> GraphConfig:
    return GraphConfig.model_validate({"endpoint": tenant.endpoint, **values})


def refused(graph: Graph) -> str:
    with pytest.raises(GraphError) as caught:
        skus(graph)
    return caught.value.message


# ---- signing in


@pytest.mark.parametrize("auth", ["default", "environment"])
def test_a_secret_from_the_environment(tenant: Tenant, by_secret: SignIn, opened: Opened, auth: Any) -> None:
    assert skus(opened(GraphConfig(endpoint=tenant.endpoint, auth=auth))) == len(tenant.skus)


def test_a_workload_identity(
    tenant: Tenant, by_secret: SignIn, opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    token = tmp_path / "token"
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    token.write_text(by_secret.assertion())
    assert skus(opened(GraphConfig(endpoint=tenant.endpoint))) == len(tenant.skus)

    token.write_text(by_secret.assertion(not_before=900))
    message = refused(opened(GraphConfig(endpoint=tenant.endpoint)))
    assert "this machine's clock may be wrong, or the federated token has expired" in message

    token.write_text(by_secret.assertion(subject="repo:somebody/else"))
    assert "has this workload's subject" in refused(opened(GraphConfig(endpoint=tenant.endpoint)))


def test_the_configured_tenant_goes_before_the_environments(
    tenant: Tenant, by_secret: SignIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", "other.example")
    config = reaching(tenant, auth="environment", tenantId=tenant.tenant_id)
    assert skus(opened(config)) == len(tenant.skus)


def test_wrong_tenant(tenant: Tenant, by_secret: SignIn, opened: Opened) -> None:
    config = reaching(tenant, auth="environment", tenantId="nowhere.example")
    assert refused(opened(config)) == (
        "there is no tenant nowhere.example; check cloudpc:graph.tenantId or AZURE_TENANT_ID"
    )


def test_wrong_and_expired_secret(
    tenant: Tenant, by_secret: SignIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = GraphConfig(endpoint=tenant.endpoint)
    by_secret.application.secret_expires = datetime.now(UTC) - timedelta(days=1)
    assert "the secret in AZURE_CLIENT_SECRET has expired" in refused(opened(config))
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "s3cret-of-nobody")
    message = refused(opened(config))
    assert "the secret in AZURE_CLIENT_SECRET is wrong" in message
    assert "s3cret" not in message
    monkeypatch.setenv("AZURE_CLIENT_ID", "11111111-1111-1111-1111-111111111111")
    assert "is not known in the tenant" in refused(opened(config))


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ("default", "nobody is signed in to Microsoft Entra; run `az login`, or set AZURE_TENANT_ID"),
        ("cli", "nobody is signed in with Azure CLI; run `az login`"),
        ("environment", "the environment has no sign-in to Microsoft Entra: set AZURE_TENANT_ID"),
        ("token", "the environment variable CLOUDPC_GRAPH_TOKEN is not set"),
    ],
)
def test_nobody_is_signed_in(tenant: Tenant, opened: Opened, auth: Any, words: str) -> None:
    assert words in refused(opened(GraphConfig(endpoint=tenant.endpoint, auth=auth)))
    assert not tenant.requests


def test_a_choice_of_credentials_that_is_none(tenant: Tenant, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredentials")
    message = refused(opened(GraphConfig(endpoint=tenant.endpoint)))
    assert "Invalid value for AZURE_TOKEN_CREDENTIALS: azureclicredentials" in message


def test_the_sign_in_is_unreachable(
    tenant: Tenant, by_secret: SignIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://localhost:{closed_port()}")
    monkeypatch.setattr("azure.core.pipeline.transport.HttpTransport.sleep", lambda *_: None)
    assert "the sign-in to Microsoft Entra can't be reached" in refused(opened(GraphConfig(endpoint=tenant.endpoint)))


def test_no_secret_goes_to_a_sign_in_of_somebody_else(
    tenant: Tenant, by_secret: SignIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com:hunter2@evil.example")
    message = refused(opened(GraphConfig(endpoint=tenant.endpoint)))
    assert message.startswith("the environment variable AZURE_AUTHORITY_HOST has user information")
    assert "login.microsoftonline.us" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(("endpoint", "host"), clouds.SIGN_IN.items())
def test_each_cloud_has_its_own_sign_in(endpoint: str, host: str) -> None:
    assert authority(signing_in(GraphConfig(endpoint=f"https://{endpoint}"))) == f"https://{host}"


# ---- a given token


def test_a_given_token_of_another_tenant(tenant: Tenant, reached: Reached, opened: Opened) -> None:
    other = "22222222-2222-2222-2222-222222222222"
    config = reached(tenant, jwt(tid=other, exp=time.time() + 3600))
    message = refused(opened(config.model_copy(update={"tenant_id": tenant.tenant_id})))
    assert message.startswith(
        f"the sign-in is for the tenant {other}, but cloudpc:graph.tenantId is {tenant.tenant_id}"
    )
    assert not tenant.requests


def test_a_given_token_that_has_expired(tenant: Tenant, reached: Reached, opened: Opened) -> None:
    message = refused(opened(reached(tenant, jwt(exp=time.time() - 1800))))
    assert "the token in CLOUDPC_GRAPH_TOKEN expired 30 min ago by this machine's clock" in message
    assert not tenant.requests


def test_a_token_that_is_none_of_the_tenants(tenant: Tenant, reached: Reached, opened: Opened) -> None:
    message = refused(opened(reached(tenant, "opaque-of-somebody")))
    assert "Graph refused the token" in message
    assert "opaque-of-somebody" not in message


def test_a_clock_that_is_wrong(
    tenant: Tenant, reached: Reached, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = opened(reached(tenant, "opaque-of-somebody"))
    real = time.time
    monkeypatch.setattr("cloudpc.graph.refusals.time", SimpleNamespace(time=lambda: real() + 1800))
    assert "this machine's clock is 30 min ahead of Graph's; set it" in refused(graph)


@pytest.mark.parametrize(
    ("off_by", "said"),
    [
        (366 * 86400, "366 days ahead of"),
        (-5 * 3600, "5 h behind"),
        (3700, "62 min ahead of"),
        (3500, None),
        (-3500, None),
    ],
)
def test_a_clock_that_would_end_grace_periods_early_or_late_stops_all(
    tenant: Tenant, reached: Reached, opened: Opened, monkeypatch: pytest.MonkeyPatch, off_by: float, said: str | None
) -> None:
    graph = opened(reached(tenant))
    real = time.time
    monkeypatch.setattr("cloudpc.graph.refusals.time", SimpleNamespace(time=lambda: real() + off_by))
    if said is None:
        assert skus(graph)
    else:
        assert refused(graph).startswith(f"this machine's clock is {said} Graph's; set it")


def test_what_a_sign_in_lacks(tenant: Tenant, reached: Reached, opened: Opened) -> None:
    token = jwt(roles=["GroupMember.Read.All", "Directory.Read.All"], exp=time.time() + 3600)
    assert opened(reached(tenant, token)).missing(permissions.DIRECTORY) == []
    token = jwt(scp="Group.ReadBasic.All User.Read.All", exp=time.time() + 3600)
    missing = opened(reached(tenant, token)).missing(permissions.DIRECTORY)
    assert missing is not None
    assert [p.least for p in missing] == ["GroupMember.Read.All", "LicenseAssignment.Read.All"]
    assert opened(reached(tenant)).missing(permissions.DIRECTORY) is None, "opaque tokens don't say"
    assert not tenant.requests


def test_one_token_for_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    class Cli:
        def get_token(self, *_scopes: str, **_options: Any) -> Any:
            given.append(f"token {len(given)}")
            return SimpleNamespace(token=given[-1], expires_on=int(time.time()) + 3600)

    monkeypatch.setattr("cloudpc.microsoft.sign_in.credential", lambda _: Cli())

    async def tokens() -> list[str]:
        cached = Tokens(GraphConfig())
        first = await asyncio.gather(*(cached.get_token("scope") for _ in range(5)))
        cached.forget()
        demanded = [await cached.get_token("scope"), await cached.get_token("scope", claims="{}")]
        return [t.token for t in (*first, *demanded)]

    assert asyncio.run(tokens()) == ["token 0"] * 5 + ["token 1", "token 2"]


# ---- on the way


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def test_unreachable(reached: Reached, tenant: Tenant, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudpc.graph.client.pause", lambda *_: 0)
    port = closed_port()
    config = reached(tenant).model_copy(update={"endpoint": f"http://127.0.0.1:{port}"})
    message = refused(opened(config))
    assert message.startswith(f"127.0.0.1:{port} can't be reached")


def test_a_proxy_that_may_be_the_reason_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_note("https://graph.microsoft.com") == ""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:8080")
    assert proxy_note("https://graph.microsoft.com") == "; connections go through the proxy of HTTPS_PROXY"
    assert proxy_note("http://127.0.0.1:80") == "", "which goes through none"


def test_loopback_never_goes_through_a_proxy(
    reached: Reached, tenant: Tenant, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    config = reached(tenant)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    assert skus(opened(config)) == len(tenant.skus)


def test_an_answer_that_takes_too_long_ends_at_the_deadline(reached: Reached, tenant: Tenant, opened: Opened) -> None:
    graph = opened(reached(tenant))
    skus(graph)
    tenant.faults.slow("/subscribedSkus", seconds=300)
    begin = time.monotonic()
    with pytest.raises(GraphError, match="did not finish within 0 s"):
        skus(graph, timeout=0.3)
    assert time.monotonic() - begin < 30
    assert skus(graph) == len(tenant.skus), "the client goes on"


def test_throttled_by_one_it_is_waited_for_by_all(reached: Reached, tenant: Tenant, opened: Opened) -> None:
    graph = opened(reached(tenant))
    tenant.faults.throttle("/subscribedSkus", retry_after=1)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: skus(graph), range(16)))
    assert counts == [len(tenant.skus)] * 16
    assert tenant.count("GET", "/subscribedSkus", 429) == 1


def test_from_many_threads_and_from_a_running_loop(reached: Reached, tenant: Tenant, opened: Opened) -> None:
    graph = opened(reached(tenant))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: skus(graph), range(24))) == {len(tenant.skus)}
    assert asyncio.run(asyncio.to_thread(skus, graph)) == len(tenant.skus)
    assert [t.name for t in threading.enumerate()].count("graph") == 1


def test_closed_it_leaves_no_thread_and_can_be_used_again(reached: Reached, tenant: Tenant) -> None:
    graph = Graph(reached(tenant))
    graph.close()
    assert skus(graph)
    graph.close()
    graph.close()
    assert "graph" not in [t.name for t in threading.enumerate()]
    assert skus(graph)
    graph.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_follows_no_redirect(opened: Opened, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    asked: list[str] = []

    class Away(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setenv(TOKEN_VARIABLE, "token")
    with ThreadingHTTPServer(("127.0.0.1", 0), Away) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        message = refused(opened(GraphConfig(endpoint=f"http://127.0.0.1:{server.server_port}", auth="token")))
        server.shutdown()
    assert asked == ["/v1.0/subscribedSkus"]
    assert "GET /subscribedSkus" in message


Answered = Callable[..., tuple[GraphError, int]]


@pytest.fixture
def answered(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answered]:
    """What becomes of a request, and how often it was made, where these answers come one after the other."""
    answers: list[tuple[int, str, str]] = []
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, kind, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setattr("cloudpc.graph.client.pause", lambda *_: 0.0)
    monkeypatch.setenv(TOKEN_VARIABLE, "token")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        graph = opened(GraphConfig(endpoint=f"http://127.0.0.1:{server.server_port}", auth="token"))

        def ask(*given: tuple[int, str, str]) -> tuple[GraphError, int]:
            answers[:], asked[:] = given, []
            with pytest.raises(GraphError) as caught:
                skus(graph)
            return caught.value, len(asked)

        yield ask
        server.shutdown()


@pytest.mark.parametrize("status", [400, 403, 404, 407, 451])
@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", "<html>"), ("text/plain", ""), ("application/json", "{}"), ("application/json", "[")],
)
def test_what_graph_has_not_said_is_neither_absence_nor_a_missing_permission(
    answered: Answered, status: int, kind: str, body: str
) -> None:
    error, _ = answered((status, kind, body))
    assert f"was refused ({status}) without a reason, which Graph always gives; see what lies between" in error.message
    assert not error.is_missing
    assert error.permission is None


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("code", [None, "", 403])
def test_what_a_gateway_says_in_json_is_no_word_of_graph_either(answered: Answered, status: int, code: object) -> None:
    body = json.dumps({"error": {"code": code, "message": "blocked by policy"}})
    error, _ = answered((status, "application/json", body))
    assert "'blocked by policy', and without a code, which Graph always gives; see what lies between" in error.message
    assert not error.is_missing
    assert error.permission is None


def test_a_tenant_s_own_refusal_is_no_missing_permission(answered: Answered) -> None:
    code, reason = "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "Tenant doesn't have premium license"
    error, _ = answered((403, "application/json", json.dumps({"error": {"code": code, "message": reason}})))
    assert error.message == f"reading which service plans a licence has is refused ({code}): {reason}"
    assert error.permission is None


def test_a_token_that_is_refused_at_the_last_repetition_is_an_error_in_words(answered: Answered) -> None:
    error, count = answered(*[(503, "text/html", "<html>")] * 6, (401, "text/html", "<html>"))
    assert "Graph refused the token" in error.message
    assert count == 7


@pytest.mark.parametrize("ahead", [-3600, 0, 3600])
def test_a_time_to_come_back_is_by_the_clock_of_who_names_it(ahead: int) -> None:
    there = datetime.now(UTC) + timedelta(seconds=ahead)
    headers = {"Date": format_datetime(there), "Retry-After": format_datetime(there + timedelta(seconds=7))}
    error = APIError(response_status_code=429, response_headers=headers)
    assert refusals.explained(error, Call.FIND_GROUP.value, GraphConfig()).retry_after == 7


def page(value: list[Any] | None, link: str | None = None) -> bytes:
    return json.dumps({"value": value, "@odata.nextLink": link}).encode()


class _Lists:
    """A list's request builder of the SDK, and the adapter that sends its requests: these pages by their links."""

    def __init__(self, pages: dict[str | None, Any], link: str | None = None) -> None:
        self.pages = pages
        self.link = link

    def with_url(self, link: str) -> _Lists:
        return _Lists(self.pages, link)

    def to_get_request_information(self, _: Any) -> str | None:
        return self.link

    async def send_primitive_async(self, link: str | None, *_: Any) -> Any:
        return self.pages[link]


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ({None: page([{}], "https://elsewhere.example/v1.0/x")}, "a next page that leads elsewhere or nowhere"),
        ({None: page([{}], "http://127.0.0.1:1.elsewhere.example/")}, "a next page that leads elsewhere or nowhere"),
        ({None: page([{}], "http://127.0.0.1:1@elsewhere.example/")}, "a next page that leads elsewhere or nowhere"),
        ({None: page([{}], "http://127.0.0.1:1#/../")}, "a next page that leads elsewhere or nowhere"),
        (
            {None: page([{}], "http://127.0.0.1:1/a"), "http://127.0.0.1:1/a": page([{}], "http://127.0.0.1:1/a")},
            "a next page that leads elsewhere or nowhere",
        ),
        ({None: None}, "an empty answer to GET /groups"),
        ({None: page(None)}, "an answer without a list to GET /groups"),
        ({None: page(["x"])}, "an answer without a list to GET /groups"),
        ({None: b"<html>"}, "an answer to GET /groups that can't be read"),
        ({None: b"[]"}, "an answer to GET /groups that can't be read"),
    ],
)
def test_a_list_that_can_not_be_read_to_its_end(opened: Opened, pages: Any, words: str) -> None:
    async def read(session: Session) -> list[Any]:
        from kiota_abstractions.base_request_configuration import RequestConfiguration

        session.client = SimpleNamespace(request_adapter=_Lists(pages))  # type: ignore[assignment]
        return [v async for p in session.pages(Call.FIND_GROUP, _Lists(pages), RequestConfiguration()) for v in p]

    with pytest.raises(GraphError, match=words):
        opened(GraphConfig(endpoint="http://127.0.0.1:1", auth="token")).run(read)


def test_an_answer_that_is_none_of_graphs(opened: Opened) -> None:
    async def read(session: Session) -> None:
        async def nonsense() -> None:
            json.loads("<html>")

        await session.call(Call.FIND_GROUP, nonsense)

    with pytest.raises(GraphError, match=r"gave an answer to GET /groups that can't be read \(JSONDecodeError"):
        opened(GraphConfig(endpoint="http://127.0.0.1:1", auth="token")).run(read)


def test_text_in_a_filter() -> None:
    assert odata.text("O'Neill's") == "'O''Neill''s'"
    assert odata.text("' or 'a' eq 'a") == "''' or ''a'' eq ''a'"
