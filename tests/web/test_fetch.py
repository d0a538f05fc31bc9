"""What pages load in a browser comes from npm's registry, exactly as it was locked."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_server import Received, Reply, Server
from tests.support.project import REPO
from tests.support.waiting import wait_until

NAME, FILE = "htmx.org", "dist/htmx.min.js"


def _archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


PACKAGE = _archive({
    f"package/{FILE}": b"code", "package/LICENSE": b"0BSD", "package/package.json": b"{}",
    "package/dist/more.js": b"more", "package/dist/htmx.min.js/../../../../up.js": b"up",
})  # fmt: skip


class Registry:
    """npm's, with one package."""

    def __init__(self) -> None:
        self.content = PACKAGE
        self.asked: list[str] = []
        self.held: str | None = None
        """What is asked for without an answer."""
        self.ended = threading.Event()
        self.server = Server(self._respond)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _respond(self, received: Received) -> Reply:
        self.asked.append(received.target)
        if self.held and self.held in received.target:
            self.ended.wait(60)
        return Reply(200, self.content, {})


@pytest.fixture
def registry() -> Iterator[Registry]:
    running = Registry()
    running.server.start()
    yield running
    running.ended.set()
    running.server.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout/tools/web"
    folder.mkdir(parents=True)
    shutil.copy(REPO / "tools/web/fetch", folder)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(PACKAGE).digest()).decode()
    locked = {"packages": {"": {}, f"node_modules/{NAME}": {"version": "2.0.0", "integrity": integrity}}}
    (folder / "package-lock.json").write_text(json.dumps(locked))
    return tmp_path / "checkout"


def _environment(home: Path, **variables: str) -> dict[str, str]:
    """Without npm, as on a machine that only serves pages."""
    return {"PATH": str(home / "empty"), "HOME": str(home), "NO_PROXY": "127.0.0.1"} | variables


def _fetch(checkout: Path, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    script, env = checkout / "tools/web/fetch", _environment(home, **variables)
    return subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=60)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_a_browser_loads_is_kept(checkout: Path, registry: Registry, tmp_path: Path) -> None:
    assert _fetch(checkout, tmp_path, npm_config_registry=registry.url).returncode == 0
    kept = {f"{NAME}/{FILE}", f"{NAME}/LICENSE", f"{NAME}/package.json", "stamp"}
    assert _files(checkout / "build") == {f"web/{name}" for name in kept}
    assert registry.asked == [f"/{NAME}/-/{NAME}-2.0.0.tgz"]


def test_nothing_is_fetched_again(checkout: Path, registry: Registry, tmp_path: Path) -> None:
    for _ in range(2):
        assert _fetch(checkout, tmp_path, npm_config_registry=registry.url).returncode == 0
    assert len(registry.asked) == 1


def test_the_registry_is_the_one_of_npms_own_file(checkout: Path, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text(f"; ours\nregistry = {registry.url}/\n")
    assert _fetch(checkout, tmp_path).returncode == 0
    assert registry.asked


def test_what_is_not_as_locked_is_refused_and_leaves_nothing(
    checkout: Path, registry: Registry, tmp_path: Path
) -> None:
    registry.content = _archive({f"package/{FILE}": b"other", "package/LICENSE": b"", "package/package.json": b"{}"})
    ended = _fetch(checkout, tmp_path, npm_config_registry=registry.url)
    assert ended.returncode == 1
    assert "is not what tools/web/package-lock.json has" in ended.stderr
    assert not _files(checkout / "build")


def test_a_registry_that_is_not_reached_is_named_without_its_password(checkout: Path, tmp_path: Path) -> None:
    ended = _fetch(checkout, tmp_path, npm_config_registry="http://me:secret@127.0.0.1:9")
    assert ended.returncode == 1
    assert "npm_config_registry" in ended.stderr
    assert "secret" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_all_of_a_connection_has_one_deadline(checkout: Path, tmp_path: Path, scheme: str) -> None:
    """A look-up that nobody answers heeds no socket's timeout."""
    script = checkout / "tools/web/fetch"
    script.write_text(script.read_text().replace("SECONDS_TO_CONNECT = 10", "SECONDS_TO_CONNECT = 0.5"))
    (tmp_path / "sitecustomize.py").write_text("import socket, time\nsocket.getaddrinfo = lambda *_: time.sleep(30)\n")
    began = time.monotonic()
    ended = _fetch(checkout, tmp_path, npm_config_registry=f"{scheme}://127.0.0.1:9", PYTHONPATH=str(tmp_path))
    assert time.monotonic() - began < 20
    assert ended.returncode == 1
    assert "no connection within 0.5 s" in ended.stderr


def test_one_that_is_stopped_leaves_nothing(checkout: Path, registry: Registry, tmp_path: Path) -> None:
    """As set-up stops it on Ctrl-C, between two packages."""
    lock = checkout / "tools/web/package-lock.json"
    locked = json.loads(lock.read_text())
    locked["packages"]["node_modules/axe-core"] = locked["packages"][f"node_modules/{NAME}"]
    lock.write_text(json.dumps(locked))
    registry.held = "axe-core"
    env = _environment(tmp_path, npm_config_registry=registry.url)
    with subprocess.Popen([sys.executable, checkout / "tools/web/fetch"], env=env) as running:
        wait_until(lambda: len(registry.asked) == 2, 20, "the second is not asked for")
        assert _files(checkout / "build")
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 143
    assert not list((checkout / "build").iterdir())


def test_ours_is_locked_with_a_sum_for_each() -> None:
    locked = json.loads((REPO / "tools/web/package-lock.json").read_text())["packages"]
    asked = json.loads((REPO / "tools/web/package.json").read_text())
    del locked[""]
    assert {name.removeprefix("node_modules/"): each["version"] for name, each in locked.items()} == (
        asked["dependencies"] | asked["devDependencies"]
    )
    assert all(each["integrity"].startswith("sha512-") for each in locked.values())
    assert os.access(REPO / "tools/web/fetch", os.X_OK)
