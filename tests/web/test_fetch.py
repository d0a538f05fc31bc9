"""What pages load in a browser comes from npm's registry, exactly as it was locked."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_server import Received, Reply, Server
from tests.support.project import REPO

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
        self.server = Server(self._respond)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _respond(self, received: Received) -> Reply:
        self.asked.append(received.target)
        return Reply(200, self.content, {})


@pytest.fixture
def registry() -> Iterator[Registry]:
    running = Registry()
    running.server.start()
    yield running
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


def _fetch(checkout: Path, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    # without npm, as on a machine that only serves pages
    env = {"PATH": str(home / "empty"), "HOME": str(home), "NO_PROXY": "127.0.0.1"} | variables
    script = checkout / "tools/web/fetch"
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


def test_ours_is_locked_with_a_sum_for_each() -> None:
    locked = json.loads((REPO / "tools/web/package-lock.json").read_text())["packages"]
    asked = json.loads((REPO / "tools/web/package.json").read_text())
    del locked[""]
    assert {name.removeprefix("node_modules/"): each["version"] for name, each in locked.items()} == (
        asked["dependencies"] | asked["devDependencies"]
    )
    assert all(each["integrity"].startswith("sha512-") for each in locked.values())
    assert os.access(REPO / "tools/web/fetch", os.X_OK)
