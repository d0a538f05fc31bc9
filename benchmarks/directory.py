"""Reading a tenant of 100,000 users in 200 groups through Microsoft Graph's SDK: time, memory, requests.

The tenant is the tests' own, in a process of its own on loopback: what a real one adds is its distance and throttling.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.common import BenchmarkError, Report, arguments, run, say
from cloudpc.directory.configuration import GraphDirectoryConfig
from cloudpc.directory.graph import GraphDirectory
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.directory import Group, Snapshot, User
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

_PLAN = "CPC_E_2C_4GB_128GB"


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=1, counts=(1_000, 10_000, 100_000))
    parser.add_argument("--groups", type=int, default=200, help="that the users are spread over (200)")
    options = parser.parse_args()
    columns = ["count", "groups", "seconds", "processor seconds", "MiB at the peak", "MiB before", "requests"]
    report = Report("A tenant's users, groups and licences", columns)
    report.notes.append("MiB before: Python with the SDK imported and one request made.")
    for count in options.counts:
        for _ in range(options.rounds):
            say(f"{count} users")
            report.rows.append(_measured(count, options.groups))
    report.show(as_json=options.json)


def _measured(count: int, groups: int) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    tenant = spawn.Process(target=_serve, args=(there, count, groups), daemon=True)
    tenant.start()
    endpoint, token = here.recv()
    # a process of its own: its peak is that of this reading
    mine, its = spawn.Pipe()
    reader = spawn.Process(target=_read, args=(its, endpoint, token, groups), daemon=True)
    reader.start()
    its.close()
    try:
        row = mine.recv()
    except EOFError:
        raise BenchmarkError("the reading failed; see above") from None
    here.send("end")
    requests = here.recv()
    for process in (reader, tenant):
        process.join(30)
    if row.pop("users") != count or row.pop("members") != count:
        raise BenchmarkError(f"not all of {count} users were read")
    return {"count": count, "groups": groups, **row, "requests": sum(requests.values()), "by path": requests}


def _serve(pipe: Connection, count: int, groups: int) -> None:
    users = {
        f"u{i}": User(f"u{i}", f"user{i}@contoso.example", f"User {i}", service_plans=(_PLAN,)) for i in range(count)
    }
    members = {f"g{n}": frozenset(f"u{i}" for i in range(n, count, groups)) for n in range(groups)}
    snapshot = Snapshot(users, {id_: Group(id_, f"Group {id_}", m) for id_, m in members.items()})
    with Tenant(snapshot, check=False) as tenant:
        pipe.send((tenant.endpoint, tenant.token))
        pipe.recv()
        pipe.send(Counter(r.path.replace(r.path.split("/")[2], "{id}") if "members" in r.path else r.path.split("/")[1]
                          for r in tenant.requests))  # fmt: skip


def _read(pipe: Connection, endpoint: str, token: str, groups: int) -> None:
    os.environ["CLOUDPC_GRAPH_TOKEN"] = token
    directory = GraphDirectory(GraphDirectoryConfig(kind="graph"), GraphConfig(endpoint=endpoint, auth="token"))
    directory.snapshot([])
    before = _peak()
    begin, processor = time.perf_counter(), time.process_time()
    snapshot = directory.snapshot([guid("group", f"g{n}") for n in range(groups)])
    pipe.send(
        {
            "seconds": round(time.perf_counter() - begin, 2),
            "processor seconds": round(time.process_time() - processor, 2),
            "MiB at the peak": round(_peak()),
            "MiB before": round(before),
            "users": len(snapshot.users),
            "members": sum(len(g.members) for g in snapshot.groups.values()),
        }
    )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    run(main)
