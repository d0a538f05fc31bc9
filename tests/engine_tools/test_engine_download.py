"""tools/engine/download and ensure, against a server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import platform
import signal
import ssl
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_side import REPOSITORY
from test_setup_scripts import pinned

from tests.support.http_server import Received, Reply, Server

ARCHIVE = f"pulumi-{pinned()}-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}.tar.gz"
LIST = f"pulumi-{pinned()[1:]}-checksums.txt"
CLOSE = {"Connection": "close"}


def release(version: str = pinned()) -> bytes:
    """An archive as Pulumi's: all programs in one folder."""
    made = io.BytesIO()
    # without the time, or two of them would be the same only within a second
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("pulumi", "pulumi-language-python", "pulumi-language-go"):
            content = f"#!/bin/sh\necho {version} # of the release\n".encode()
            entry = tarfile.TarInfo(f"pulumi/{name}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Checkout:
    """The scripts, with a build that only says that it was asked, and a cache of their own."""

    def __init__(self, folder: Path) -> None:
        self.tools = folder / "tools"
        self.engines = folder / "engines"
        (self.tools / "engine").mkdir(parents=True)
        for name in ("lib.sh", "engine/version.sh", "engine/go.mod", "engine/download", "engine/ensure",
                     "engine/find", "engine/release.sums", "engine/pulumi-language-python"):  # fmt: skip
            (self.tools / name).write_bytes((REPOSITORY / "tools" / name).read_bytes())
            (self.tools / name).chmod(0o755)
        version = self.tools / "engine/version.sh"  # this machine may have one for all
        version.write_text(version.read_text().replace("/usr/local/share/cloudpc/engine", str(folder / "none")))
        (folder / "Pulumi.yaml").write_bytes((REPOSITORY / "Pulumi.yaml").read_bytes())
        (self.tools / "engine/build").write_text("#!/bin/sh\necho BUILT\n")
        (self.tools / "engine/build").chmod(0o755)
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "CLOUDPC_ENGINES": str(self.engines)}

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.tools / "engine/ensure"], env=self.environment | environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def ensure(self, **environment: str) -> str:
        process = self.start(**environment)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    @property
    def engine(self) -> Path:
        return self.engines / pinned() / "bin" / "pulumi"

    def is_fetched(self) -> bool:
        """Whether the release is there; nothing of an attempt ever is."""
        assert not (self.engines / ".download").exists()
        assert self.engine.exists() or not (self.engines / pinned()).exists()
        return self.engine.exists()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@contextmanager
def serving(respond: Callable[[Received], Reply | None]) -> Iterator[str]:
    server = Server(respond)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/sdk"
    finally:
        server.close()


def files(content: Mapping[str, bytes]) -> Callable[[Received], Reply]:
    def respond(asked: Received) -> Reply:
        found = content.get(asked.target.rpartition("/")[2])
        return Reply(404, b"", {}) if found is None else Reply(200, found, {})

    return respond


@pytest.mark.parametrize("pin", ["variable", "file"])
def test_a_release_with_the_pinned_sum_is_taken(checkout: Checkout, pin: str) -> None:
    archive = release()
    environment = {}
    if pin == "file":
        with (checkout.tools / "engine/release.sums").open("a") as sums:
            sums.write(f"{sum_of(archive)}  {ARCHIVE}\n")
    else:
        environment["CLOUDPC_ENGINE_SHA256"] = sum_of(archive)
    with serving(files({ARCHIVE: archive})) as url:
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url, **environment)
    assert checkout.is_fetched()
    assert "BUILT" not in said
    assert ("release.sums" if pin == "file" else "CLOUDPC_ENGINE_SHA256") in said
    beside = {path.name for path in checkout.engine.parent.iterdir()}
    assert beside == {"pulumi", "pulumi-language-python"}, "as beside a built one: the language host is the project's"
    assert "tools/language-host" in (checkout.engine.parent / "pulumi-language-python").read_text()
    assert checkout.ensure(CLOUDPC_ENGINE_URL="http://127.0.0.1:1") == "", "it is there"


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (release() + b"!", "SHA-256"),
        (release()[:-1], "SHA-256"),
        (None, "404"),
    ],
)
def test_any_other_file_is_refused_and_pulumi_is_built(checkout: Checkout, archive: bytes | None, why: str) -> None:
    content = {} if archive is None else {ARCHIVE: archive}
    with serving(files(content)) as url:
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url, CLOUDPC_ENGINE_SHA256=sum_of(release()))
    assert not checkout.is_fetched()
    assert why in said
    assert said.endswith("BUILT\n")


def test_one_that_is_another_version_is_refused(checkout: Checkout) -> None:
    other = release("v3.1.0")
    with serving(files({ARCHIVE: other})) as url:
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url, CLOUDPC_ENGINE_SHA256=sum_of(other))
    assert not checkout.is_fetched()
    assert "v3.1.0" in said
    assert said.endswith("BUILT\n")


def test_half_a_file_is_never_used(checkout: Checkout) -> None:
    whole = release()
    half = Reply(200, whole[:100], {"Content-Length": str(len(whole)), **CLOSE})
    with serving(lambda _asked: half) as url:
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url, CLOUDPC_ENGINE_SHA256=sum_of(whole))
    assert not checkout.is_fetched()
    assert said.endswith("BUILT\n")


def test_a_server_that_does_not_answer_costs_seconds(checkout: Checkout) -> None:
    with serving(lambda _asked: time.sleep(60)) as url:
        began = time.monotonic()
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url, CLOUDPC_ENGINE_SHA256=sum_of(release()))
        assert time.monotonic() - began < 30
    assert not checkout.is_fetched()
    assert said.endswith("BUILT\n")


def test_without_a_route_or_when_told_so_it_is_built_at_once(checkout: Checkout) -> None:
    assert checkout.ensure(CLOUDPC_ENGINE_URL="none") == "BUILT\n"
    said = checkout.ensure(CLOUDPC_ENGINE_URL="https://someone:secret@127.0.0.1:1/sdk")
    assert said.endswith("BUILT\n")
    assert "127.0.0.1:1" in said
    assert "secret" not in said


def test_ctrl_c_ends_it_without_a_build_and_leaves_nothing(checkout: Checkout) -> None:
    asked: list[Received] = []
    with serving(lambda received: asked.append(received) or time.sleep(60)) as url:  # type: ignore[func-returns-value]
        process = checkout.start(CLOUDPC_ENGINE_URL=url, CLOUDPC_ENGINE_SHA256=sum_of(release()))
        while not asked:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=10)
    assert process.returncode in (130, -signal.SIGINT)
    assert not checkout.is_fetched()
    assert "BUILT" not in said


def test_proxies_are_asked_as_everywhere(checkout: Checkout) -> None:
    archive, asked = release(), []

    def proxy(received: Received) -> Reply:
        asked.append(received.target)
        return files({ARCHIVE: archive})(received)

    with serving(proxy) as url:
        checkout.ensure(
            CLOUDPC_ENGINE_URL="http://pulumi.invalid/sdk",
            CLOUDPC_ENGINE_SHA256=sum_of(archive),
            http_proxy=url.removesuffix("/sdk"),
        )
    assert checkout.is_fetched()
    assert asked == [f"http://pulumi.invalid/sdk/{ARCHIVE}"]


def test_without_a_pin_the_list_of_the_release_is_believed_over_tls_only(checkout: Checkout, tmp_path: Path) -> None:
    archive = release()
    content = {ARCHIVE: archive, LIST: f"{'0' * 64}  other.zip\n{sum_of(archive)}  {ARCHIVE}\n".encode()}
    with serving(files(content)) as url:
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url)
    assert not checkout.is_fetched()
    assert "https" in said
    certificate = tmp_path / "certificate.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    request = ["openssl", "req", "-x509", *curve, "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    where = ["-keyout", str(certificate), "-out", str(tmp_path / "only")]
    subprocess.run([*request, *names, *where], check=True, capture_output=True)
    certificate.write_bytes(certificate.read_bytes() + (tmp_path / "only").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(files(content))
    server.wrap(lambda listening: context.wrap_socket(listening, server_side=True))
    server.start()
    try:
        url = f"https://localhost:{server.port}/sdk"
        stranger = checkout.ensure(CLOUDPC_ENGINE_URL=url)
        assert "certificate" in stranger
        assert not checkout.is_fetched()
        said = checkout.ensure(CLOUDPC_ENGINE_URL=url, PIP_CERT=str(tmp_path / "only"))
    finally:
        server.close()
    assert checkout.is_fetched()
    assert "pins none" in said


def test_pinned_sums_are_those_of_the_engine_that_is_pinned() -> None:
    lines = (REPOSITORY / "tools/engine/release.sums").read_text().splitlines()
    for line in (line for line in lines if not line.startswith("#")):
        digest, name = line.split()
        assert len(bytes.fromhex(digest)) == 32
        assert name in {f"pulumi-{pinned()}-linux-{kind}.tar.gz" for kind in ("x64", "arm64")}
