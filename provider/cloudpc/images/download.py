"""Downloads over http and https: bounded in size, never waiting for ever, and never from https to plain http.

User and password of a URL are sent to its own host alone. Proxies are those of the environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from cloudpc.model.masking import masked

if TYPE_CHECKING:
    import httpx

SECONDS_TO_ANSWER: float = 60.0
"""For the connection and a server's answer, each time it redirects to another address."""
STALL_SECONDS: float = 60.0
LEAST_BYTES: int = 64 << 10
"""What has to arrive within STALL_SECONDS; a line that is slower has stalled."""
_REDIRECTS: Final = 10
_REDIRECTING: Final = (301, 302, 303, 307, 308)
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONE_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "cloudpc"}

Progress = Callable[[bytes, int | None], None]
"""Is given each piece, and how long the whole is if the server says so."""


class DownloadError(Exception):
    """It can't be had; the message is without secrets.

    Args:
        message: why, to come after "can't be downloaded from …: ".
        retriable: whether it may be had a moment later.
        hint: what to do.
    """

    def __init__(self, message: str, *, retriable: bool = False, hint: str = "") -> None:
        super().__init__(masked(message))
        self.retriable = retriable
        self.hint = hint


def address(url: str) -> httpx.URL:
    """The URL as it is asked for: its host in ASCII, other letters and blanks percent-encoded.

    Raises:
        ValueError: nothing can be downloaded from there; in words, without the URL.
    """
    import httpx

    try:
        found = httpx.URL(_LONE_PERCENT.sub("%25", url))
    except (httpx.InvalidURL, ValueError):
        raise ValueError(
            "is not a URL that can be requested, such as https://images.example/golden.qcow2; in user and password, "
            "write / ? # @ : % as %2F %3F %23 %40 %3A %25"
        ) from None
    if found.scheme not in ("http", "https") or not found.host:
        raise ValueError("must be an http or https URL, with a host")
    if found.port is not None and not 0 < found.port < 65536:
        raise ValueError("has a port that is not from 1 to 65535")
    if not _is_host(found.raw_host.decode("ascii")):
        raise ValueError("has a host that is neither a name nor an address")
    return found


def _is_host(name: str) -> bool:
    if ":" in name:
        try:
            return not ipaddress.IPv6Address(name).scope_id
        except ValueError:
            return False
    labels = name.removesuffix(".").split(".")
    return len(name) < 254 and all(map(_LABEL.fullmatch, labels))


def download(url: str, largest: int, take: Progress) -> None:
    """Give what is at the URL to `take`, piece by piece.

    Args:
        url: as `address` takes it.
        largest: bytes it may have.
        take: may raise what it likes, which ends the download.

    Raises:
        DownloadError: it is not to be had, too large, or slower than a line that works.
    """
    asyncio.run(_download(url, largest, take))


async def _download(url: str, largest: int, take: Progress) -> None:
    import httpx

    try:
        async with _answered(url) as response:
            await _take(response, largest, take)
    except httpx.HTTPError as error:
        raise DownloadError(str(error) or type(error).__name__, retriable=True) from None


@asynccontextmanager
async def _answered(url: str) -> AsyncIterator[httpx.Response]:
    """The answer of the server that has it."""
    target = address(url)
    login = _Login(target)
    for _ in range(_REDIRECTS):
        async with _asked(target, login) as response:
            if response.status_code not in _REDIRECTING or "location" not in response.headers:
                _refuse_failure(response)
                yield response
                return
            target = _next(target, response.headers["location"])
    raise DownloadError(f"it redirects more than {_REDIRECTS} times")


class _Login:
    """User and password of a URL, for its own host: also where that sends on from http to https."""

    def __init__(self, url: httpx.URL) -> None:
        self._values = (url.username, url.password)
        self._places = {_origin(url)}
        if url.scheme == "http" and url.port is None:
            self._places.add(("https", url.raw_host, 443))

    def at(self, url: httpx.URL) -> httpx.BasicAuth | None:
        """What to sign in with there, if with anything."""
        import httpx

        mine = any(self._values) and _origin(url) in self._places
        return httpx.BasicAuth(*self._values) if mine else None


def _origin(url: httpx.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)


@asynccontextmanager
async def _asked(url: httpx.URL, login: _Login) -> AsyncIterator[httpx.Response]:
    async with _client(url) as client:
        request = client.build_request("GET", url.copy_with(userinfo=b""), headers=_HEADERS)
        try:
            async with asyncio.timeout(SECONDS_TO_ANSWER):
                response = await client.send(request, auth=login.at(url), stream=True)
        except TimeoutError:
            raise DownloadError(f"no answer within {SECONDS_TO_ANSWER:.0f} s", retriable=True) from None
        try:
            yield response
        finally:
            await response.aclose()


def _client(url: httpx.URL) -> httpx.AsyncClient:
    import httpx

    # The system's certificates, to which a company adds its own.
    certificates = ssl.create_default_context()
    try:
        return httpx.AsyncClient(verify=certificates, timeout=SECONDS_TO_ANSWER, trust_env=False, proxy=_proxy(url))
    except (httpx.InvalidURL, ValueError, ImportError):  # whose text may have the proxy's password
        name = f"{url.scheme}_proxy"
        raise DownloadError("the proxy can't be used", hint=f"Correct the environment variable {name}.") from None


def _proxy(url: httpx.URL) -> str | None:
    if urllib.request.proxy_bypass(url.host):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _refuse_failure(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    hint = "User and password, or a signed address, may be wrong or out of date." if status in (401, 403) else ""
    reason = f"the server answers {status} {response.reason_phrase}".rstrip()
    raise DownloadError(reason, retriable=status >= 500 or status in (408, 429), hint=hint)


def _next(here: httpx.URL, location: str) -> httpx.URL:
    try:
        there = address(str(here.join(location)))
    except ValueError:
        raise DownloadError(f"it redirects to {location}, which can't be requested") from None
    if here.scheme == "https" and there.scheme != "https":
        raise DownloadError(f"it redirects from https to plain http, to {there}")
    return there


async def _take(response: httpx.Response, largest: int, take: Progress) -> None:
    whole = _length(response)
    if whole is not None and whole > largest:
        raise _too_large(largest, f"it has {whole / 1024**3:.1f} GB")
    pieces, received = response.aiter_raw(), 0
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                until = received + LEAST_BYTES
                while received < until:
                    if (piece := await anext(pieces, None)) is None:
                        return
                    received += len(piece)
                    if received > largest:
                        raise _too_large(largest, "it goes on after that")
                    take(piece, whole)
        except TimeoutError:
            message = f"it has stalled: after {received} bytes less than {LEAST_BYTES >> 10} KiB in {STALL_SECONDS:g} s"
            raise DownloadError(message, retriable=True) from None


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _too_large(largest: int, why: str) -> DownloadError:
    return DownloadError(
        f"it is larger than {largest / 1024**3:g} GB: {why}",
        hint="If it is meant to be, raise the image's maximumSizeInGB in cloudpc:images.",
    )
