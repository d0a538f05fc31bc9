"""Claiming in Azure: made once, guarded three times, and nothing left where there was no room."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.images import FoundImage, Images
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.sizes import Candidate, Sizes
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Claimed
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.hosts import azure_order, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.support.failures import fails_with


@pytest.fixture
def host(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureHost]:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.operations.retry_after = 0
    reference = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}
    monkeypatch.setattr(Images, "find", lambda *_: FoundImage(name="debian-12", reference=reference))
    sizes = [
        Candidate("Standard_B1ms", "standardBSFamily", 1, 2048, "1"),
        Candidate("Standard_D2s_v5", "standardDSv5Family", 2, 8192, "2"),
    ]
    monkeypatch.setattr(Sizes, "candidates", lambda *_: sizes)
    monkeypatch.setattr(Sizes, "refused", lambda *_: None)
    opened = AzureHost(host_config(arm))
    yield opened
    opened.close()


def test_what_is_asked_for_is_the_order(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    [asked] = arm.requests("VirtualMachines_CreateOrUpdate")
    [card] = arm.requests("NetworkInterfaces_CreateOrUpdate")
    properties = asked.body["properties"]
    name = name_of(order.id)
    assert asked.body["zones"] == ["1"]
    assert properties["storageProfile"]["osDisk"]["name"] == f"{name}-a1-os"
    assert properties["storageProfile"]["osDisk"]["diskSizeGB"] == order.size.disk_gib
    assert properties["osProfile"]["computerName"] == order.tag.device_name
    assert b"# attempt a1\n" in base64.b64decode(properties["osProfile"]["customData"])
    assert base64.b64decode(properties["userData"]).decode() == order.tag.made_with
    assert "networkSecurityGroup" not in card.body["properties"]
    assert order.tag.made_with not in str(asked.body["tags"])
    assert card.body["tags"]["cloudpc-machine"] == asked.body["tags"]["cloudpc-machine"] == str(order.id)


def test_what_is_known_of_a_new_card_is_not_asked_for(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    [machine] = arm.requests("VirtualMachines_CreateOrUpdate")
    [card] = machine.body["properties"]["networkProfile"]["networkInterfaces"]
    assert arm.count("NetworkInterfaces_Get") == 0
    assert card["id"].lower() == arm.account.id("networkInterfaces", f"{name_of(order.id)}-a1-nic").lower()


def test_a_card_that_azure_accepts_and_then_does_not_make_gets_no_machine(arm: FakeArm, host: AzureHost) -> None:
    arm.operations.polls = 1
    arm.fail("NetworkInterfaces_CreateOrUpdate", "InternalServerError", asynchronous=True)
    with fails_with(ErrorCode.HOST_UNREACHABLE, "network card", "weu"):
        host.claim(azure_order(), Watch())
    assert arm.count("VirtualMachines_CreateOrUpdate") == 0


def test_where_a_size_has_no_room_the_next_one_is_taken_under_new_names(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", asynchronous=True)
    host.claim(order, Watch())
    machine = host.describe(order.id)
    assert machine is not None
    assert machine.size == order.size, "it has more, but that is what was promised"
    assert arm.left["disks"] == [f"{machine.name}-a1-2-os"]
    arm.clock.advance(181)  # until then Azure keeps the other card for the machine that failed
    host.delete(order.id, Watch())
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}


def test_no_room_anywhere_says_what_was_tried_and_leaves_no_machine(arm: FakeArm, host: AzureHost) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", "ZonalAllocationFailed", times=None)
    with pytest.raises(ProvisioningError) as refused:
        host.claim(azure_order(), Watch())
    assert refused.value.code is ErrorCode.NO_CAPACITY
    assert refused.value.hint
    assert arm.count("VirtualMachines_CreateOrUpdate") == 2
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}


@pytest.mark.parametrize("ignored", [False, True])
def test_of_two_attempts_one_gets_it_even_if_azure_does_not_mind(arm: FakeArm, host: AzureHost, ignored: bool) -> None:
    """Without `If-None-Match` it is what the first boot reads that can't be changed."""
    arm.ignores_if_none_match = ignored
    first, second = azure_order(attempt="a1"), azure_order(attempt="a2")
    seen = host._claiming.refuse_existing
    calls: list[None] = []

    def somebody_is_faster(order: object) -> None:
        if not calls:
            calls.append(None)
            return
        seen(order)  # type: ignore[arg-type]

    host.claim(first, Watch())
    host._claiming.refuse_existing = somebody_is_faster  # type: ignore[method-assign]
    with pytest.raises(Claimed) as claimed:
        host.claim(second, Watch())
    assert claimed.value.machine.tag.attempt == "a1"
    assert len(arm.left["virtualMachines"]) == len(arm.left["networkInterfaces"]) == len(arm.left["disks"]) == 1


@pytest.mark.parametrize("operation", ["VirtualMachines_CreateOrUpdate", "NetworkInterfaces_CreateOrUpdate"])
def test_an_answer_that_is_lost_is_no_second_machine(arm: FakeArm, host: AzureHost, operation: str) -> None:
    arm.drop(operation, when="after")
    order = azure_order()
    host.claim(order, Watch())
    machine = host.describe(order.id)
    assert machine is not None
    assert machine.tag == order.tag
    assert {len(names) for names in arm.left.values()} == {1}


# ---- maxCloudPCs, over processes


def another_process(arm: FakeArm) -> AzureHost:
    return AzureHost(host_config(arm, maxCloudPCs=1))


def in_the_middle(host: AzureHost, of: str, then: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, just before the host goes on with it."""
    call, done = getattr(host._claiming, of), list[None]()

    def first(*arguments: Any) -> Any:
        if not done:
            done.append(None)
            then()
        return call(*arguments)

    monkeypatch.setattr(host._claiming, of, first)


@pytest.mark.usefixtures("host")
def test_the_later_one_gives_way_where_two_processes_let_one_in_each(
    arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = another_process(arm), another_process(arm)
    early, late = azure_order("u-1"), azure_order("u-2")
    arm.clock.speed = 1000  # so that one comes before the other

    def overtaken() -> None:
        with fails_with(ErrorCode.NO_CAPACITY, "weu", "1 Cloud PCs", "allows 1") as refused:
            two.claim(late, Watch())
        assert refused.value.code is ErrorCode.NO_CAPACITY

    # both have looked, and found room; then one is made, and the other, and each looks again
    two._sizes.refuse_beyond_maximum = lambda *_: None  # type: ignore[method-assign]
    in_the_middle(one, "_wait_until_allocated", overtaken, monkeypatch)
    one.claim(early, Watch())
    assert arm.left["virtualMachines"] == [name_of(early.id)]
    assert len(arm.left["networkInterfaces"]) == len(arm.left["disks"]) == 1
    for host in (one, two):
        host.close()


@pytest.mark.usefixtures("host")
def test_what_a_list_has_hidden_is_seen_when_it_is_ready(arm: FakeArm) -> None:
    one, two = another_process(arm), another_process(arm)
    early, late = azure_order("u-1"), azure_order("u-2")
    arm.table.otherwise = LinuxAnswers()
    arm.delays.lists = 3600
    one.claim(early, Watch())
    arm.clock.advance(1)
    two.claim(late, Watch())  # the list does not show the other yet
    arm.delays.lists = 0
    one.make(early, Watch())
    with fails_with(ErrorCode.NO_CAPACITY, "weu", "1 Cloud PCs", "allows 1"):
        two.make(late, Watch())
    for host in (one, two):
        host.close()


@pytest.mark.usefixtures("host")
def test_a_place_that_came_to_nothing_is_anothers_at_once(arm: FakeArm) -> None:
    one = another_process(arm)
    arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", times=2)
    with fails_with(ErrorCode.NO_CAPACITY, "weu", "Standard_B1ms in zone 1", "Standard_D2s_v5 in zone 2"):
        one.claim(azure_order("u-1"), Watch())
    one.claim(azure_order("u-2"), Watch())
    assert len(arm.left["virtualMachines"]) == 1
    one.close()
