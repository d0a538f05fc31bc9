"""`cloudpc connect` through Azure Bastion: `az` opens the tunnel, a real ssh goes through it under the pinned key."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import typer
from pydantic import SecretStr

from cloudpc.cli import access as commands
from cloudpc.cli.output import CommandError
from cloudpc.model.access import Bastion, Ssh
from cloudpc.model.credentials import RecordedCredentials
from tests.access import station as stations
from tests.access.fake_az import FakeAz
from tests.access.station import PASSWORD, Station
from tests.support.waiting import wait_until

BASTION = Bastion(bastion_id="/subscriptions/s/bastionHosts/hub", target_id="/subscriptions/s/virtualMachines/cpc1")


@pytest.fixture(scope="module")
def station() -> Iterator[Station]:
    if os.geteuid() != 0:
        pytest.skip("only root may give sshd users of the tests' own")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # its users read their keys themselves
        running = stations.start(Path(folder))
        yield running
        running.stop()


@pytest.fixture
def az(station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAz:
    monkeypatch.setenv("PATH", f"{tmp_path}:{station.bin}:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    az = FakeAz(tmp_path)
    az.forwards(station.guest_port)
    return az


def _connect(monkeypatch: pytest.MonkeyPatch, key: str, host: object = None, bastion: Bastion | None = BASTION) -> int:
    """Its exit code, of a command that ends with 7."""
    way = Ssh(host="10.1.0.5", port=22, bastion=bastion, host_key=key)
    credentials = RecordedCredentials(user="alice", password=SecretStr(PASSWORD))
    recorded = SimpleNamespace(
        access=way, credentials=credentials, status="provisioned", machine_id=uuid4(), host="weu",
        settings=SimpleNamespace(guest_os="linux"), is_kept_off=False,
    )  # fmt: skip
    record = SimpleNamespace(device_name="CPC-ALICE-BCDFG", policy="demo", recorded=recorded)
    project = SimpleNamespace(with_secrets=lambda *_: record, host=lambda _: host)
    monkeypatch.setattr(commands, "Project", lambda: project)
    with pytest.raises(typer.Exit) as ended:
        commands.connect("u-alice", ["echo inside; exit 7"])
    return ended.value.exit_code


def test_a_command_runs_there_and_the_tunnel_ends(
    station: Station, az: FakeAz, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _connect(monkeypatch, station.host_key("guest")) == 7
    assert capfd.readouterr().out == "inside\n"
    assert az.arguments[3:7] == ["--ids", BASTION.bastion_id, "--target-resource-id", BASTION.target_id]
    wait_until(lambda: not az.is_running, 5, "the tunnel stays")


def test_the_key_is_pinned_whatever_answers_at_the_tunnels_end(
    station: Station, az: FakeAz, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _connect(monkeypatch, station.host_key("host")) == 255
    assert "inside" not in capfd.readouterr().out
    wait_until(lambda: not az.is_running, 5, "the tunnel stays")


def test_the_entry_of_its_host_says_the_way_of_today(
    station: Station, az: FakeAz, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = BASTION.model_copy(update={"bastion_id": "/subscriptions/s/bastionHosts/another"})
    host = SimpleNamespace(way=None, bastion_to=lambda _: other)
    assert _connect(monkeypatch, station.host_key("guest"), host, bastion=None) == 7
    assert other.bastion_id in az.arguments


def test_without_az_people_are_shown_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError, match="az network bastion tunnel --ids /subscriptions/s/bastionHosts/hub"):
        _connect(monkeypatch, "ssh-ed25519 AAAA")
