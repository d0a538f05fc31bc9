"""What stands before a desktop's client: a fingerprint that is compared in one form, and a way that may end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cloudpc.cli import desktop_client
from cloudpc.cli.output import CommandError
from cloudpc.cli.ssh import Forwarded, Target
from cloudpc.files import packaged
from cloudpc.model import thumbprints
from cloudpc.model.text import command_line

CERTIFICATE = b"its DER"
RECORDED = thumbprints.of(CERTIFICATE)


@pytest.fixture
def way() -> Forwarded:
    """One whose ssh has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return Forwarded(1, ended)


@pytest.mark.parametrize("written", [RECORDED, RECORDED.upper(), thumbprints.shown(RECORDED.upper())])
def test_a_fingerprint_is_the_same_however_it_is_written(
    written: str, way: Forwarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert thumbprints.shown(written) == ":".join(RECORDED[at : at + 2] for at in range(0, 64, 2))
    monkeypatch.setattr(desktop_client, "_certificate", lambda _port: CERTIFICATE)
    desktop_client._wait_until_proven(way, written, "CPC-1")
    monkeypatch.setattr(desktop_client, "_certificate", lambda _port: b"another")
    with pytest.raises(CommandError, match="no password was sent"):
        desktop_client._wait_until_proven(way, written, "CPC-1")


def test_an_empty_fingerprint_is_no_certificates() -> None:
    assert not thumbprints.is_of("", CERTIFICATE)
    assert not thumbprints.is_of("", b"")


def test_a_desktop_whose_ssh_has_ended_is_not_waited_for(way: Forwarded) -> None:
    with pytest.raises(CommandError, match="ssh to CPC-1 has ended"):
        desktop_client._wait_until_proven(way, RECORDED, "CPC-1")


@pytest.mark.parametrize("has_page", [True, False])
def test_without_a_client_the_page_is_named_where_there_is_one(
    has_page: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(packaged, "root", lambda: tmp_path)
    monkeypatch.setattr(desktop_client, "find_spec", lambda _name: object())
    if has_page:
        (tmp_path / "build/web/@devolutions/iron-remote-desktop").mkdir(parents=True)
    with pytest.raises(CommandError) as told:
        desktop_client._client()
    assert ("cloudpc serve" in str(told.value), "--rdp-file" in str(told.value)) == (has_page, True)


def test_remmina_s_user_is_told_a_name_that_the_command_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(desktop_client, "_until_interrupted", lambda: 0)
    target = Target("CPC-1", "127.0.0.1", 22, user="o-brien", password="secret", host_key="")
    owner = "o'brien@contoso.example"
    desktop_client._by_remmina("remmina", desktop_client._Session(target, "12", 3389, owner))
    assert f"`{command_line('cloudpc', 'credentials', owner)}`" in " ".join(capsys.readouterr().err.split())
