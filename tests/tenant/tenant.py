"""The tenant: what it holds, and Microsoft Graph in front of it on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from cloudpc.directory.local import LocalDirectory
from cloudpc.model.directory import Snapshot
from cloudpc.model.problems import InvalidConfigurationError
from tests.support.contracts import Request
from tests.support.http_server import Answer, Received, Reply, Server
from tests.tenant import api_devices, api_directory, api_intune, api_passes
from tests.tenant.contract import Contract
from tests.tenant.errors import GraphError, bad_request
from tests.tenant.faults import Fault, Faults
from tests.tenant.odata import Json, Pages, Query
from tests.tenant.routing import Call, Route, Routes, as_json
from tests.tenant.store import Store, timestamp
from tests.tenant.tokens import Kind, Tokens

_ROUTES = Routes()
for _module in (api_directory, api_devices, api_intune, api_passes):
    _ROUTES.table.extend(_module.ROUTES.table)


@dataclass(frozen=True)
class Logged:
    """A request that came in."""

    method: str
    path: str
    """Without the version, for example `/devices`."""
    query: str
    status: int
    """0: the connection was dropped."""

    def __str__(self) -> str:
        return f"{self.status or '---'} {self.method} {self.path}{'?' if self.query else ''}{unquote(self.query)}"


class Tenant(Store):
    """A tenant on loopback. A context manager: inside it, Graph answers at `endpoint`.

    Args:
        directory: users, groups and service plans: a file of the embedded directory, or what was read from one.
        port: of the endpoint; 0: any that is free.
        allowed: the kinds of tokens it accepts.
        check: whether every exchange is checked against the contract; off for benchmarks.
        follow: read the file again when it has changed.
        on_request: called with each request.
    """

    def __init__(
        self,
        directory: Path | Snapshot,
        *,
        port: int = 0,
        allowed: Collection[Kind] = ("application", "delegated"),
        check: bool = True,
        follow: bool = False,
        on_request: Callable[[Logged], None] | None = None,
    ) -> None:
        self._file = directory if isinstance(directory, Path) else None
        super().__init__(directory if isinstance(directory, Snapshot) else _read(directory))
        self.tokens = Tokens(lambda: self.clock(), allowed)
        self.faults = Faults()
        self.requests: list[Logged] = []
        self.violations: list[str] = []
        """What our own answers had wrong, and requests for what this tenant lacks. A test with any has failed."""
        self.contract = Contract(check)
        self.pages = Pages()
        self.token = self.tokens.issue("application")
        """An application's token with all permissions that applications can have."""
        self.admin_token = self.tokens.issue("delegated")
        """A signed-in admin's token with all permissions."""
        self.on_bad_file: Callable[[str], None] = lambda _: None
        """Called with what is wrong with a file that was changed while the tenant ran; what was read before stays."""
        self._follows = follow
        self._seen = _stamp(self._file) if self._file else None
        self._on_request = on_request
        self._stopping = threading.Event()
        self._server = Server(self._respond, port, "application/json;odata.metadata=minimal")

    @property
    def store(self) -> Store:
        """What it holds: itself."""
        return self

    @property
    def endpoint(self) -> str:
        """What `cloudpc:graph` takes as `endpoint`."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """Address of the API, with its version."""
        return f"{self.endpoint}/v1.0"

    def __enter__(self) -> Tenant:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, and all connections to it."""
        self._stopping.set()
        self._server.close()

    def count(self, method: str, path: str, status: int | None = None) -> int:
        """How many such requests came in; `*` at the path's end stands for any text."""
        return sum(
            r.method == method and fnmatchcase(r.path, path) and status in (None, r.status) for r in list(self.requests)
        )

    # ---- answering

    def _respond(self, received: Received) -> Reply | None:
        """None: the connection is dropped."""
        parts = urlsplit(received.target)
        # two spellings of one cast
        path = unquote(parts.path).removeprefix("/v1.0").replace("/microsoft.graph.", "/graph.")
        faults = self.faults.take(received.method, path)
        kinds = {fault.kind for fault in faults}
        for fault in faults:
            if fault.kind == "slow":
                self._stopping.wait(fault.seconds)
        reply: Reply | None = None
        if "drop before" not in kinds:
            try:
                reply = self._checked(received, path, parts.query, faults)
            except GraphError as error:
                reply = self._error(error, received)
            except Exception as error:  # noqa: BLE001 - a fault of ours must fail the test, not look like the network's
                self.violations.append(f"{received.method} {path}: {error!r}")
                reply = self._error(GraphError(500, "InternalServerError", "The fake tenant has a fault."), received)
        if "drop after" in kinds:
            reply = None
        logged = Logged(received.method, path, parts.query, reply.status if reply else 0)
        self.requests.append(logged)
        if self._on_request:
            self._on_request(logged)
        return reply

    def _checked(self, received: Received, path: str, query_text: str, faults: list[Fault]) -> Reply:
        if path.startswith("/fake/guestJoined/") and received.method == "POST":
            # no part of Graph: for a tenant that was started by hand
            with self.lock:
                joined = self.guest_joined(path.removeprefix("/fake/guestJoined/"))
                return Reply.of(Answer(201, {"id": joined["id"], "deviceId": joined["deviceId"]}))
        if not urlsplit(received.target).path.startswith("/v1.0/"):
            raise bad_request(f"Invalid version: {received.target.split('/')[1][:20]}")
        for fault in faults:
            if fault.kind == "expire token":
                self.tokens.expire(received.headers.get("Authorization", "").partition(" ")[2])
        token = self.tokens.check(received.headers.get("Authorization"))
        for fault in faults:
            if fault.kind == "error":
                headers = {} if fault.retry_after is None else {"Retry_After": str(fault.retry_after)}
                raise GraphError(fault.status, fault.code, f"A fault of this tenant ({fault.status}).", **headers)
        query = Query.parse(query_text, received.headers.get("ConsistencyLevel"))
        request = Request(received.method, f"/v1.0{path}", query.options, dict(received.headers), received.body or None)
        if not self.contract.has(received.method, path):
            _ROUTES.find(received.method, path)
            raise bad_request(f"Resource not found for the segment '{path.rpartition('/')[2]}'.")
        route, parameters = self._route(received.method, path)
        token.require(route.needs, delegated_only=route.delegated_only)
        body = _body(received)
        if problems := self.contract.request_problems(request):
            raise bad_request("; ".join(problems))
        reply = self._done(route, Call(
            self, path, parameters, query, body, token, empty_page=any(f.kind == "empty page" for f in faults)
        ))  # fmt: skip
        self._check_reply(request, reply)
        return reply

    def _route(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        try:
            return _ROUTES.find(method, path)
        except GraphError:
            # Graph has it, this tenant hasn't: whoever meets that should not look for the fault at home
            self.violations.append(f"{method} {path}: this tenant doesn't offer it yet")
            raise GraphError(501, "notImplemented", f"The fake tenant does not offer {method} {path}.") from None

    def _done(self, route: Route, call: Call) -> Reply:
        with self.lock:
            self._follow()
            # as text now: later changes of the tenant must not show in what is sent
            return Reply.of(route.handler(call))

    def _follow(self) -> None:
        """Read the file again if it has changed; one that is wrong just now is left for later."""
        if self._file is None or not self._follows or (stamp := _stamp(self._file)) in (self._seen, None):
            return
        self._seen = stamp
        try:
            self.fill(_read(self._file))
        except InvalidConfigurationError as error:
            self.on_bad_file(str(error))

    def _check_reply(self, request: Request, reply: Reply) -> None:
        if problems := self.contract.response_problems(request, reply.status, reply.content):
            self.violations.extend(f"{request.method.upper()} {request.path}: {problem}" for problem in problems)
            raise GraphError(500, "InternalServerError", f"The fake tenant broke the contract: {'; '.join(problems)}")

    def _error(self, error: GraphError, received: Received) -> Reply:
        inner = {
            "date": timestamp(self.clock()).rstrip("Z"),
            "request-id": str(uuid4()),
            "client-request-id": received.headers.get("client-request-id", str(uuid4())),
        }
        body: Json = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
        return Reply.of(Answer(error.status, body, {"request-id": inner["request-id"], **error.headers}))


def _read(path: Path) -> Snapshot:
    return LocalDirectory(path, path.name).snapshot([])


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # an editor is just replacing it
        return None
    return found.st_mtime_ns, found.st_size


def _body(received: Received) -> Json:
    if not received.body:
        return {}
    try:
        return as_json(json.loads(received.body))
    except ValueError:
        return as_json(None)
