"""A card that Azure held back for an attempt that failed goes, though its machine has come to be by another attempt."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cloudpc.machines.azure import parts
from cloudpc.model.cloud_pc import Status
from tests.azure.arm import FakeArm
from tests.azure.life import Life
from tests.azure.linux_answers import LinuxAnswers
from tests.core import make


@pytest.fixture
def life(arm: FakeArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    """A machine that a second run has made, and cards of the first one, which found no room."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token(2 * 3600))
    monkeypatch.setattr(parts, "YOUNG", timedelta())
    arm.table.otherwise = LinuxAnswers()
    arm.buckets.on = False
    life = Life(arm, tmp_path)
    arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", times=3, asynchronous=True)
    life.up()
    life.up()
    assert life.outcome.status is Status.PROVISIONED
    assert len(arm.left["networkInterfaces"]) > 1
    return life


def test_a_later_run_removes_it(life: Life, arm: FakeArm) -> None:
    arm.clock.advance(200)
    life.up()
    assert {name: len(there) for name, there in arm.left.items()} == {
        "virtualMachines": 1, "networkInterfaces": 1, "disks": 1,
    }  # fmt: skip


def test_the_machines_own_card_and_others_disks_stay(life: Life, arm: FakeArm) -> None:
    with life.runtime() as runtime:
        [host] = runtime.hosts
        left = host.remnants(make.INSTALLATION)
        assert left
        assert all(each.superseded for each in left)
        assert life.recorded
        own = life.recorded.facts["networkInterfaceId"].rpartition("/")[2]
        assert own not in [each.name for each in left]
