"""How a user gets in: a value that state keeps under the names it always had, and that connect asks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from cloudpc.cli import access as commands
from cloudpc.cli.output import CommandError
from cloudpc.model.access import Access, Bastion, Rdp, Ssh, from_outputs, to_outputs
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.operations.records import CloudPCRecord

from . import make
from .fake_rim import desired

SSH = Ssh(host="10.0.0.5", port=22, via="root@kvm1", host_key="ssh-ed25519 AAAA")
RDP = Rdp(host="10.0.0.5", port=3389, certificate_thumbprint="12b1")
DESKTOP = SSH.with_desktop("12b1")
BASTION = Bastion(bastion_id="/subscriptions/s/bastionHosts/hub", target_id="/subscriptions/s/virtualMachines/cpc1")
TUNNELED = Ssh(host="10.1.0.5", port=22, bastion=BASTION, host_key="ssh-ed25519 AAAA")


@pytest.mark.parametrize("way", [SSH, RDP, DESKTOP, TUNNELED])
def test_what_state_keeps_is_read_again(way: Access) -> None:
    assert from_outputs(make.through_pulumi(to_outputs(way))) == way


def test_the_names_in_state_are_those_of_always() -> None:
    assert to_outputs(SSH) == {
        "connection": {"protocol": "ssh", "host": "10.0.0.5", "port": 22, "via": "root@kvm1"},
        "hostKey": "ssh-ed25519 AAAA",
    }
    assert to_outputs(RDP)["certificateThumbprint"] == "12b1"
    assert to_outputs(DESKTOP) == {**to_outputs(SSH), "certificateThumbprint": "12b1"}
    assert to_outputs(TUNNELED)["connection"] == {
        "protocol": "ssh", "host": "10.1.0.5", "port": 22, "via": "",
        "bastion": {"bastionId": BASTION.bastion_id, "targetId": BASTION.target_id},
    }  # fmt: skip
    assert from_outputs({"status": "failed"}) is None


@pytest.mark.parametrize("way", [SSH, RDP, TUNNELED])
def test_a_recorded_cloud_pc_has_it(way: Access) -> None:
    outputs = {**desired().model_dump(by_alias=True, mode="json"), "status": Status.PROVISIONED}
    assert RecordedCloudPC.model_validate({**outputs, **to_outputs(way)}).access == way
    assert RecordedCloudPC.model_validate(outputs).access is None


def test_an_address_of_ipv6_is_told_apart_from_its_port() -> None:
    assert [SSH.address, Ssh(host="fd00::10", port=22).address] == ["10.0.0.5:22", "[fd00::10]:22"]


@pytest.mark.parametrize("way", [SSH, RDP])
def test_a_proof_goes_into_the_field_of_its_protocol(way: Access) -> None:
    assert list(to_outputs(way.proven("another")).values())[-1] == "another"


def _recorded(monkeypatch: pytest.MonkeyPatch, way: Access) -> None:
    outputs: dict[str, Any] = {
        **desired().model_dump(by_alias=True, mode="json"),
        "status": "provisioned",
        "credentials": {"user": "alice", "password": "secret-of-alice"},
        **to_outputs(way),
    }
    record = CloudPCRecord("demo", RecordedCloudPC.model_validate(outputs), "u-alice@contoso.example")
    project = SimpleNamespace(with_secrets=lambda *_: record, host=lambda _: None)
    monkeypatch.setattr(commands, "Project", lambda: project)


def test_a_desktop_that_the_image_has_not_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _recorded(monkeypatch, SSH)
    with pytest.raises(CommandError) as said:
        commands.connect("u-alice", desktop=True)
    for word in ("its image micro has none", "debian-12-desktop", "`cloudpc reprovision u-alice@contoso.example`"):
        assert word in str(said.value)
    with pytest.raises(CommandError, match="takes no command"):
        commands.connect("u-alice", ["date"], desktop=True)


def test_a_written_file_has_the_way_and_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _recorded(monkeypatch, DESKTOP)
    file = tmp_path / "alice.rdp"
    with pytest.raises(typer.Exit) as ended:
        commands.connect("u-alice", rdp_file=file)
    assert ended.value.exit_code == 0
    content = file.read_bytes()
    assert b"full address:s:127.0.0.1:13389\r\nusername:s:alice\r\n" in content
    assert b"authentication level:i:2\r\n" in content, "a client that does not warn has nothing compared"
    assert b"secret" not in content
    told = capsys.readouterr().out
    assert "ssh -N -o ExitOnForwardFailure=yes -L 127.0.0.1:13389:127.0.0.1:3389 -J root@kvm1 alice@10.0.0.5" in told
    assert "12:b1" in told
    with pytest.raises(CommandError, match="can't be written: File exists"):
        commands.connect("u-alice", rdp_file=file)


def test_without_a_client_people_are_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _recorded(monkeypatch, DESKTOP)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError, match=r"install FreeRDP \(`sudo apt-get install freerdp2-x11`"):
        commands.connect("u-alice", desktop=True)


def test_a_client_without_a_display_is_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _recorded(monkeypatch, DESKTOP)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "xfreerdp").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="no display here"):
        commands.connect("u-alice", desktop=True)


def test_connect_says_where_a_remote_desktop_is(monkeypatch: pytest.MonkeyPatch) -> None:
    _recorded(monkeypatch, RDP)
    with pytest.raises(CommandError) as said:
        commands.connect("u-alice")
    assert "10.0.0.5:3389, with a certificate of the thumbprint 12b1" in str(said.value)
    assert "cloudpc credentials u-alice@contoso.example" in str(said.value)
