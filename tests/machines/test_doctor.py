"""What doctor knows of a host that is slow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.machines.libvirt import doctor
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
