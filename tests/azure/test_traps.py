"""What others have stumbled over in Azure: each trap has been reported of other drivers, and has its rule here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.pipeline import Transport
from cloudpc.machines.azure.tags import made_now
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.machines import Claimed, Order, PowerState, Removed
from cloudpc.model.remnants import Kind
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.clock import Delays
from tests.azure.hosts import INSTALLATION, azure_order, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.log import Logged
from tests.azure.machine import machine_of
from tests.azure.quota import Shortage

PUT_VM = "VirtualMachines_CreateOrUpdate"
NOTHING: dict[str, list[str]] = {"virtualMachines": [], "networkInterfaces": [], "disks": []}
RESERVED = 181
"""Seconds after which Azure lets go of the card of a machine that failed."""


@pytest.fixture
def host(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureHost]:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    opened = AzureHost(host_config(arm, zones=["1", "2"]))
    yield opened
    opened.close()


def age(arm: FakeArm) -> None:
    """What there is was made an hour ago."""
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    for kind in ("Microsoft.Network/networkInterfaces", "Microsoft.Compute/disks"):
        for part in arm.resources.of(kind):
            part.body["tags"] = {**part.tags, **dict.fromkeys(made_now(), before)}


def swept(host: AzureHost) -> list[str]:
    """What the next run does."""
    return host.discard(host.remnants(INSTALLATION))


def test_a_card_that_is_held_for_a_failed_machine_keeps_nobody_waiting(arm: FakeArm, host: AzureHost) -> None:
    """NicReservedForAnotherVm: karpenter 92, rancher/machine 359, gardenlinux 4133."""
    arm.shortages.append(Shortage(asynchronous=True))
    order = azure_order()
    with pytest.raises(ProvisioningError):
        host.claim(order, Watch())
    held = arm.left["networkInterfaces"]
    assert held
    arm.shortages.clear()
    host.claim(again := azure_order(attempt="a2"), Watch())
    assert host.describe(again.id)
    assert swept(host) == [], "they are young, and Azure would refuse"
    arm.clock.advance(RESERVED)
    host.delete(again.id, Watch())
    assert arm.left == NOTHING, "what earlier attempts have left goes with the machine"


def test_a_card_of_an_earlier_try_goes_once_the_machine_is_complete(arm: FakeArm, host: AzureHost) -> None:
    arm.fail(PUT_VM, "AllocationFailed", asynchronous=True)
    order = azure_order()
    host.claim(order, Watch())
    assert len(arm.left["networkInterfaces"]) == 2
    arm.clock.advance(RESERVED)
    host.finish(order.id, Phase.READY)
    assert len(arm.left["networkInterfaces"]) == 1


def test_cards_do_not_pile_up_until_the_subnet_is_full(arm: FakeArm, host: AzureHost) -> None:
    """Opencomputer 150 had 245 of them: `deleteOption` does nothing where the machine never was."""
    arm.shortages.append(Shortage(asynchronous=True))
    for number in range(5):
        with pytest.raises(ProvisioningError) as refused:
            host.claim(azure_order(attempt=f"a{number}"), Watch())
        assert refused.value.code is ErrorCode.NO_CAPACITY
        arm.clock.advance(RESERVED)
        age(arm)
        swept(host)
        assert arm.left == NOTHING


def test_what_is_young_is_no_remnant_since_it_may_be_about_to_get_its_machine(arm: FakeArm, host: AzureHost) -> None:
    arm.fail(PUT_VM, "AuthorizationFailed")
    arm.fail("NetworkInterfaces_Delete", "NicReservedForAnotherVm")
    with pytest.raises(ProvisioningError):
        host.claim(azure_order(), Watch())
    assert len(arm.left["networkInterfaces"]) == 1
    assert host.remnants(INSTALLATION) == []
    age(arm)
    [remnant] = host.remnants(INSTALLATION)
    assert (remnant.kind, remnant.policy_id) == (Kind.NETWORK_CARD, "policy")
    assert remnant.is_of([azure_order().id])
    assert host.remnants("another") == []
    assert swept(host) == [remnant.name]
    assert arm.left == NOTHING


def test_others_things_of_such_names_are_no_remnants(arm: FakeArm, host: AzureHost) -> None:
    name = name_of(azure_order().id)
    arm.add(arm.account.id("disks", f"{name}-a1-os"), "Microsoft.Compute/disks", creationData={"createOption": "Empty"})
    arm.add(arm.account.id("networkInterfaces", "web-nic"), "Microsoft.Network/networkInterfaces")
    assert host.remnants(INSTALLATION) == []


def test_a_list_that_lags_does_not_make_a_remnant_of_what_is_used(arm: FakeArm, host: AzureHost) -> None:
    """bosh-azure-cpi 765: within an attempt all is asked by name."""
    order = azure_order()
    host.claim(order, Watch())
    age(arm)
    arm.delays = Delays(lists=3600)
    left = host.remnants(INSTALLATION)
    assert host.discard(left) == []
    machine = host.describe(order.id)
    assert machine is not None
    assert len(arm.left["networkInterfaces"]) == len(arm.left["disks"]) == 1


def test_what_was_accepted_and_is_not_shown_yet_is_waited_for(arm: FakeArm, host: AzureHost) -> None:
    arm.operations.polls = 1
    arm.fail("VirtualMachines_Get", "ResourceNotFound", times=1, skip=1)
    order = azure_order()
    host.claim(order, Watch())
    assert host.describe(order.id)
    assert arm.count(PUT_VM) == 1


def test_what_was_accepted_and_is_not_shown_yet_is_given_back(arm: FakeArm, host: AzureHost) -> None:
    arm.operations.polls = 1
    arm.fail("VirtualMachines_Get", "ResourceNotFound", times=1, skip=1)
    watch = Watch()

    def cancels(logged: Logged) -> None:
        if logged.operation == PUT_VM:
            watch.cancel.cancel()

    arm._on_request = cancels
    with pytest.raises(Cancelled):
        host.claim(azure_order(), watch)
    arm._on_request = None
    host.describe(azure_order().id)
    assert arm.left == NOTHING


def test_a_machine_of_the_same_name_waits_for_no_card_or_disk(arm: FakeArm, host: AzureHost) -> None:
    """azurerm 23038: a disk of that name exists already. A reprovision has new names for all but the machine."""
    first = azure_order(attempt="a1")
    host.claim(first, Watch())
    arm.fail("Disks_Delete", "OperationNotAllowed", times=None, message="Disk is attached to VM")
    arm.fail("NetworkInterfaces_Delete", "NicReservedForAnotherVm", times=None)
    disk = arm.resources.find(arm.account.id("virtualMachines", name_of(first.id)))
    assert disk is not None
    disk.properties["storageProfile"]["osDisk"]["deleteOption"] = "Detach"
    disk.properties["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = "Detach"
    assert host.delete(first.id, Watch()) is Removed.GONE
    second = azure_order(attempt="a2")
    host.claim(second, Watch())
    assert len(arm.left["disks"]) == len(arm.left["networkInterfaces"]) == 2
    arm.faults.clear()
    host.delete(second.id, Watch())
    assert arm.left == NOTHING


def test_a_machine_that_is_going_is_not_made_beside_it(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    arm.delays = Delays(deletion=300)
    assert host.delete(order.id, Watch().within(0.2)) is Removed.GOING
    with pytest.raises(Claimed) as claimed:
        host.claim(azure_order(attempt="a2"), Watch())
    assert claimed.value.machine.tag.phase is Phase.GOING
    arm.clock.advance(301)
    assert host.delete(order.id, Watch()) is Removed.GONE
    assert arm.left == NOTHING


def test_a_removal_that_fails_after_it_was_accepted_is_asked_for_again(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    arm.fail("VirtualMachines_Delete", "InternalOperationError", asynchronous=True)
    assert host.delete(order.id, Watch().within(0.3)) is Removed.GOING
    machine = host.describe(order.id)
    assert machine is not None
    assert machine.tag.phase is Phase.GOING, "nobody takes it for one that works"
    assert host.delete(order.id, Watch()) is Removed.GONE
    assert arm.left == NOTHING


def test_what_the_last_operation_came_to_says_nothing_of_the_machine(arm: FakeArm, host: AzureHost) -> None:
    """`provisioningState: Failed` is the last operation's: the machine runs, and is its user's."""
    order = azure_order()
    host.claim(order, Watch())
    host.finish(order.id, Phase.HANDED_OVER)
    resource = arm.resources.get(arm.account.id("virtualMachines", name_of(order.id)))
    resource.properties["provisioningState"] = "Failed"
    machine = host.describe(order.id)
    assert machine is not None
    assert (machine.power, machine.tag.phase) == (PowerState.RUNNING, Phase.HANDED_OVER)
    assert host.owned(INSTALLATION) == [*host.overview([order.id]).values()]
    [told] = [check for check in host.check() if check.what == "last operations"]
    assert told.status == "warning"
    assert name_of(order.id) in told.detail


def test_tags_that_others_add_stay_and_those_that_others_take_are_missed(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    resource = arm.resources.get(arm.account.id("virtualMachines", name_of(order.id)))
    resource.body["tags"] = {**resource.tags, "policy-added": "yes"}
    host.finish(order.id, Phase.HANDED_OVER)
    assert resource.tags["policy-added"] == "yes"
    resource.body["tags"] = {"policy-added": "yes"}
    with pytest.raises(TagUnreadable):
        host.describe(order.id)
    assert host.capacity().total.vcpus is not None, "one that nobody can read does not keep others from their place"


def test_what_people_ask_for_in_azure_is_a_fact_however_one_looks(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    machine = host.describe(order.id)
    assert machine is not None
    name = name_of(order.id)
    assert machine.facts["vmResourceId"] == arm.account.id("virtualMachines", name)
    assert machine.facts["networkInterfaceId"] == arm.account.id("networkInterfaces", f"{name}-a1-nic")
    assert machine.facts["osDiskId"] == arm.account.id("disks", f"{name}-a1-os")
    assert machine.facts["size"] == "Standard_B1ms"
    assert machine.facts["zone"] in ("1", "2")
    assert machine.facts["exactVersion"]
    [owned] = host.owned(INSTALLATION)
    assert owned.facts == machine.facts


def test_a_machine_that_was_resized_by_hand_has_the_size_that_it_has(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    resource = arm.resources.get(arm.account.id("virtualMachines", name_of(order.id)))
    resource.properties["hardwareProfile"]["vmSize"] = "Standard_D4s_v5"
    machine = host.describe(order.id)
    assert machine is not None
    assert (machine.size.vcpus, machine.size.memory_mib) == (4, 16384)


def test_a_machine_whose_place_was_given_away_says_so_when_it_is_started(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    machine_of(arm.resources.get(arm.account.id("virtualMachines", name_of(order.id)))).power = "deallocated"
    arm.fail("VirtualMachines_Start", "AllocationFailed", asynchronous=True)
    with pytest.raises(ProvisioningError) as refused:
        host.power_on(order.id, Watch())
    assert refused.value.code is ErrorCode.START_FAILED
    host.power_on(order.id, Watch())
    machine = host.describe(order.id)
    assert machine is not None
    assert machine.power is PowerState.RUNNING


def requests_of_a_claim(arm: FakeArm, host: AzureHost) -> int:
    """So many a claim makes."""
    before = len(arm.log)
    host.claim(order := azure_order(), Watch())
    made = len(arm.log) - before
    host.delete(order.id, Watch())
    return made


def test_ctrl_c_gives_back_what_was_begun_whenever_it_comes(arm: FakeArm, host: AzureHost) -> None:
    arm.buckets.on = False
    for number in range(1, requests_of_a_claim(arm, host) + 1):
        watch, seen = Watch(), list[Logged]()

        def cancels(logged: Logged, watch: Watch = watch, seen: list[Logged] = seen, number: int = number) -> None:
            seen.append(logged)
            if len(seen) == number:
                watch.cancel.cancel()

        arm._on_request = cancels
        try:
            host.claim(azure_order(attempt=f"a{number}"), watch)
        except Cancelled:
            pass
        else:  # it had come too far: who asked removes it
            host.delete(azure_order().id, Watch())
        arm._on_request = None
        host.describe(azure_order().id)
        assert arm.left == NOTHING, f"cancelled at request {number}: {seen[-1]}"


@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_is_killed_leaves_what_the_next_run_removes(
    arm: FakeArm, host: AzureHost, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each request of a life: one more run, and no machine, card or disk is left."""
    monkeypatch.setattr(Transport, "sleep", lambda *_: None)  # who is killed does not wait
    arm.buckets.on = False
    total = requests_of_a_claim(arm, host)
    for number in range(1, total + 12):
        arm.cut_power(number, "before" if when == "before" else "after")
        killed = AzureHost(host_config(arm, zones=["1", "2"]))
        lived(killed, azure_order(attempt=f"k{number}"))
        killed.close()
        arm.restore_power()
        age(arm)
        host.delete(azure_order().id, Watch())
        swept(host)
        assert arm.left == NOTHING, f"killed {when} request {number}"


def lived(host: AzureHost, order: Order) -> None:
    """Its whole life, as far as it comes: a killed one does nothing after that."""
    with suppress(ProvisioningError):
        host.claim(order, Watch())
        host.finish(order.id, Phase.HANDED_OVER)
        host.delete(order.id, Watch())
