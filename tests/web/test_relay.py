"""Between a page and what it is connected to: what was opened is closed, and nothing waits in the pages' own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from cloudpc.web import console_page, desktop_page, relay


class Way:
    """One that takes its time to be opened, and to be closed."""

    def __init__(self) -> None:
        self.entering, self.may_enter = threading.Event(), threading.Event()
        self.said: list[str] = []
        self.near, self.far = socket.socketpair()

    @contextlib.contextmanager
    def reach(self) -> Iterator[socket.socket]:
        self.entering.set()
        assert self.may_enter.wait(10)
        self.said.append("opened")
        with self.near, self.far:
            yield self.near
        self.said.append("closed")


async def _use(way: Way) -> None:
    async with relay.connected(way.reach):
        raise AssertionError("whoever was cancelled does not go on")


def test_what_is_opened_when_nobody_waits_for_it_any_more_is_closed() -> None:
    async def cancelled(times: int) -> Way:
        way = Way()
        using = asyncio.create_task(_use(way))
        await asyncio.to_thread(way.entering.wait)
        for _ in range(times):
            using.cancel()
            await asyncio.sleep(0)
        way.may_enter.set()
        with pytest.raises(asyncio.CancelledError):
            await using
        return way

    for times in (1, 2):
        assert asyncio.run(cancelled(times)).said == ["opened", "closed"]


def test_what_was_never_opened_is_not_closed() -> None:
    @contextlib.contextmanager
    def reach() -> Iterator[socket.socket]:
        raise relay.Unreachable("it is off")
        yield

    async def use() -> None:
        async with relay.connected(reach):
            pass

    with pytest.raises(relay.Unreachable, match="it is off"):
        asyncio.run(use())


def _is_in_a_loop() -> bool:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False


def test_the_audit_is_written_by_a_thread_also_of_what_was_cancelled() -> None:
    lines: list[tuple[str, str, bool]] = []

    async def use() -> None:
        async with relay.noted(lambda did, why: lines.append((did, why, _is_in_a_loop())), "it"):
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(10)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(use())
    assert lines == [("opened it", "", False), ("closed it", "its page is gone", False)]


def test_what_is_cancelled_while_its_opening_is_written_down_is_written_down_as_closed_too() -> None:
    lines: list[str] = []
    writes, may_write = threading.Event(), threading.Event()

    def note(did: str, _why: str) -> None:
        writes.set()
        assert may_write.wait(10)
        lines.append(did)

    async def use() -> None:
        async with relay.noted(note, "it"):
            raise AssertionError("whoever was cancelled does not go on")

    async def cancelled() -> None:
        using = asyncio.create_task(use())
        await asyncio.to_thread(writes.wait)
        using.cancel()
        may_write.set()
        with pytest.raises(asyncio.CancelledError):
            await using

    asyncio.run(cancelled())
    assert lines == ["opened it", "closed it"]


class _Page:
    """A WebSocket that is refused."""

    closed = False

    async def close(self, code: int) -> None:
        self.closed = code == relay.POLICY


def test_the_first_look_at_the_fleet_is_waited_for_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []

    def cloud_pc_of(_connection: HTTPConnection) -> Any:
        waited.append(_is_in_a_loop())
        raise HTTPException(404)

    async def form_of(_request: Request) -> dict[str, str]:
        return {}

    for module in (desktop_page, console_page):
        monkeypatch.setattr(module, "cloud_pc_of", cloud_pc_of)
    monkeypatch.setattr(console_page, "admin_of", lambda _: None)
    monkeypatch.setattr(desktop_page, "form_of", form_of)
    for connection in (desktop_page.connection, console_page.connection):
        page = _Page()
        asyncio.run(connection(cast("WebSocket", page)))
        assert page.closed
    with pytest.raises(HTTPException):
        asyncio.run(desktop_page.ticket(cast("Request", None)))
    assert waited == [False, False, False]
