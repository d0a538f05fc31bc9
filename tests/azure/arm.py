"""The fake Azure: what a subscription holds, and Resource Manager in front of it on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Literal
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
from tests.azure.errors import ArmFault, Json, not_found
from tests.azure.faults import Fault, Faults, PowerCut
from tests.azure.machine import KIND, machine_of
from tests.azure.operations import Operation, Operations
from tests.azure.permissions import action_of, allowed
from tests.azure.quota import Shortage
from tests.azure.resources import Resource, Resources
from tests.azure.routing import Call, Handler
from tests.support.http_server import Answer, Received, Reply, Server

_ROUTES: dict[str, Handler] = {}
for _module in (api_compute, api_extensions, api_network, api_run_commands, api_subscription, api_vm):
    _ROUTES.update(_module.ROUTES.table)
_WRITES = ("PUT", "PATCH", "DELETE", "POST")


@dataclass(frozen=True)
class Logged:
    """A request that came in.

    Args:
        number: from 1 on.
        operation: its name in the contract; `poll` of an operation's status, `blob` of boot diagnostics.
        action: the right it needs, for example `Microsoft.Compute/virtualMachines/write`.
        status: of the answer; 0: there was none.
        body: its JSON.
        answer: JSON.
        code: of an error.
    """

    number: int
    method: str
    path: str
    query: str
    operation: str
    action: str
    status: int
    body: Any = None
    answer: Any = field(default=None, repr=False)

    @property
    def code(self) -> str | None:
        return (self.answer or {}).get("error", {}).get("code") if isinstance(self.answer, dict) else None

    def __str__(self) -> str:
        short = self.path.rpartition("/providers/")[2] if self.operation != "blob" else "…"
        code = f" {self.code}" if self.code else ""
        return f"{self.number:4d} {self.status or '---'} {self.method} {short} [{self.operation}]{code}"


class FakeArm:
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
        self.account = account or Account()
        self.table = Table()
        """The back end, where no other is given: answers of scripts."""
        self.back_end: ComputeBackEnd = back_end or self.table
        self.instant_scripts = back_end is None
        """Whether scripts run at once, on no thread of their own."""
        self.lock = threading.RLock()
        self.clock = Clock()
        self.delays = Delays()
        self.operations = Operations(self.clock)
        self.buckets = throttling.Buckets(self.clock)
        self.faults = Faults()
        self.resources = Resources(self.clock.now)
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
        self.registered = {"Microsoft.Compute": "Registered", "Microsoft.Network": "Registered"}
        self.permissions: list[Json] = [{"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}]
        """What whoever asks may do."""
        self.revoked_at: int | None = None
        """From this request on nothing is allowed any longer."""
        self.tokens_from = 0.0
        """Tokens that were issued before this are at their end."""
        self.locks: dict[str, Literal["CanNotDelete", "ReadOnly"]] = {}
        """By scope: a resource's id or a group's."""
        self.policies: dict[str, Callable[[str, Json], bool]] = {}
        """By name: which resource types and bodies Azure Policy forbids."""
        self.disabled = False
        """The subscription can only be read."""
        self.locations = {self.account.location}
        """Regions where machines can be."""
        self.page_size: int | None = None
        """How many entries a page of a list has; None: all."""
        self.ignores_if_none_match = False
        self.tells_etags = True
        self.entra = Entra()
        """Where machines join by the extension AADLoginForWindows."""
        self.table.answer("dsregcmd", self._dsregcmd)
        self.run_commands_stick = False
        """Scripts begin, and are never heard of again."""
        self.log: list[Logged] = []
        self.violations: list[str] = []
        """What our own answers had wrong, and requests that no contract has. A test with any has failed."""
        self._check = check
        self._on_request = on_request
        self._count = 0
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

    def fail(
        self, operation: str, code: str | ArmFault, status: int | None = None, times: int | None = 1, *,
        asynchronous: bool = False, path: str = "*", skip: int = 0, message: str | None = None,
        retry_after: int | None = None,
    ) -> Fault:  # fmt: skip
        """Let an operation fail.

        Args:
            operation: name in the contract, for example `VirtualMachines_CreateOrUpdate`; `*` for any text.
            code: ARM's word; of those in errors.py the status and a message are known.
            status: of HTTP.
            times: how often; None: always.
            asynchronous: it is accepted, and fails afterwards.
            path: only of these requests.
            skip: so many pass before.
            message: for people.
            retry_after: seconds, as a header.
        """
        error = code if isinstance(code, ArmFault) else ArmFault(code, message, status)
        if retry_after is not None:
            error.headers["Retry-After"] = str(retry_after)
        return self.faults.add(Fault("async" if asynchronous else "sync", operation, path, error, times, skip))

    def throttle(
        self, operation: str = "*", *, times: int | None = 1, retry_after: int = 1, path: str = "*", skip: int = 0
    ) -> Fault:
        """429 with Retry-After."""
        return self.fail(operation, "TooManyRequests", times=times, retry_after=retry_after, path=path, skip=skip)

    def drop(
        self, operation: str = "*", *, when: Literal["before", "after"], times: int | None = 1, path: str = "*",
        skip: int = 0,
    ) -> Fault:  # fmt: skip
        """The connection ends without an answer, before or after the request took effect."""
        return self.faults.add(
            Fault("drop before" if when == "before" else "drop after", operation, path, None, times, skip)
        )

    def slow(self, operation: str = "*", *, seconds: float, times: int | None = 1, path: str = "*") -> Fault:
        """An answer that is late, by so many of our seconds."""
        return self.faults.add(Fault("slow", operation, path, None, times, seconds=seconds))

    def cut_power(self, at: int, when: Literal["before", "after"], then: Callable[[], None] = lambda: None) -> PowerCut:
        """Whoever asks is killed at the request of this number, counted from now on: nothing is answered thereafter.

        Args:
            at: 1 is the next request.
            when: before or after it took effect.
            then: called at that moment, on the server's thread: for example to kill a process.
        """
        with self.lock:
            self.faults.power_cut = PowerCut(self._count + at, when, then)
            return self.faults.power_cut

    def expire_tokens(self) -> None:
        """All tokens that were issued until now are at their end."""
        self.tokens_from = self.clock.now()

    def restore_power(self) -> None:
        """Answer again."""
        self.faults.power_cut = None

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

    def check_linked(self, scope: str, action: str) -> None:
        """ArmFault: whoever asks may not use this for something else."""
        if not allowed(self.permissions, action):
            raise ArmFault("LinkedAuthorizationFailed", f"The client '{uuid4()}' has permission to perform the action "
                           f"on the scope; however, it does not have permission to perform action(s) '{action}' on the "
                           f"linked scope(s) '{scope}' or the linked scope(s) are invalid.")  # fmt: skip

    # ---- answering

    def _respond(self, received: Received) -> Reply | None:
        """None: the connection is dropped."""
        parts = urlsplit(received.target)
        path = unquote(parts.path)
        with self.lock:
            self._count += 1
            number = self._count
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
        self._check_scope(received.method, path)
        if _is_poll(path):
            return self._polled(path)
        if known is None:
            self.violations.append(f"{received.method} {path}: no contract has this")
            raise not_found(path)
        self._check_version(query, known)
        if self.revoked_at is not None and number >= self.revoked_at:
            raise _unauthorized(received.method, path)
        if not allowed(self.permissions, action_of(received.method, path)):
            raise _unauthorized(received.method, path)
        self._check_registered(path)
        self._check_locks(received.method, path)
        body = self._body(received, known, query)
        self._check_policies(received.method, path, body)
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

    def _check_scope(self, method: str, path: str) -> None:
        parts = path.split("/")
        if len(parts) < 3 or parts[1].lower() != "subscriptions":
            raise ArmFault("NotFound", f"No such path: {path}", 404)
        if parts[2].lower() != self.account.subscription:
            raise ArmFault("SubscriptionNotFound", f"The subscription '{parts[2]}' could not be found.")
        if len(parts) > 4 and parts[3].lower() == "resourcegroups":
            group = self.resources.find("/".join(parts[:5]))
            if group is None:
                raise ArmFault("ResourceGroupNotFound", f"Resource group '{parts[4]}' could not be found.")
            if method == "PUT" and group.properties["provisioningState"] == "Deleting":
                raise ArmFault("ResourceGroupBeingDeleted", f"The resource group '{parts[4]}' is in deprovisioning "
                               "state and cannot perform this operation.")  # fmt: skip
        if self.disabled and method in _WRITES:
            raise ArmFault("ReadOnlyDisabledSubscription", f"The subscription '{parts[2]}' is disabled and therefore "
                           "marked as read only. You cannot perform any write actions on this subscription until it "
                           "is re-enabled.")  # fmt: skip

    def _check_version(self, query: Mapping[str, str], known: contract.Known) -> None:
        asked = query.get("api-version")
        if asked is None:
            raise ArmFault("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required "
                           "for all requests.", 400)  # fmt: skip
        if asked != known.api_version:
            self.violations.append(f"{known.id}: api-version {asked} is not that of the contract, {known.api_version}")
            raise ArmFault("NoRegisteredProviderFound", f"No registered resource provider found for API version "
                           f"'{asked}'. The supported api-versions are '{known.api_version}'.", 400)  # fmt: skip

    def _check_registered(self, path: str) -> None:
        namespace = path.rpartition("/providers/")[2].partition("/")[0]
        known = next((state for name, state in self.registered.items() if name.lower() == namespace.lower()), None)
        if "/" in path.rpartition("/providers/")[2] and known is not None and known != "Registered":
            raise ArmFault("MissingSubscriptionRegistration", f"The subscription is not registered to use namespace "
                           f"'{namespace}'. See https://aka.ms/rps-not-found for how to register subscriptions.",
                           target=namespace)  # fmt: skip

    def _check_locks(self, method: str, path: str) -> None:
        for scope, level in self.locks.items():
            below = f"{path.lower()}/".startswith(f"{scope.lower()}/")
            if below and (method == "DELETE" or (level == "ReadOnly" and method in _WRITES)):
                verb = "delete" if method == "DELETE" else "write"
                raise ArmFault("ScopeLocked", f"The scope '{path}' cannot perform {verb} operation because following "
                               f"scope(s) are locked: '{scope}'. Please remove the lock and try again.")  # fmt: skip

    def _check_policies(self, method: str, path: str, body: Any) -> None:
        if method not in ("PUT", "PATCH"):
            return
        kind = "/".join(path.rpartition("/providers/")[2].split("/")[:2])
        for name, forbids in self.policies.items():
            if forbids(kind, body):
                info = {"type": "PolicyViolation", "info": {
                    "policyDefinitionDisplayName": name, "policyAssignmentDisplayName": name,
                    "policyAssignmentId": f"{self.account.subscription_id}/providers/Microsoft.Authorization/"
                    "policyAssignments/a1", "policyDefinitionEffect": "deny",
                }}  # fmt: skip
                raise ArmFault("RequestDisallowedByPolicy", f"Resource '{path.rpartition('/')[2]}' was disallowed by "
                               f"policy. Policy identifiers: '[{{\"policyAssignment\":{{\"name\":\"{name}\"}}}}]'.",
                               target=path.rpartition("/")[2], additional=[info])  # fmt: skip

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

    def _dsregcmd(self, vm: Vm, command: Command) -> Outcome:
        return Outcome(output=self.entra.status(vm))

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


def _unauthorized(method: str, path: str) -> ArmFault:
    return ArmFault("AuthorizationFailed", f"The client '{uuid4()}' with object id '{uuid4()}' does not have "
                    f"authorization to perform action '{action_of(method, path)}' over scope '{path}' or the scope is "
                    "invalid. If access was recently granted, please refresh your credentials.")  # fmt: skip


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None
