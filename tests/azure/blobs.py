"""Where boot diagnostics are read from: addresses that need no token, and refuse one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.azure.clock import Clock
from tests.support.http_server import Received, Reply


@dataclass(frozen=True)
class _Blob:
    resource: str
    name: str
    signature: str
    expires: float


class Blobs:
    """The blobs of boot diagnostics.

    Args:
        clock: of Azure.
        base: the fake's address.
        content: of a blob, by resource and name; None: there is none.
    """

    def __init__(self, clock: Clock, base: Callable[[], str], content: Callable[[str, str], bytes | None]) -> None:
        self._clock = clock
        self._base = base
        self._content = content
        self._all: dict[str, _Blob] = {}

    def address(self, resource: str, name: str, seconds: float) -> str:
        """A new one, which is good for so long."""
        blob = _Blob(resource, name, secrets.token_urlsafe(24), self._clock.now() + seconds)
        key = secrets.token_hex(8)
        self._all[key] = blob
        return f"{self._base()}/blobs/bootdiagnostics-{key}/{name}?sv=2025-01-05&sr=b&sp=r&sig={blob.signature}"

    def respond(self, received: Received) -> Reply:
        """What the storage service answers."""
        parts = urlsplit(received.target)
        blob = self._all.get(parts.path.split("/")[2].removeprefix("bootdiagnostics-"))
        if received.headers.get("Authorization"):
            return _refused(403, "AuthenticationFailed")  # a bearer has no business here
        if blob is None or parse_qs(parts.query).get("sig") != [blob.signature] or blob.expires < self._clock.now():
            return _refused(403, "AuthenticationFailed")
        content = self._content(blob.resource, blob.name)
        if content is None:
            return _refused(404, "BlobNotFound")
        return _ranged(content, received.headers.get("Range") or received.headers.get("x-ms-range"))


def _ranged(content: bytes, asked: str | None) -> Reply:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if not asked or not asked.startswith("bytes="):
        return Reply(200, content, headers)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if not first:  # Azure's storage knows no ranges from the end
        return _refused(416, "InvalidRange")
    begin, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
    if begin >= len(content):
        return _refused(416, "InvalidRange")
    return Reply(206, content[begin : end + 1], headers | {"Content-Range": f"bytes {begin}-{end}/{len(content)}"})


def _refused(status: int, code: str) -> Reply:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Reply(status, text.encode(), {"Content-Type": "application/xml", "x-ms-error-code": code})
