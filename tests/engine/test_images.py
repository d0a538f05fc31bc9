"""What a policy's URLs and URIs have of secrets, and what is wrong with its image, as seen in a whole run."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import Project

pytestmark = pytest.mark.engine
_LOGIN = "Basic " + base64.b64encode(b"ci:S3cretPw").decode()


@pytest.fixture
def site(tiny_image: Path) -> Iterator[str]:
    """A server that has the image for who signs in, and counts nothing else than who asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = tiny_image.read_bytes() if self.headers["Authorization"] == _LOGIN else b""
            self.send_response(200 if content and self.path.startswith("/tiny") else 404 if content else 401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://ci:S3cretPw@127.0.0.1:{running.server_port}"
        running.shutdown()


def _change(project: Project, **changes: Any) -> None:
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"].update({f"cloudpc:{name}": value for name, value in changes.items()})
    file.write_text(yaml.safe_dump(content))


def _seal(project: Project, url: str) -> None:
    """A URL as docs/images.md says: Pulumi keeps plain configuration in its state, and a secret sealed."""
    ran = project.pulumi("config", "set", "--secret", "--path", "cloudpc:images.tiny.url", url, "--stack", "demo")
    assert ran.code == 0, ran


def _kept(project: Project) -> str:
    """All that was written: state and its history, logs, the host."""
    folders = (project.root / "state", project.root / "xdg-state", project.root / "host", project.root / "stacks")
    return "".join(file.read_text(errors="replace") for one in folders for file in one.rglob("*") if file.is_file())


def test_a_password_in_an_images_url_signs_in_and_is_told_nowhere(
    project: Project, site: str, tiny_image: Path
) -> None:
    sha = hashlib.sha256(tiny_image.read_bytes()).hexdigest()
    _change(project, images={"tiny": {"url": f"{site}/tiny.qcow2", "sha256": sha}})
    for ran in (project.cloudpc("up", "demo"), project.pulumi("preview", "--stack", "demo")):
        assert "stacks/Pulumi.demo.yaml: cloudpc:images.tiny.url: has user and password" in ran.output
        assert "S3cretPw" not in ran.output
    _change(project, images={"tiny": {"sha256": sha}})
    _seal(project, f"{site}/gone.qcow2?sig=S3cretPw")
    ran = project.cloudpc("up", "demo")
    assert "can't be downloaded from http://…@127.0.0.1" in ran.output
    assert project.state()["u000"]["statusDetail"]["code"] == "imageNotFound"
    told = ran.output + project.cloudpc("list", "--json").output + project.cloudpc("show", "u000").output
    assert "S3cretPw" not in told + _kept(project)
    _seal(project, f"{site}/tiny.qcow2?sig=S3cretPw")
    again = project.cloudpc("retry", "u000", "u001")
    assert again.code == 0, again
    assert set(project.statuses().values()) == {"provisioned"}
    assert "S3cretPw" not in again.output + _kept(project)


def test_a_password_in_a_hosts_uri_is_refused_and_told_nowhere(project: Project) -> None:
    _change(project, hosts=[{"name": "kvm1", "uri": "qemu+ssh://root:S3cretPw@kvm1/system"}])
    for arguments in (
        ["policy", "validate"],
        ["policy", "validate", "--json"],
        ["up", "demo"],
        ["doctor"],
        ["doctor", "--json"],
    ):
        ran = project.cloudpc(*arguments)
        assert ran.code in (1, 2), ran
        assert "has a password" in ran.output
        assert "S3cretPw" not in ran.output
    ran = project.pulumi("preview", "--stack", "demo")
    assert "has a password" in ran.output
    assert "S3cretPw" not in ran.output
    assert not project.machines()


def test_an_image_that_is_none_is_found_before_any_attempt(project: Project) -> None:
    packed = project.root / "stacks" / "own.qcow2.xz"
    packed.write_bytes(b"\xfd7zXZ\0rest")
    _change(project, images={"tiny": {"path": packed.name, "sha256": "0" * 64}})
    ran = project.cloudpc("up", "demo")
    assert ran.code == 2, ran
    assert "xz -dc own.qcow2.xz > NEW.qcow2" in ran.output
    assert not project.machines()
