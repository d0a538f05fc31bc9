"""Nothing is sealed with an empty passphrase."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudpc.iac import passphrase
from cloudpc.iac.engine import Engine

VARIABLE, FILE = "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    for name in (VARIABLE, FILE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    (tmp_path / "Pulumi.yaml").write_text("name: cloudpc\n")
    return Engine(tmp_path)


def _problem(engine: Engine, stack: str = "") -> str:
    file = engine.root / "Pulumi.demo.yaml"
    file.write_text(f"config: {{}}\n{stack}\n")
    return str(passphrase.problem(file, engine) or "")


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_variable(engine: Engine, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    (engine.root / "passphrase").write_text("a good one")
    monkeypatch.setenv(FILE, str(engine.root / "passphrase"))  # which the variable goes before
    assert _problem(engine).startswith(f"environment: {VARIABLE}: is empty")
    assert _problem(engine, "secretsprovider: passphrase")
    assert passphrase.problem(engine.root / "none.yaml", engine), "a stack that is still to be made"


def test_an_empty_file(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    file = engine.root / "passphrase"
    monkeypatch.setenv(FILE, str(file))
    file.write_text("\n \n")
    assert _problem(engine).startswith(f"environment: {FILE}: names a file that is empty")
    file.write_text("a good one\n")
    assert not _problem(engine)


@pytest.mark.parametrize(("device", "empty"), [("/dev/null", True), ("/dev/zero", False)])
def test_a_device_that_reads_empty(engine: Engine, monkeypatch: pytest.MonkeyPatch, device: str, empty: bool) -> None:
    (engine.root / "link").symlink_to(device)
    for name in (device, str(engine.root / "link")):
        monkeypatch.setenv(FILE, name)
        assert _problem(engine).startswith(f"environment: {FILE}: names a file that is empty") is empty


def test_what_pulumi_itself_asks_for_or_reads_once_is_left_to_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _problem(engine)
    os.mkfifo(engine.root / "pipe")
    for name in ("pipe", "none"):
        monkeypatch.setenv(FILE, str(engine.root / name))
        assert not _problem(engine)
    _, terminal = os.openpty()
    monkeypatch.setenv(FILE, os.ttyname(terminal))
    assert not _problem(engine)


@pytest.mark.parametrize(
    ("salt", "empty"),
    [
        ("v1:jT0GvDNNv4E=:v1:FLh8zbtH66er3eN7:RL3svr5RyrX121JmmVkm6qSvaUk+Fg==", True),
        ("v1:Y790kv+B35M=:v1:6xAAI9XO+zFvRpeS:TRHoJ1EmfntEmOdiw80djzldPlZzXg==", False),
        ("v1:no:v1:salt", False),
        ("v1:a:v1:b:c", False),
    ],
)
def test_one_that_was_typed_in_is_told_by_the_salt(engine: Engine, salt: str, empty: bool) -> None:
    told = _problem(engine, f"encryptionsalt: {salt}")
    assert ("encryptionsalt: is of an empty passphrase" in told) is empty


def test_other_ways_to_seal_need_no_passphrase(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    for provider in ("awskms://alias/key", "azurekeyvault://vault/key", "gcpkms://key", "hashivault://key"):
        assert not _problem(engine, f'secretsprovider: "{provider}"')
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://api.pulumi.com")
    cloud = Engine(engine.root)
    assert not _problem(cloud)
    assert _problem(cloud, "encryptionsalt: v1:x:y")
