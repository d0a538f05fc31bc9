"""What connect says where ssh did not come as far as the password."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Self
from uuid import UUID, uuid4

import pytest

from cloudpc import guests
from cloudpc.cli import unanswered
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.machines import PowerState
from cloudpc.model.watch import Watch

from .fake_rim import said

LINUX = guests.named("linux")

_HEAD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
OLD, NEW = _HEAD + "A" * 43, _HEAD + "B" * 43
KVM1 = LibvirtHostConfig(name="kvm1", uri="qemu+ssh://root@kvm1:2222/system?keyfile=/a%20key")


class FakeHost:
    name = "kvm1"

    def __init__(self, power: PowerState | None, key: bytes | Exception | None = b"") -> None:
        self._power = power
        self._key = key
        self.closed = False

    def describe(self, _: UUID) -> object:
        return self._power and SimpleNamespace(name="cloudpc-1", power=self._power, paused_because="its disk is full")

    def power_on(self, machine_id: UUID, watch: Watch) -> None:
        self._power = PowerState.RUNNING

    def guest(self, _: UUID) -> Self:
        return self

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        [_facts] = scripts
        if isinstance(self._key, Exception):
            raise self._key
        with TemporaryDirectory() as folder:
            return [Completed(0, said(Path(folder), key=self._key))]

    def close(self) -> None:
        self.closed = True


def _look(monkeypatch: pytest.MonkeyPatch, host: FakeHost, config: LibvirtHostConfig = KVM1) -> unanswered.Seen:
    monkeypatch.setattr(unanswered, "connect", lambda _: host)
    seen = unanswered.look(config, uuid4(), LINUX, OLD, "demo")
    assert host.closed
    return seen


LOST = ProvisioningError(ErrorCode.GUEST_AGENT_LOST, "No answer.")


@pytest.mark.parametrize(
    ("host", "says", "key"),
    [
        (FakeHost(None), "no longer has such a machine", ""),
        (FakeHost(PowerState.STOPPED), "is stopped; `cloudpc up demo` starts it", ""),
        (FakeHost(PowerState.PAUSED), "is paused: its disk is full; `cloudpc up demo` resumes it", ""),
        (FakeHost(PowerState.LEFT_OFF), "was off; it is being started", OLD),
        (FakeHost(PowerState.RUNNING, LOST), "guest does not answer there either", ""),
        (FakeHost(PowerState.RUNNING, f"{OLD} a\n".encode()), "-oIdentityFile=\"/a key\"' -l root -p 2222 kvm1`", ""),
        (FakeHost(PowerState.RUNNING, None), "sshDestination of kvm1", ""),
        (FakeHost(PowerState.RUNNING, b"\xff* ssh-ed25519 A"), "sshDestination of kvm1", ""),
        (FakeHost(PowerState.RUNNING, f"{NEW} root@a\n".encode()), "is not the one it was set up with, SHA256:", NEW),
    ],
)  # fmt: skip
def test_what_its_host_knows(host: FakeHost, says: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _look(monkeypatch, host)
    assert says in seen.why
    assert seen.host_key == key


def test_on_this_machine_there_is_no_way_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    here = LibvirtHostConfig(name="local", uri="qemu:///system")
    assert "ssh in the guest has ended" in _look(monkeypatch, FakeHost(PowerState.RUNNING, OLD.encode()), here).why


def test_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: LibvirtHostConfig) -> None:
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, "Could not connect.")

    monkeypatch.setattr(unanswered, "connect", away)
    assert (
        "can't say why: Could not connect. [hostUnreachable]" in unanswered.look(KVM1, uuid4(), LINUX, OLD, "demo").why
    )


def test_a_key_is_named_as_ssh_names_it(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "key")], capture_output=True, text=True, check=True
    )
    assert unanswered.fingerprint((tmp_path / "key.pub").read_text().rpartition(" ")[0]) == shown.stdout.split()[1]
    assert unanswered.fingerprint("ssh-ed25519 ?") == "(none)"
