"""Registering 100 devices in Entra and removing them, with and without throttling: time, requests, and none twice.

The tenant is the tests' own on loopback. Throttled, it answers each tenth request with 429 and Retry-After: 1.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.common import BenchmarkError, Report, arguments, run, say
from cloudpc.devices.entra import EntraDevices
from cloudpc.graph.client import Graph
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.devices import NewDevice
from cloudpc.model.directory import Snapshot, User
from cloudpc.model.identity import Identity
from tests.tenant.faults import Fault
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Logged, Tenant

_AT_ONCE = 32
"""As many Cloud PCs at a time as our commands let Pulumi make."""
_THROTTLED_EACH = 10


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=1, counts=(100,)).parse_args()
    columns = ["count", "throttled", "seconds to register", "seconds to remove", "requests", "answered 429", "devices"]
    report = Report("Devices in Entra", columns)
    for count in options.counts:
        for throttled in (False, True):
            for _ in range(options.rounds):
                say(f"{count} devices{', throttled' if throttled else ''}")
                report.rows.append(_measured(count, throttled=throttled))
    report.show(as_json=options.json)


def _measured(count: int, *, throttled: bool) -> dict[str, Any]:
    users = {f"u{i}": User(f"u{i}", f"user{i}@contoso.example", f"User {i}") for i in range(count)}
    identities = [Identity("0123456789abcdef", guid("user", u), "LAB", 1, f"CPC-{u.upper()}") for u in users]
    with Tenant(Snapshot(users), check=False) as tenant:
        os.environ["CLOUDPC_GRAPH_TOKEN"] = tenant.admin_token
        registry = EntraDevices(Graph(GraphConfig(endpoint=tenant.endpoint, auth="token")), "record")
        registry.owned("0123456789abcdef")  # imports the SDK
        if throttled:
            tenant._on_request = lambda logged: _throttle(tenant, logged)
        tenant.requests.clear()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            begin = time.perf_counter()
            made = list(
                pool.map(
                    lambda i: registry.register(NewDevice.of(i, "P", "Linux", "12"), 300, Cancellation()), identities
                )
            )
            registered = time.perf_counter()
            there = len(tenant.devices)
            list(pool.map(lambda pair: registry.remove(pair[0].device_name, pair[0].device_id, pair[1]),
                          zip(identities, made, strict=True)))  # fmt: skip
            removed = time.perf_counter()
        registry.close()
        if there != count or tenant.devices:
            raise BenchmarkError(f"{there} devices of {count} were made, and {len(tenant.devices)} are left")
        return {
            "count": count,
            "throttled": "yes" if throttled else "no",
            "seconds to register": round(registered - begin, 2),
            "seconds to remove": round(removed - registered, 2),
            "requests": len(tenant.requests),
            "answered 429": sum(r.status == 429 for r in tenant.requests),
            "devices": there,
        }


def _throttle(tenant: Tenant, _: Logged) -> None:
    if len(tenant.requests) % _THROTTLED_EACH == 0:
        tenant.faults.add(Fault("error", left=1, status=429, code="TooManyRequests", retry_after=1))


if __name__ == "__main__":
    run(main)
