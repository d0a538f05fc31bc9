"""The gallery images, really built and booted: what docs/images.md promises of each."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudpc.guests.linux import first_boot
from cloudpc.guests.linux.facts import HOST_KEY
from cloudpc.images import gallery
from cloudpc.machines.libvirt.seed import seed_iso
from cloudpc.model.cloud_pc import Account
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage
from tests.images.bare_guest import BareGuest

VM_IMAGES = Path(__file__).parents[2] / "vm-images"
AGENT_TIMEOUT, READY_TIMEOUT = 300, 400  # many times what a quiet machine needs

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]


@dataclass
class Client:
    """The user's side of ssh: a key, a password, and the host key that was read through the agent."""

    folder: Path
    password: str
    host_key: str = ""

    def __post_init__(self) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key")], check=True)
        ask = self.folder / "ask"
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$TEST_PASSWORD"\n')
        ask.chmod(0o700)

    @property
    def public_key(self) -> str:
        return (self.folder / "key.pub").read_text().strip()

    def ssh(self, guest: BareGuest, user: str, command: str, *, by: str) -> subprocess.CompletedProcess[str]:
        known = self.folder / "known_hosts"
        known.write_text(f"pinned {' '.join(self.host_key.split()[:2])}\n")
        options = {
            "HostKeyAlias": "pinned",
            "UserKnownHostsFile": str(known),
            "StrictHostKeyChecking": "yes",
            "PreferredAuthentications": by,
            "NumberOfPasswordPrompts": "1",
            "ConnectTimeout": "60",
        }
        argv = ["ssh", "-F", "none", "-i", str(self.folder / "key"), "-p", str(guest.port)]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        ask = {
            "SSH_ASKPASS": str(self.folder / "ask"),
            "SSH_ASKPASS_REQUIRE": "force",
            "TEST_PASSWORD": self.password,
        }
        return subprocess.run(
            [*argv, f"{user}@127.0.0.1", command], env=os.environ | ask, capture_output=True, text=True, check=False
        )


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path, secrets.token_urlsafe(12) + " :%$'\"")


def make_seed(folder: Path, client: Client, **more: object) -> Path:
    """The provisioner's own seed, with `more` cloud-config beside it."""
    made = first_boot.seed(
        instance_id="i-1",
        device_name="CPC-TEST",
        account=Account(name="alice", display_name="Alice Adams", ssh_public_keys=(client.public_key,)),
        local_admin=False,
    )
    if more:
        header, _, config = made.user_data.partition("\n")
        changed = json.loads(config)
        changed["users"] += more.pop("users", [])
        made = Seed(made.meta_data, f"{header}\n{json.dumps(changed | more)}\n")
    path = folder / "seed.iso"
    path.write_bytes(seed_iso(made))
    return path


@pytest.mark.parametrize("name", ["micro", "debian-12"])
def test_a_cloud_pc_from_first_boot_to_restart(name: str, tmp_path: Path, client: Client) -> None:
    image = gallery.build(VM_IMAGES, name, print)
    memory = max(256, image.minimum_memory_mib)
    seed = make_seed(tmp_path, client)

    with BareGuest(image, tmp_path, seed=seed, memory=memory) as guest:
        guest.wait_agent(AGENT_TIMEOUT)
        result = guest.wait_first_boot(READY_TIMEOUT)
        assert result["errors"] == []
        assert "NoCloud" in result["datasource"]
        client.host_key = (guest.read_file(HOST_KEY) or b"").decode()
        assert client.host_key.startswith("ssh-ed25519 ")
        encoded = base64.b64encode(client.password.encode()).decode()
        guest.call("guest-set-user-password", username="alice", password=encoded, crypted=False)

        by_key = client.ssh(guest, "alice", "hostname && umask 077 && echo mine > note", by="publickey")
        assert by_key.stdout == "cpc-test\n", by_key
        by_password = client.ssh(guest, "alice", "id -un", by="password")
        assert by_password.stdout == "alice\n", by_password
        guest.run("/bin/sh", "-c", "echo root:guessed | chpasswd")
        client.password, kept = "guessed", client.password
        assert client.ssh(guest, "root", "id -un", by="password").returncode == 255
        assert client.ssh(guest, "alice", "id -un", by="password").returncode == 255
        client.password = kept

        assert int(guest.shell("df -Pk / | awk 'NR == 2 { print $2 }'")) > 7 << 20, "the root did not grow to 8 GiB"
        guest.call_without_answer("guest-shutdown", mode="powerdown")
        assert guest.wait_off(180) == 0

    with BareGuest(image, tmp_path, seed=None, memory=memory) as guest:  # the seed is taken away after the first boot
        guest.wait_agent(AGENT_TIMEOUT)
        assert guest.wait_first_boot(READY_TIMEOUT)["errors"] == []
        assert (guest.read_file(HOST_KEY) or b"").decode() == client.host_key
        again = client.ssh(guest, "alice", "hostname && cat note", by="password")
        assert again.stdout == "cpc-test\nmine\n", again


def test_debian_is_an_ordinary_debian(tmp_path: Path, client: Client) -> None:
    image = gallery.build(VM_IMAGES, "debian-12", print)
    seed = make_seed(tmp_path, client)
    with BareGuest(image, tmp_path, seed=seed, vcpus=2, memory=1024) as guest:
        guest.wait_agent(AGENT_TIMEOUT)
        result = guest.wait_first_boot(READY_TIMEOUT)
        assert not result.get("recoverable_errors")
        assert guest.shell("systemctl is-system-running --wait || true") in ("running", "starting")
        assert guest.shell("systemctl --failed --plain --no-legend") == ""
        assert guest.shell("ls /usr/share/zoneinfo/Europe/Berlin") != ""
        configured = set(guest.shell("apt-get indextargets --no-release-info --format '$(SITE)'").split())
        assert configured == {"http://deb.debian.org/debian", "http://deb.debian.org/debian-security"}
        assert guest.shell("cat /etc/machine-id") != ""
        assert "LANG=en_US.UTF-8" in guest.shell("cat /etc/default/locale")
        status, said = guest.run("/usr/bin/localedef", "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8", timeout=600)
        assert status == 0, said
        assert "de_DE.utf8" in guest.shell("locale -a")
        assert guest.shell("dpkg --audit; apt-get check >/dev/null && echo sound") == "sound"


def test_micro_says_what_it_does_not_support(tmp_path: Path, client: Client) -> None:
    image = gallery.build(VM_IMAGES, "micro", print)
    asked = [{"name": "bob", "sudo": "ALL=(ALL) ALL"}, {"name": "Not A Name"}]
    seed = make_seed(tmp_path, client, users=asked, packages=["nano"], hostname="cpc-named")
    with BareGuest(image, tmp_path, seed=seed, memory=image.minimum_memory_mib) as guest:
        guest.wait_agent(AGENT_TIMEOUT)
        result = guest.wait_first_boot(READY_TIMEOUT)
        assert len(result["errors"]) == 1
        assert "Not A Name" in result["errors"][0]
        warnings = "\n".join(result["recoverable_errors"]["WARNING"])
        for word in ("packages", "sudo of bob", "/bin/bash for alice"):
            assert word in warnings
        assert guest.shell("hostname; cat /etc/hostname") == "cpc-named\ncpc-named"


def test_micro_without_a_seed_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    image = gallery.build(VM_IMAGES, "micro", print)
    with BareGuest(image, tmp_path, seed=None, memory=image.minimum_memory_mib) as guest:
        guest.wait_agent(AGENT_TIMEOUT)
        assert "no seed" in guest.wait_first_boot(READY_TIMEOUT)["errors"][0]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(cache: str) -> DiskImage:
        monkeypatch.setenv("CLOUDPC_CACHE", str(tmp_path / cache))
        return gallery.build(VM_IMAGES, "micro", print)

    first, second = build("cache"), build("cache with spaces")
    assert first.digest == second.digest
    assert first.disk.path != second.disk.path
    for one, other in ((first.disk, second.disk), (first.kernel, second.kernel), (first.initrd, second.initrd)):
        assert one is not None
        assert other is not None
        assert one.path.read_bytes() == other.path.read_bytes()
        assert one.path.stat().st_mode & 0o777 == 0o444
