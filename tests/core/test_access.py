"""How a user gets in: a value that state keeps under the names it always had, and that connect asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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


@pytest.mark.parametrize("way", [SSH, RDP])
def test_a_proof_goes_into_the_field_of_its_protocol(way: Access) -> None:
    assert list(to_outputs(way.proven("another")).values())[-1] == "another"


def test_connect_says_where_a_remote_desktop_is(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: dict[str, Any] = {
        **desired().model_dump(by_alias=True, mode="json"),
        "status": "provisioned",
        "credentials": {"user": "alice", "password": "p"},
        **to_outputs(RDP),
    }
    record = CloudPCRecord("demo", RecordedCloudPC.model_validate(outputs), "u-alice@contoso.example")
    monkeypatch.setattr(commands, "Project", lambda: SimpleNamespace(with_secrets=lambda *_: record))
    with pytest.raises(CommandError) as said:
        commands.connect("u-alice")
    assert "10.0.0.5:3389, with a certificate of the thumbprint 12b1" in str(said.value)
    assert "cloudpc credentials u-alice@contoso.example" in str(said.value)
