"""Which backend: the same answer as pulumi's, wherever it is named, and an error where two places differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudpc.cli import doctor
from cloudpc.cli.context import Project
from cloudpc.iac import backend, passphrase
from cloudpc.iac.engine import Engine, EngineError
from cloudpc.model.problems import InvalidConfigurationError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PULUMI_BACKEND_URL", "PULUMI_CREDENTIALS_PATH", "PULUMI_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    _project(tmp_path)
    return tmp_path


def _project(root: Path, more: str = "") -> None:
    (root / "Pulumi.yaml").write_text(f"name: cloudpc\n{more}")


def _env(root: Path, url: str) -> None:
    (root / ".cloudpc").mkdir()
    (root / ".cloudpc" / "env").write_text(f"export PULUMI_BACKEND_URL={url}\n")


def _login(root: Path, url: str) -> None:
    (root / "home").mkdir()
    (root / "home" / "credentials.json").write_text(json.dumps({"current": url}))


def _told(root: Path) -> str:
    return str(Engine(root).backend)


@pytest.mark.parametrize("variable", ["", None])
def test_an_empty_variable_is_none(root: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    if variable is not None:
        monkeypatch.setenv("PULUMI_BACKEND_URL", variable)
    assert _told(root) == "none (no `pulumi login` either)"
    _login(root, "s3://logged-in")
    assert _told(root) == "s3://logged-in (pulumi login)"
    _env(root, "s3://own")
    assert _told(root) == "s3://own (.cloudpc/env)"
    _project(root, "backend: {url: s3://own/}")
    assert _told(root) == "s3://own (.cloudpc/env)"


def test_pulumi_yaml_goes_before_a_login_and_pulumi_s_own_variable_before_our_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _login(root, "s3://logged-in")
    _project(root, "backend: {url: file://./state}")
    assert _told(root) == f"file://{root}/state (Pulumi.yaml)"
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{root}/state/")
    _env(root, "s3://own")
    assert _told(root) == f"file://{root}/state (PULUMI_BACKEND_URL)"


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("where", ["variable", ".cloudpc/env"])
def test_two_that_differ_are_an_error(root: Path, monkeypatch: pytest.MonkeyPatch, where: str, inside: bool) -> None:
    _project(root, "backend: {url: s3://bucket}")
    if where == "variable" or inside:
        monkeypatch.setenv("PULUMI_BACKEND_URL", "postgres://me:S3cret@db/state")
    else:
        _env(root, "postgres://me:S3cret@db/state")
    with pytest.raises(InvalidConfigurationError, match="another backend than postgres://") as why:
        Engine(root, inside_a_run=inside).stacks()
    assert "S3cret" not in str(why.value)


def test_no_run_begins_where_they_differ(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://another")
    _project(root, "backend: {url: s3://bucket}")
    with pytest.raises(InvalidConfigurationError):
        Engine(root).run(["version"])


def test_who_has_a_token_and_nothing_else_is_with_pulumi_cloud_which_seals_secrets_itself(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-x")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    assert _told(root) == "https://api.pulumi.com (PULUMI_ACCESS_TOKEN)"
    assert passphrase.problem(root / "Pulumi.demo.yaml", Engine(root)) is None
    _login(root, "s3://logged-in")
    assert _told(root) == "s3://logged-in (pulumi login)"


@pytest.mark.parametrize("content", ["not json", "[]", '{"current": 5}'])
def test_a_strange_note_of_a_login_is_none(root: Path, content: str) -> None:
    (root / "home").mkdir()
    (root / "home" / "credentials.json").write_text(content)
    assert backend.find(root, {"PULUMI_HOME": str(root / "home")}, "", "").url == ""


def test_what_others_have_put_into_the_environment_need_be_no_text(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _env(root, "s3://own")
    monkeypatch.setenv("ODD", "a\udcff=b\nc")
    assert Engine(root).environment()["ODD"] == "a\udcff=b\nc"
    (root / ".cloudpc" / "env").write_bytes(b"export OWN=\xff\n")
    assert Engine(root).environment()["OWN"] == "\udcff"


def test_where_state_is_not_the_project_s_own_the_shell_s_passphrase_seals_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "everybody's")
    own = "export PULUMI_CONFIG_PASSPHRASE_FILE=/own\nunset PULUMI_CONFIG_PASSPHRASE\n"
    (root / ".cloudpc").mkdir()
    env = root / ".cloudpc" / "env"

    env.write_text(f"export PULUMI_BACKEND_URL=file:///own\n{own}")
    found = Engine(root).environment()
    assert (found.get("PULUMI_CONFIG_PASSPHRASE"), found["PULUMI_CONFIG_PASSPHRASE_FILE"]) == (None, "/own")

    env.write_text(f"unset PULUMI_BACKEND_URL\n{own}")
    _project(root, "backend: {url: s3://all}")
    found = Engine(root).environment()
    assert (found["PULUMI_CONFIG_PASSPHRASE"], found.get("PULUMI_CONFIG_PASSPHRASE_FILE")) == ("everybody's", None)

    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    assert Engine(root).environment()["PULUMI_CONFIG_PASSPHRASE_FILE"] == "/own"


_WRONG = "is not the URL of a backend; correct it: one of file://, s3://"


@pytest.mark.parametrize(
    ("url", "said", "status"),
    [
        ("https://api.pulumi.com", "https://api.pulumi.com (PULUMI_BACKEND_URL) needs PULUMI_ACCESS_TOKEN", "passed"),
        ("bogus", f"'bogus' (PULUMI_BACKEND_URL) {_WRONG}", "failed"),
        ("htps://me:S3cret@x", f"@x' (PULUMI_BACKEND_URL) {_WRONG}", "failed"),
        (" file:///state", f"' file:///state' (PULUMI_BACKEND_URL) {_WRONG}", "failed"),
        ("", "This project has no backend for its state yet. `cloudpc setup` makes one", "failed"),
    ],
)
def test_where_pulumi_wants_a_token_the_backend_it_asks_for_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str, status: str
) -> None:
    program = root / "pulumi"
    program.write_text("#!/bin/sh\necho 'error: PULUMI_ACCESS_TOKEN must be set for login' >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_BACKEND_URL", url)
    monkeypatch.setenv("CLOUDPC_PROJECT", str(root))
    with pytest.raises(EngineError) as refused:
        Engine(root).read(["stack", "ls"])
    assert said in str(refused.value)
    assert "S3cret" not in str(refused.value)
    [check], _ = doctor._backend(Project())
    assert check.status == status
