"""What the fleet page of 1,000 Cloud PCs takes: one who looks alone, and ten who ask at the same moment.

The server is the real one, in a process of its own; state is made up, so that no engine has to run for it. Whoever asks
has all rows, in a page that was not asked for since state has changed ("first"), and again.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.common import Report, arguments, median, run, say
from benchmarks.reconcile import made
from tests.support.project import REPO

_AT_ONCE = 10
_ASKS = 10
"""How often each of them asks, one after another."""


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=3, counts=(1000,)).parse_args()
    columns = [
        "count", "kB", "ms first, ten at once", "ms alone", "ms ten at once", "most", "CPU ms each", "MiB, server",
    ]  # fmt: skip
    report = Report("Pages: the fleet, all rows", columns)
    for count in options.counts:
        for _ in range(options.rounds):
            say(f"{count} Cloud PCs")
            report.rows.append(_measure(count))
    report.show(as_json=options.json)


def _measure(count: int) -> dict[str, Any]:
    with _server(count) as (port, cookie, asked):
        first = _at_once(port, cookie, 1)
        size = len(_get(port, cookie)[1])
        alone = [_get(port, cookie)[0] for _ in range(_ASKS)]
        before = asked()
        times = _at_once(port, cookie, _ASKS)
        after = asked()
    return {
        "count": count,
        "kB": round(size / 1000),
        "ms first, ten at once": round(max(first) * 1000),
        "ms alone": round(median(alone) * 1000, 1),
        "ms ten at once": round(median(times) * 1000),
        "most": round(max(times) * 1000),
        "CPU ms each": round((after[0] - before[0]) * 1000 / len(times), 1),
        "MiB, server": round(after[1] / 1024),
    }


def _at_once(port: int, cookie: str, asks: int) -> list[float]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        everybody = [pool.submit(lambda: [_get(port, cookie)[0] for _ in range(asks)]) for _ in range(_AT_ONCE)]
        return [seconds for one in everybody for seconds in one.result()]


def _get(port: int, cookie: str) -> tuple[float, bytes]:
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/fleet", headers={"cookie": cookie})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, answer.status
    return time.perf_counter() - begin, body


@contextmanager
def _server(count: int) -> Iterator[Any]:
    """Its port, a cookie of an admin's, and what asks for the seconds of processor it has had and its memory in KiB."""
    ours, its = multiprocessing.get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(its, folder, count))
        process.start()
        try:
            port, cookie = ours.recv()

            def asked() -> tuple[float, int]:
                ours.send(None)
                answer: tuple[float, int] = ours.recv()
                return answer

            yield port, cookie, asked
        finally:
            process.terminate()
            process.join()


def _serve(parent: Connection, folder: str, count: int) -> None:
    from cloudpc.cli.context import Project
    from cloudpc.files.project import PROJECT
    from cloudpc.operations.records import CloudPCRecord, StackRecord
    from cloudpc.web import server
    from cloudpc.web.fleet import Snapshot
    from cloudpc.web.guard import Origins
    from cloudpc.web.person import Person
    from cloudpc.web.site import Site

    Path(folder, "stacks").mkdir()
    Path(folder, "Pulumi.yaml").write_text((REPO / "Pulumi.yaml").read_text())
    os.environ |= {PROJECT: folder, "PULUMI_BACKEND_URL": f"file://{folder}"}
    [listening] = server.listen(0, by_name=False)
    port = listening.getsockname()[1]
    site = Site.of(Project(), Origins([f"http://127.0.0.1:{port}"]))
    cloud_pcs = tuple(CloudPCRecord("p0", pc, f"{pc.user_id}@contoso.example") for pc in made(count))
    site.fleet.start = lambda: None  # type: ignore[method-assign]  # what is there is made up
    site.fleet._done = 1
    site.fleet.snapshot = Snapshot([StackRecord("p0", cloud_pcs=cloud_pcs)], read=datetime.now(UTC))
    session = site.sessions.begin(Person("root", is_admin=True))

    def answer() -> None:
        while True:
            parent.recv()
            used = resource.getrusage(resource.RUSAGE_SELF)
            parent.send((used.ru_utime + used.ru_stime, used.ru_maxrss))

    threading.Thread(target=answer, daemon=True).start()
    parent.send((port, f"{site.origins.cookie}={session.id}"))
    server._Server(site).run(sockets=[listening])


if __name__ == "__main__":
    run(main)
