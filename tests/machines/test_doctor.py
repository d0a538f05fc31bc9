"""What doctor knows of a host that is slow, or that it may not be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.machines.libvirt import doctor
from cloudpc.machines.libvirt.address import Address
from cloudpc.model import patience
from cloudpc.model.check import Check


def _at(*, local: bool) -> Any:
    return SimpleNamespace(address=SimpleNamespace(is_local=local))


def test_whose_the_device_is_is_said_where_it_can_be_seen(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    assert "is not there" in doctor._kvm(_at(local=True), device)
    device.touch()
    device.chmod(0o640)
    assert f"of group {device.group()}, mode 0640" in doctor._kvm(_at(local=True), device)
    assert doctor._kvm(_at(local=False), device) == ""


@pytest.mark.parametrize(("status", "told"), [("passed", "warning"), ("warning", "warning"), ("failed", "failed")])
def test_a_check_that_took_long_says_so(status: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Check("capacity", status, "as it is")
    assert doctor._guarded("capacity", lambda: check) == check
    monkeypatch.setattr(patience, "USUAL", 0.0)
    slow = doctor._guarded("capacity", lambda: check)
    assert slow.status == told
    assert "over its usual time" in slow.detail


@pytest.mark.parametrize(
    ("uri", "status"), [("qemu+ssh://kvm1/system", "passed"), ("qemu+tcp://kvm1/system", "warning")]
)
def test_a_connection_that_anybody_could_answer_is_no_clean_bill(uri: str, status: str) -> None:
    libvirtd = SimpleNamespace(getLibVersion=lambda: 9_000_000)
    connection: Any = SimpleNamespace(address=Address(uri), get=lambda: libvirtd)
    assert doctor._libvirt(connection).status == status
