from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.images import download
from cloudpc.images.download import DownloadError, address

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A server of one test: what it answers by path, and what it was asked for with which Authorization."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers["Authorization"]))
                with contextlib.suppress(OSError):  # the client has had enough
                    site.answers[self.path](self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.place = f"127.0.0.1:{self.server.server_port}"

    def sends_on(self, path: str, to: str, status: int = 302) -> None:
        self.answers[path] = lambda request: _head(request, status, Location=to)

    def has(self, path: str, content: bytes) -> None:
        def answer(request: BaseHTTPRequestHandler) -> None:
            _head(request, 200, **{"Content-Length": str(len(content))})
            request.wfile.write(content)

        self.answers[path] = answer


def _head(request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


@contextlib.contextmanager
def _running(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    with _running(Site()) as running:
        yield running


@pytest.fixture
def other() -> Iterator[Site]:
    with _running(Site()) as running:
        yield running


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "t")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "server.pem"
    file.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, *plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with _running(Site(context)) as running:
        yield running


def fetched(url: str, largest: int = 1 << 30) -> bytes:
    pieces: list[bytes] = []
    download.download(url, largest, lambda piece, _whole: pieces.append(piece))
    return b"".join(pieces)


def refused(url: str, largest: int = 1 << 30) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        fetched(url, largest)
    return caught.value


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ---- addresses


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/Büro.qcow2", "/B%C3%BCro.qcow2"),
        ("/a b.qcow2", "/a%20b.qcow2"),
        ("/a%20b%2Fc.qcow2", "/a%20b%2Fc.qcow2"),
        ("/100%.qcow2", "/100%25.qcow2"),
        ("/x?sig=a b&name=Büro", "/x?sig=a%20b&name=B%C3%BCro"),
        ("/x?sig=a%2Bb%3D#part", "/x?sig=a%2Bb%3D"),
        ("", "/"),
    ],
)
def test_what_an_address_may_have_is_asked_for(path: str, asked: str, site: Site) -> None:
    site.has(asked, b"content")
    assert fetched(f"http://{site.place}{path}") == b"content"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://bücher.example/x", "xn--bcher-kva.example"),
        ("HTTPS://Host.EXAMPLE/x", "host.example"),
        ("https://[fd00::5]:8443/x", "fd00::5"),
        ("https://my_host.example./x", "my_host.example."),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert address(url).raw_host.decode() == host


@pytest.mark.parametrize(
    "url",
    [
        "", "golden.qcow2", "file:///etc/shadow", "ftp://host/x", "https:///x", "https:/host/x", "https://S3cretPw@/x",
        "https://ci:S3/cretPw@host/x", "https://ci:S3cretPw@host:port/x", "https://host:0/x", "https://host:65536/x",
        "https://ho st/x", "https://a..b/x", f"https://{'a' * 64}.example/x", f"https://{'a.' * 127}example/x",
        "https://-a.example/x", "https://xn--a/x", "https://☃.example/x", "https://[fe80::1%25eth0]/x", "https://[::1/x",
        "https://host\\x/y", "https://host/\x7f", "https://host/x\ny", "https://\ud800/x", "https://host/\ud800",
    ],
)  # fmt: skip
def test_addresses_that_nothing_can_be_had_from(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        address(url)
    assert "S3" not in str(caught.value)
    assert "Pw" not in str(caught.value)


_PARTS = st.text(st.characters(codec=None), max_size=12)


@given(user=_PARTS, host=st.one_of(_PARTS, st.from_regex(r"[a-zà-ž0-9._-]{1,20}", fullmatch=True)), path=_PARTS)
def test_what_is_taken_can_be_asked_for(user: str, host: str, path: str) -> None:
    try:
        found = address(f"https://{user}@{host}/{path}")
    except ValueError:
        return
    found.raw_host.decode("ascii").encode("idna")  # as the resolver does
    request = httpx.Request("GET", found.copy_with(userinfo=b""))
    assert next(httpx.BasicAuth(found.username, found.password).auth_flow(request)).headers["Authorization"]


# ---- user and password


def test_user_and_password_are_sent(site: Site) -> None:
    site.has("/x", b"content")
    assert fetched(f"http://ci:p%40ss%2Fwörd@{site.place}/x") == b"content"
    assert site.asked == [("/x", basic("ci", "p@ss/wörd"))]


def test_they_go_on_where_the_same_server_sends_on(site: Site) -> None:
    site.sends_on("/x", "/y?a=b")
    site.sends_on("/y?a=b", f"http://{site.place}/z", 308)
    site.has("/z", b"content")
    assert fetched(f"http://ci:S3cretPw@{site.place}/x") == b"content"
    assert [login for _, login in site.asked] == [basic("ci", "S3cretPw")] * 3


def test_they_go_to_no_other_server(site: Site, other: Site) -> None:
    site.sends_on("/x", f"http://{other.place}/x")
    other.sends_on("/x", f"http://{other.place}/y")
    other.has("/y", b"content")
    assert fetched(f"http://ci:S3cretPw@{site.place}/x") == b"content"
    assert [login for _, login in other.asked] == [None, None]


def test_without_them_nothing_is_sent(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text(f"machine {site.place.partition(':')[0]} login me password S3cretPw")
    monkeypatch.setenv("HOME", str(tmp_path))
    site.has("/x", b"content")
    fetched(f"http://{site.place}/x")
    assert site.asked == [("/x", None)]


# ---- where a server sends on to


def test_from_https_to_http_is_refused(secure: Site, site: Site) -> None:
    site.has("/x", b"content")
    secure.sends_on("/x", f"http://{site.place}/x?sig=S3cretPw")
    error = refused(f"https://ci:S3cretPw@{secure.place}/x")
    assert "from https to plain http" in str(error)
    assert "S3cretPw" not in str(error)
    assert not error.retriable
    assert site.asked == []


def test_from_http_to_https_is_followed(secure: Site, site: Site) -> None:
    secure.has("/x", b"content")
    site.sends_on("/x", f"https://{secure.place}/x", 301)
    assert fetched(f"http://{site.place}/x") == b"content"


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused(f"https://{secure.place}/x"))


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://host/x", "http://ho st/x", "http://a..b/x"])
def test_to_what_is_no_address_is_refused(to: str, site: Site) -> None:
    site.sends_on("/x", to)
    assert "can't be requested" in str(refused(f"http://{site.place}/x"))


def test_for_ever_is_refused(site: Site) -> None:
    site.sends_on("/x", "/x")
    assert "more than 10 times" in str(refused(f"http://{site.place}/x"))
    assert len(site.asked) == 10


# ---- size and time


def test_a_size_that_is_too_large_is_refused_before_anything_comes(site: Site) -> None:
    site.answers["/x"] = lambda request: _head(request, 200, **{"Content-Length": str(3 << 30)})
    taken: list[bytes] = []
    with pytest.raises(DownloadError, match="larger than 2 GB: it has 3") as caught:
        download.download(f"http://{site.place}/x", 2 << 30, lambda piece, _whole: taken.append(piece))
    assert "maximumSizeInGB" in caught.value.hint
    assert (taken, caught.value.retriable) == ([], False)


def test_one_without_end_is_ended(site: Site) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        _head(request, 200)
        while True:
            request.wfile.write(bytes(1 << 16))

    site.answers["/x"] = endless
    taken: list[int] = []
    with pytest.raises(DownloadError, match="it goes on after that"):
        download.download(f"http://{site.place}/x", 1 << 20, lambda piece, _whole: taken.append(len(piece)))
    assert sum(taken) <= 1 << 20


def test_one_that_ends_early_is_told_and_tried_again(site: Site) -> None:
    def early(request: BaseHTTPRequestHandler) -> None:
        _head(request, 200, **{"Content-Length": "100"})
        request.wfile.write(b"x")

    site.answers["/x"] = early
    assert refused(f"http://{site.place}/x").retriable


def test_one_that_drips_has_stalled(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        _head(request, 200, **{"Content-Length": "1000000"})
        while not over.wait(0.02):
            request.wfile.write(b"x")

    site.answers["/x"] = drip
    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)
    error = refused(f"http://{site.place}/x")
    over.set()
    assert "it has stalled" in str(error)
    assert error.retriable


def test_an_answer_that_never_ends_its_headers_is_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.flush_headers()
        while not over.wait(0.02):
            request.wfile.write(b"x")

    site.answers["/x"] = drip
    monkeypatch.setattr(download, "SECONDS_TO_ANSWER", 0.5)
    error = refused(f"http://{site.place}/x")
    over.set()
    assert "no answer within" in str(error)
    assert error.retriable


def test_who_takes_it_may_end_it(site: Site) -> None:
    class Stopped(Exception):
        pass

    def stop(_piece: bytes, _whole: int | None) -> None:
        raise Stopped

    site.has("/x", bytes(1 << 20))
    with pytest.raises(Stopped):
        download.download(f"http://{site.place}/x", 1 << 30, stop)


# ---- failures


@pytest.mark.parametrize(("status", "retriable"), [(401, False), (404, False), (429, True), (500, True), (503, True)])
def test_a_refusal_is_told(status: int, retriable: bool, site: Site) -> None:
    site.answers["/x"] = lambda request: _head(request, status, **{"Content-Length": "0"})
    error = refused(f"http://ci:S3cretPw@{site.place}/x")
    assert str(status) in str(error)
    assert error.retriable is retriable
    assert ("password" in error.hint) is (status == 401)


def test_a_proxy_that_cannot_be_used_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("foo://me:S3cretPw@proxy:3128", "http://me:S3cretPw@proxy:port", "socks5://me:S3cretPw@proxy:1080"):
        monkeypatch.setenv("http_proxy", proxy)
        error = refused("http://images.example/x")
        assert "the proxy can't be used" in str(error)
        assert "http_proxy" in error.hint
        assert "S3cretPw" not in str(error) + error.hint


def test_a_proxy_is_used_and_left_out_as_the_environment_says(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.has("http://images.example/x", b"through")
    site.has("/x", b"direct")
    monkeypatch.setenv("http_proxy", site.place)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetched("http://images.example/x") == b"through"
    assert fetched(f"http://{site.place}/x") == b"direct"
