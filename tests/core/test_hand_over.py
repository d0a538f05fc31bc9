"""What a user is told to sign in with: a line that works where the user is, and what that takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cloudpc.cli.hand_over import conditions, sign_in
from cloudpc.model import ssh_keys
from cloudpc.model.access import Access, Bastion, Rdp, Ssh
from cloudpc.model.ssh_hop import SshHop

KVM1 = SshHop("kvm1", "admin")
BASTION = Bastion(bastion_id="/subscriptions/s/bastionHosts/hub", target_id="/subscriptions/s/virtualMachines/cpc1")


@pytest.mark.parametrize(
    ("way", "hop", "line"),
    [
        (Ssh(host="10.0.7.12", port=22), None, "ssh alice@10.0.7.12"),
        (Ssh(host="127.0.0.1", port=40022), None, "ssh -p 40022 alice@127.0.0.1"),
        (Ssh(host="127.0.0.1", port=40022, via="admin@kvm1"), KVM1, "ssh -J admin@kvm1 -p 40022 alice@127.0.0.1"),
        (Ssh(host="10.1.0.5", port=22, bastion=BASTION), None, "ssh -p PORT alice@127.0.0.1"),
        (Rdp(host="10.0.7.12", port=3389), None, "remote desktop to 10.0.7.12:3389"),
        (Rdp(host="10.1.0.5", port=3389, bastion=BASTION), None, "remote desktop to 127.0.0.1:PORT"),
    ],
)
def test_the_line_works_where_the_user_is(way: Access, hop: SshHop | None, line: str) -> None:
    assert sign_in(way, "alice", hop) == line


def test_an_address_that_is_enough_needs_no_word() -> None:
    assert not list(conditions(Ssh(host="10.0.7.12", port=22), "alice", None))


def test_where_only_this_host_reaches_it_how_to_give_access_is_told() -> None:
    told = " ".join(conditions(Ssh(host="127.0.0.1", port=40022), "alice", None))
    assert "docs/connections.md" in told
    assert "ssh -J ACCOUNT@THIS-HOST -p 40022 alice@127.0.0.1" in told


def test_what_stands_between_is_told() -> None:
    [behind] = conditions(Ssh(host="127.0.0.1", port=40022, via="admin@kvm1"), "alice", KVM1)
    assert "admin@kvm1" in behind
    [tunnel] = conditions(Ssh(host="10.1.0.5", port=22, bastion=BASTION), "alice", None)
    assert f"--target-resource-id {BASTION.target_id} --resource-port 22 --port PORT" in tunnel


def test_the_fingerprint_is_the_one_that_ssh_shows(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    assert ssh_keys.fingerprint(key.with_suffix(".pub").read_text()) == shown.split()[1]
