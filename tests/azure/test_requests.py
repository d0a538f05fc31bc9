"""What a Cloud PC in Azure takes, exactly: its requests, and its time beside Azure's own; only waits move the clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpc.machines.azure import arm as driver_arm
from cloudpc.machines.azure import pace, quota
from cloudpc.model.cloud_pc import Status
from cloudpc.model.watch import Watch
from cloudpc.operations.runtime import Runtime
from tests.azure.arm import FakeArm
from tests.azure.clock import Delays
from tests.azure.life import Life
from tests.azure.linux_answers import LinuxAnswers

EACH = {
    "VirtualMachines_Get": 7,  # before it is planned, and claimed; its place; its card; its tag; what state records (2)
    "NetworkInterfaces_CreateOrUpdate": 1,
    "poll": 1,  # the card's
    "VirtualMachines_CreateOrUpdate": 1,
    "VirtualMachines_InstanceView": 2,  # its agent
    "VirtualMachineRunCommands_CreateOrUpdate": 3,  # first boot, set-up, password
    "VirtualMachineRunCommands_GetByVirtualMachine": 3,
    "VirtualMachineRunCommands_Delete": 3,
    "NetworkInterfaces_Get": 1,  # its address
    "Tags_UpdateAtScope_vmName": 1,
}
A_RUN = {
    "VirtualMachineImages_List": 1,
    "VirtualMachineImages_Get": 1,
    "Usage_List": 1,
    "ResourceSkus_List": 1,
    "NetworkInterfaces_List": 1,  # what runs before have left
    "Disks_ListByResourceGroup": 1,
}


@pytest.fixture
def at_azures_pace(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> FakeArm:
    """With the real one's delays, in which the driver's waits are as long as there."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token(24 * 3600))
    monkeypatch.setattr(pace, "_LOOPBACK", 1.0)
    monkeypatch.setattr(driver_arm, "_LOOPBACK_INTERVAL", driver_arm._INTERVAL)
    monkeypatch.setattr(quota, "_FRESH", math.inf)  # a slow machine makes the second when that is over
    monkeypatch.setattr(Watch, "wait", lambda watch, seconds: arm.clock.advance(min(seconds, watch.remaining)))
    arm.clock.speed = 0
    arm.delays = Delays.azure()
    arm.operations.retry_after = 10
    arm.table.otherwise = LinuxAnswers()
    return arm


@pytest.fixture
def runtime(at_azures_pace: FakeArm, tmp_path: Path) -> Iterator[Runtime]:
    with Life(at_azures_pace, tmp_path).runtime() as runtime:
        yield runtime


def test_one_takes_no_more_than_these(at_azures_pace: FakeArm, runtime: Runtime, tmp_path: Path) -> None:
    assert _made(at_azures_pace, runtime, Life(at_azures_pace, tmp_path, "alice")) == EACH | A_RUN
    assert _made(at_azures_pace, runtime, Life(at_azures_pace, tmp_path, "bob")) == EACH


def test_it_is_ready_when_azure_is_done_but_for_a_few_seconds(
    at_azures_pace: FakeArm, runtime: Runtime, tmp_path: Path
) -> None:
    delays = Delays.azure()
    begun = at_azures_pace.clock.now()
    _made(at_azures_pace, runtime, Life(at_azures_pace, tmp_path))
    takes = delays.network_interface + delays.allocation + delays.provisioning + 3 * delays.run_command
    assert at_azures_pace.clock.now() - begun <= 1.05 * takes


def _made(arm: FakeArm, runtime: Runtime, life: Life) -> Counter[str]:
    before = len(arm.log)
    outcome = life.provision(runtime)
    assert outcome.status is Status.PROVISIONED, outcome.error
    return Counter(each.operation for each in arm.log[before:])
