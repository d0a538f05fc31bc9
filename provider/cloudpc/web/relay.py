"""Between a page's WebSocket and a socket: all that both say, until one ends, or somebody from outside."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from cloudpc.web.connections import Connection

POLICY = 4403
UNREACHABLE = 4502
ENDED = 4000
"""Codes with which a connection is closed; 4000 to 4999 are an application's own."""
_SERVICE_RESTART = 1012
"""What uvicorn ends each with, when it ends."""
_CHUNK = 65_536
_LONGEST_WORDS = 123
"""Bytes of a WebSocket's reason."""

T = TypeVar("T")
Reach = Callable[[], AbstractContextManager[socket.socket]]
"""Opens what is reached, for as long as the block lasts; may take long, raises Unreachable."""


class Unreachable(Exception):  # noqa: N818 - an answer, not an error
    """It can't be reached, in words for whoever wanted it."""


class Closed(Exception):  # noqa: N818 - an answer, not an error
    """The connection is to be closed with this code and these words."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


@contextlib.asynccontextmanager
async def accepted(page: WebSocket) -> AsyncIterator[None]:
    """A WebSocket that is open while the block lasts, and is closed as the `Closed` that ends it says."""
    await page.accept()
    try:
        yield
    except Closed as closed:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page has gone already
            words = closed.why.encode()[:_LONGEST_WORDS].decode(errors="ignore")
            await page.close(closed.code, words)
    except WebSocketDisconnect:
        pass


@contextlib.asynccontextmanager
async def connected(reach: Reach) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """What is reached, opened and closed by a thread, as it blocks. Raises Unreachable."""
    way, opened = reach(), list[socket.socket]()
    try:
        await to_its_end(lambda: opened.append(way.__enter__()))
        [there] = opened
        there.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=there)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
    finally:
        if opened:
            await to_its_end(lambda: way.__exit__(None, None, None))


async def to_its_end(work: Callable[[], T]) -> T:
    """What a thread does of it, waited for even where the one who waits is cancelled: what it opens is never lost.

    Raises:
        CancelledError: after its end.
    """
    # no task, which the end of the loop would cancel, too
    done, cancelled = asyncio.get_running_loop().run_in_executor(None, work), None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        done.exception()  # nobody is told of it any longer
        raise cancelled
    return done.result()


@dataclass
class Ended:
    """How a connection has ended."""

    why: str = "its page is gone"


@contextlib.asynccontextmanager
async def noted(note: Callable[[str, str], None], what: str) -> AsyncIterator[Ended]:
    """Two lines of the audit: that it was opened, and that it was closed, with why.

    Args:
        note: is given each: what was done, and why; by a thread, as it reads and writes files.
        what: was opened.
    """
    ended = Ended()
    try:
        await to_its_end(lambda: note(f"opened {what}", ""))
        yield ended
    except Closed as closed:
        ended.why = closed.why
        raise
    finally:
        await to_its_end(lambda: note(f"closed {what}", ended.why))


async def received(page: WebSocket) -> bytes:
    """The next message, which has to be of bytes. Raises WebSocketDisconnect, Closed."""
    message = await page.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    content: bytes | None = message.get("bytes")
    if content is None:
        raise Closed(POLICY, "The page has sent what belongs to no such connection.")
    return content


async def until_one_ends(
    page: WebSocket,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    connection: Connection,
    changed: Callable[[bytes], bytes] = lambda content: content,
) -> str:
    """Pass on what both say.

    Args:
        page: one side.
        reader: what the other says.
        writer: to the other.
        connection: as others know it, who may end it.
        changed: what becomes of what the page says; raises ValueError: it may not say that.

    Returns:
        Why it has ended, where the page is gone and need not hear it.

    Raises:
        Closed: the page must hear it.
    """

    async def from_page() -> str:
        while True:
            try:
                content = await received(page)
            except WebSocketDisconnect as closed:
                return "the server has stopped" if closed.code == _SERVICE_RESTART else "its page was closed"
            connection.was_used()
            try:
                writer.write(changed(content))
            except ValueError:
                raise Closed(POLICY, "The page has sent what belongs to no such connection.") from None
            await writer.drain()

    async def to_page() -> str:
        while content := await reader.read(_CHUNK):
            await page.send_bytes(content)
        raise Closed(ENDED, "The session has ended.")

    async def from_outside() -> str:
        raise Closed(ENDED, await connection.ended)

    return await _first(from_page(), to_page(), from_outside())


async def _first(*works: Coroutine[Any, Any, str]) -> str:
    """What the first of these says that ends; the others are ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        try:
            return done.pop().result()
        except OSError:
            raise Closed(UNREACHABLE, "The connection to the Cloud PC is gone.") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
