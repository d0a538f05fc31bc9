"""The fake Azure: what a subscription holds, and Resource Manager in front of it on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from tests.azure import (
    api_compute,
    api_extensions,
    api_network,
    api_run_commands,
    api_subscription,
    api_vm,
    contract,
    throttling,
    tokens,
)  # fmt: skip
from tests.azure.account import Account, marketplace, sizes
from tests.azure.back_ends import Command, ComputeBackEnd, Outcome, Table, Vm
from tests.azure.blobs import Blobs
from tests.azure.clock import Clock, Delays
from tests.azure.entra import Entra
from tests.azure.errors import ArmFault, not_found
from tests.azure.faults import Fault
from tests.azure.gate import Gate
from tests.azure.log import Logged
from tests.azure.machine import KIND, machine_of
from tests.azure.operations import Operation, Operations
from tests.azure.permissions import action_of
from tests.azure.quota import Shortage
from tests.azure.resources import Resource, Resources
from tests.azure.routing import Call, Handler
from tests.azure.trouble import Trouble
from tests.support.http_server import Answer, Received, Reply, Server

_ROUTES: dict[str, Handler] = {}
for _module in (api_compute, api_extensions, api_network, api_run_commands, api_subscription, api_vm):
    _ROUTES.update(_module.ROUTES.table)


class FakeArm(Trouble, Gate):
    """A subscription on loopback. A context manager: inside it, Resource Manager answers at `url`.

    Args:
        port: of the endpoint; 0: any that is free.
        back_end: what virtual machines really are; None: a table.
        account: the subscription that is ready-made.
        check: whether every exchange is checked against the contracts; off for benchmarks.
        on_request: called with each request.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        back_end: ComputeBackEnd | None = None,
        account: Account | None = None,
        check: bool = True,
        on_request: Callable[[Logged], None] | None = None,
    ) -> None:
        Trouble.__init__(self)
        self.clock = Clock()
        Gate.__init__(self, account or Account(), Resources(self.clock.now))
        self.table = Table()
        """The back end, where no other is given: answers of scripts."""
        self.back_end: ComputeBackEnd = back_end or self.table
        self.instant_scripts = back_end is None
        """Whether scripts run at once, on no thread of their own."""
        self.delays = Delays()
        self.operations = Operations(self.clock)
        self.buckets = throttling.Buckets(self.clock)
        self.blobs = Blobs(self.clock, lambda: self.url, self._blob)
        self.sizes = sizes()
        self.marketplace = marketplace()
        self.quotas: dict[str, int] = {}
        """Limits of cores by family, and of `cores` for all."""
        self.usual_quota = 10_000
        self.used_elsewhere: dict[str, int] = {}
        """Cores of others."""
        self.shortages: list[Shortage] = []
        """Hardware that there is none of."""
        self.taken_addresses: dict[str, set[str]] = {}
        """Addresses of others, by subnet id in lower case."""
        self.tokens_from = 0.0
        """Tokens that were issued before this are at their end."""
        self.locations = {self.account.location}
        """Regions where machines can be."""
        self.page_size: int | None = None
        """How many entries a page of a list has; None: all."""
        self.ignores_if_none_match = False
        self.tells_etags = True
        self.entra = Entra()
        """Where machines join by the extension AADLoginForWindows."""
        self.table.otherwise = self._usual
        self.run_commands_stick = False
        """Scripts begin, and are never heard of again."""
        self.log: list[Logged] = []
        self.violations: list[str] = []
        """What our own answers had wrong, and requests that no contract has. A test with any has failed."""
        self._check = check
        self._on_request = on_request
        self._stopping = threading.Event()
        self._server = Server(self._respond, port, "application/json; charset=utf-8")
        self._fill()

    @property
    def url(self) -> str:
        """What a host's `endpoint` takes."""
        return f"http://127.0.0.1:{self._server.port}"

    def token(self, lifetime: float = 3600, tenant: str | None = None) -> str:
        """A new access token."""
        return tokens.issue(tenant or self.account.tenant, self.clock.now(), lifetime)

    def __enter__(self) -> FakeArm:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """End it, all connections to it, and what its machines are."""
        self._stopping.set()
        self._server.close()
        with self.lock:
            for resource in self.resources.of(KIND):
                machine = machine_of(resource)
                for cancelled in machine.commands.values():
                    cancelled.set()
                if machine.allocated:
                    self.back_end.deleted(machine.vm)

    # ---- what tests say

    def expire_tokens(self) -> None:
        """All tokens that were issued until now are at their end."""
        self.tokens_from = self.clock.now()

    def requests(self, operation: str = "*", path: str = "*", status: int | None = None) -> list[Logged]:
        """Those of the log; `*` for any text."""
        return [
            r for r in list(self.log)
            if fnmatchcase(r.operation, operation) and fnmatchcase(r.path.lower(), path.lower())
            and status in (None, r.status)
        ]  # fmt: skip

    def count(self, operation: str = "*", path: str = "*", status: int | None = None) -> int:
        """How many such requests came in."""
        return len(self.requests(operation, path, status))

    @property
    def left(self) -> dict[str, list[str]]:
        """Names of the machines, network interfaces and disks that there are."""
        return {kind: self.resources.names(kind) for kind in ("virtualMachines", "networkInterfaces", "disks")}

    def add(self, resource_id: str, kind: str, location: str | None = None, **properties: Any) -> Resource:
        """Put a resource there, as if somebody else had made it."""
        body = {"location": location or self.account.location, "tags": {}, "properties": properties}
        with self.lock:
            return self.resources.add(Resource(resource_id, kind, body))

    def add_network(
        self, network_id: str, subnets: Mapping[str, str], location: str | None = None, **subnet_properties: Any
    ) -> None:
        """A virtual network.

        Args:
            network_id: its id.
            subnets: address prefixes by name.
            location: the account's by default.
            subnet_properties: of each subnet, for example `delegations`.
        """
        self.add(
            network_id, api_network.NETWORK, location, provisioningState="Succeeded",
            addressSpace={"addressPrefixes": list(subnets.values())},
        )  # fmt: skip
        for name, prefix in subnets.items():
            subnet = Resource(f"{network_id}/subnets/{name}", f"{api_network.NETWORK}/subnets", {"properties": {
                "addressPrefix": prefix, "provisioningState": "Succeeded", "delegations": [],
                "privateEndpointNetworkPolicies": "Disabled", **subnet_properties,
            }})  # fmt: skip
            self.resources.add(subnet)

    def _fill(self) -> None:
        group = self.add(self.account.group_id, "Microsoft.Resources/resourceGroups", provisioningState="Succeeded")
        group.made = 0
        self.add_network(self.account.network_id, {self.account.subnet: self.back_end.prefix or "10.0.0.0/24"})

    # ---- what the functions that answer use

    def following(self, operation: Operation) -> dict[str, str]:
        """Headers that tell how to follow an operation."""
        return self.operations.headers(self.url, self.account.subscription, self.account.location, operation)

    # ---- answering

    def _respond(self, received: Received) -> Reply | None:
        """None: the connection is dropped."""
        parts = urlsplit(received.target)
        path = unquote(parts.path)
        with self.lock:
            self.request_count += 1
            number = self.request_count
        known = contract.find(received.method, path)
        name = known.id if known else "blob" if path.startswith("/blobs/") else "poll" if _is_poll(path) else "unknown"
        cut = self.faults.power_cut
        if cut and (number > cut.at or (number == cut.at and cut.when == "before")):
            cut.strike()
            return self._logged(number, received, path, name, None)
        struck = self.faults.take(name, path)
        for fault in struck:
            if fault.kind == "slow":
                self._stopping.wait(fault.seconds)
        if any(fault.kind == "drop before" for fault in struck):
            return self._logged(number, received, path, name, None)
        reply = self._answered(received, path, known, struck, number)
        lost = any(fault.kind == "drop after" for fault in struck)
        if cut and number == cut.at:
            cut.strike()
            lost = True
        return self._logged(number, received, path, name, None if lost else reply)

    def _logged(self, number: int, received: Received, path: str, name: str, reply: Reply | None) -> Reply | None:
        logged = Logged(
            number, received.method, path, unquote(urlsplit(received.target).query), name,
            action_of(received.method, path), reply.status if reply else 0, _json(received.body),
            _json(reply.content) if reply else None,
        )  # fmt: skip
        self.log.append(logged)
        if self._on_request:
            self._on_request(logged)
        return reply

    def _answered(
        self, received: Received, path: str, known: contract.Known | None, struck: list[Fault], number: int
    ) -> Reply:
        if path.startswith("/blobs/"):
            return self.blobs.respond(received)
        try:
            return self._checked(received, path, known, struck, number)
        except ArmFault as error:
            return self._error(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must fail the test, not look like the network's
            self.violations.append(f"{received.method} {path}: {error!r}")
            return self._error(ArmFault("InternalServerError", "The fake Azure has a fault."))

    def _checked(
        self, received: Received, path: str, known: contract.Known | None, struck: list[Fault], number: int
    ) -> Reply:
        tokens.check(received.headers.get("Authorization"), self.account.tenant, self.clock.now(), self.tokens_from)
        query = dict(parse_qsl(urlsplit(received.target).query, keep_blank_values=True))
        if error := next((f.error for f in struck if f.kind == "sync" and f.error), None):
            raise error
        self.check_scope(received.method, path)
        if known is not None or _is_poll(path):
            self.check_rights(number, received.method, path)
        if _is_poll(path):
            return self._polled(path)
        if known is None:
            self.violations.append(f"{received.method} {path}: no contract has this")
            raise not_found(path)
        self._check_version(query, known)
        self.check_registered(path)
        self.check_locks(received.method, path)
        body = self._body(received, known, query)
        self.check_policies(received.method, path, body)
        failure = next((f.error for f in struck if f.kind == "async" and f.error), None)
        headers = {name.lower(): value for name, value in received.headers.items()}
        reply = self._done(Call(self, known.id, path, known.operation.parameters, query, headers, body, failure))
        self._check_reply(known, received.method, query, reply)
        return reply

    def _done(self, call: Call) -> Reply:
        with self.lock:
            self.resources.lag = self.delays.lists
            self.operations.do_what_is_due()
            self._throttle(call)
            # as text now: later changes must not show in what is sent
            return Reply.of(_ROUTES[call.operation](call))

    def _throttle(self, call: Call) -> None:
        if call.operation == "VirtualMachines_CreateOrUpdate":
            self.buckets.take(throttling.CREATES, self.account.subscription)
        if call.operation.startswith("VirtualMachines_List"):
            self.buckets.take(throttling.LISTS, self.account.subscription)
        if "vmName" in call.parameters and (self.buckets.counts_tags or not call.operation.startswith("Tags_")):
            reads = any(word in call.operation for word in ("_Get", "_List", "InstanceView"))
            self.buckets.take(throttling.READS if reads else throttling.WRITES, call.vm_id)

    def _polled(self, path: str) -> Reply:
        with self.lock:
            self.operations.do_what_is_due()
            operation = self.operations.find(path.rpartition("/")[2])
            if operation is None:
                raise ArmFault("NotFound", "The operation was not found.")
            if operation.provider == "Microsoft.Compute":
                self.buckets.take(throttling.POLLS, operation.resource)
            shown = self.operations.result if "/operationresults/" in path.lower() else self.operations.status
            return Reply.of(shown(operation))

    def _check_version(self, query: Mapping[str, str], known: contract.Known) -> None:
        asked = query.get("api-version")
        if asked is None:
            raise ArmFault("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required "
                           "for all requests.", 400)  # fmt: skip
        if asked != known.api_version:
            self.violations.append(f"{known.id}: api-version {asked} is not that of the contract, {known.api_version}")
            raise ArmFault("NoRegisteredProviderFound", f"No registered resource provider found for API version "
                           f"'{asked}'. The supported api-versions are '{known.api_version}'.", 400)  # fmt: skip

    def _body(self, received: Received, known: contract.Known, query: Mapping[str, str]) -> Any:
        if not received.body:
            sent: Any = None
        else:
            try:
                sent = json.loads(received.body)
            except ValueError:
                raise ArmFault("InvalidRequestContent", "The request content was invalid and could not be "
                               "deserialized.") from None  # fmt: skip
        body = contract.writable(known, sent)
        if self._check:
            text = json.dumps(body).encode() if sent is not None else b""
            headers = {
                k: v for k, v in received.headers.items() if k.lower() not in ("authorization", "content-length")
            }
            request = contract.request(known, received.method, query, headers, text)
            if problems := known.document.request_problems(request):
                raise ArmFault("InvalidRequestContent", f"The request content was invalid and could not be "
                               f"deserialized: '{'; '.join(problems)}'.")  # fmt: skip
        return body

    def _check_reply(self, known: contract.Known, method: str, query: Mapping[str, str], reply: Reply) -> None:
        if not self._check:
            return
        request = contract.request(known, method, query, {}, b"")
        if not reply.content and str(reply.status) in known.operation.definition["responses"]:
            return
        if problems := known.document.response_problems(request, reply.status, reply.content):
            self.violations.extend(f"{method} {known.path}: {problem}" for problem in problems)
            raise ArmFault("InternalServerError", f"The fake Azure broke the contract: {'; '.join(problems)}")

    def _error(self, error: ArmFault) -> Reply:
        headers = {"x-ms-request-id": str(uuid4()), "x-ms-correlation-request-id": str(uuid4())}
        return Reply.of(Answer(error.status, {"error": error.error}, headers | error.headers))

    def _usual(self, vm: Vm, command: Command) -> Outcome:
        """What scripts are answered that nobody has said anything of."""
        return Outcome(output=self.entra.status(vm) if "dsregcmd" in command.script else "")

    def _blob(self, resource_id: str, name: str) -> bytes | None:
        with self.lock:
            resource = self.resources.find(resource_id)
            if resource is None:
                return None
            machine = machine_of(resource)
            if name.endswith(".bmp"):
                return b"BM" if machine.allocated else None
            return self.back_end.console(machine.vm) if machine.allocated else None


def _is_poll(path: str) -> bool:
    return "/operations/" in path.lower() or "/operationresults/" in path.lower()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None
