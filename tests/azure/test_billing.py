"""A machine that its user shut down keeps its place in Azure and is billed: it is reported, and ended where wanted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.output import Terminal
from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.tags import to_tags
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.check import Check
from cloudpc.model.machines import PowerState
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch
from cloudpc.operations.records import CloudPCRecord
from cloudpc.operations.steps import Steps
from tests.azure.arm import FakeArm
from tests.azure.back_ends import GuestStatus
from tests.azure.client import Http, vm_body
from tests.azure.hosts import host_config
from tests.azure.life import Life
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.machine import KIND, machine_of
from tests.core import make

TAG = Tag("installation", "policy", "u-1", "plan", 1, "CPC-1", "settings", Phase.HANDED_OVER)
NAME = name_of(TAG.machine_id)
Opened = Callable[..., AzureHost]


@pytest.fixture
def opened(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """A host of an entry with these fields."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    hosts: list[AzureHost] = []

    def opened_with(**fields: Any) -> AzureHost:
        hosts.append(AzureHost(host_config(arm, **fields)))
        return hosts[-1]

    yield opened_with
    for host in hosts:
        host.close()


def _machine(arm: FakeArm, http: Http, tag: Tag = TAG, *, running: bool = False) -> None:
    name = name_of(tag.machine_id)
    http.nic(name)
    http.follow(http.put(f"virtualMachines/{name}", vm_body(arm, name) | {"tags": to_tags(tag)}))
    arm.table.states[name] = GuestStatus(running=running)


def _told(host: AzureHost) -> list[Check]:
    return [check for check in host.check() if check.what == "stopped machines"]


def test_doctor_names_machines_that_are_billed_though_they_are_off(arm: FakeArm, http: Http, opened: Opened) -> None:
    _machine(arm, http)
    [check] = _told(opened())
    assert (check.status, check.detail) == ("warning", f"{NAME} (CPC-1): shut down inside, and billed as if running")
    assert "az vm deallocate" in check.hint
    [check] = _told(opened(deallocateStopped=True))
    assert check.hint == "the next run of its policy deallocates it"


def test_doctor_has_nothing_against_those_that_run_or_have_no_place(arm: FakeArm, http: Http, opened: Opened) -> None:
    _machine(arm, http, running=True)
    _machine(arm, http, replace(TAG, user_id="u-2"))
    http.follow(http("POST", f"virtualMachines/{name_of(replace(TAG, user_id='u-2').machine_id)}/deallocate"))
    [check] = _told(opened())
    assert (check.status, check.detail) == ("passed", "none is billed")


def test_nothing_is_deallocated_unless_the_entry_says_so(arm: FakeArm, http: Http, opened: Opened) -> None:
    _machine(arm, http)
    host = opened()
    assert host.give_up_places("installation", "policy") == []
    assert not arm.count("VirtualMachines_Deallocate")
    machine = host.describe(TAG.machine_id)
    assert machine is not None
    assert machine.power is PowerState.STOPPED, "the next run starts it"


@pytest.mark.parametrize(
    "other",
    [
        replace(TAG, user_id="u-2", policy_id="another"), replace(TAG, user_id="u-2", installation="another"),
        replace(TAG, user_id="u-2", phase=Phase.PROVISIONING),
    ],
)  # fmt: skip
def test_those_of_the_policys_users_are_deallocated_and_left_off(
    other: Tag, arm: FakeArm, http: Http, opened: Opened
) -> None:
    _machine(arm, http)
    _machine(arm, http, other)
    host = opened(deallocateStopped=True)
    assert host.give_up_places("installation", "policy") == ["CPC-1"]
    assert [logged.path.split("/")[-2] for logged in arm.requests("VirtualMachines_Deallocate")] == [NAME]
    machine = host.describe(TAG.machine_id)
    assert machine is not None
    assert machine.power is PowerState.LEFT_OFF
    assert host.give_up_places("installation", "policy") == [], "it is billed no longer"
    arm.table.states[NAME] = GuestStatus()
    host.power_on(TAG.machine_id, Watch(), until_ready=False)
    machine = host.describe(TAG.machine_id)
    assert machine is not None
    assert machine.power is PowerState.RUNNING


def test_a_refresh_records_that_it_is_billed_and_the_list_says_so(
    arm: FakeArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    life = Life(arm, tmp_path)
    life.up()

    def listed() -> str:
        with life.runtime() as runtime:
            assert life.recorded is not None
            steps = Steps(runtime, life.lines, Cancellation(), lambda: make.NOW)
            life.recorded = steps.refresh(life.recorded)
        console = Terminal(file=io.StringIO(), width=400)
        print_rows([CloudPCRecord("lab", life.recorded, "alice@contoso.example").as_json()], console)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "billed" not in listed()
    [machine] = arm.resources.of(KIND)
    machine_of(machine).power = "stopped"
    assert "off; the next run starts it; billed as if it ran" in listed()
    machine_of(machine).power = "deallocated"
    assert "off; the next run starts it" in listed()
    assert "billed" not in listed()
