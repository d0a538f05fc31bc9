"""What goes wrong in Azure while a machine is made: a code, a sentence that helps, and nothing that stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from cloudpc.cli import doctor_hosts
from cloudpc.machines.azure import parts
from cloudpc.machines.azure.host import AzureHost
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.hosts import ByHand
from cloudpc.model.machines import Removed
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.operations.inventory import Inventory
from tests.azure.arm import FakeArm
from tests.azure.back_ends import GuestStatus
from tests.azure.clock import Delays
from tests.azure.hosts import INSTALLATION, azure_order, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.quota import Shortage

PUT_VM, PUT_CARD = "VirtualMachines_CreateOrUpdate", "NetworkInterfaces_CreateOrUpdate"
NOTHING: dict[str, list[str]] = {"virtualMachines": [], "networkInterfaces": [], "disks": []}


@pytest.fixture
def host(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureHost]:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    opened = AzureHost(host_config(arm, zones=["1", "2"]))
    yield opened
    opened.close()


@dataclass
class Day:
    """A bad one.

    Args:
        happens: what.
        code: that people find in docs/errors.md.
        says: texts in the message and the hint.
        most: machines that are ordered before it is given up.
    """

    happens: Callable[[FakeArm], object]
    code: ErrorCode
    says: tuple[str, ...]
    most: int = 1


def only(*actions: str) -> Callable[[FakeArm], None]:
    def happens(arm: FakeArm) -> None:
        arm.permissions = [{"actions": ["*/read", *actions]}]

    return happens


def deleting(arm: FakeArm) -> None:
    arm.resources.get(arm.account.group_id).properties["provisioningState"] = "Deleting"


def signed_out(arm: FakeArm) -> None:
    arm.clock.advance(2)
    arm.expire_tokens()


def small_subnet(arm: FakeArm) -> None:
    arm.taken_addresses[arm.account.subnet_id.lower()] = {f"10.0.0.{number}" for number in range(256)}


def failure_of(call: Callable[[], object]) -> ProvisioningError | None:
    try:
        call()
    except ProvisioningError as error:
        return error
    return None


ROOM, REFUSES = ErrorCode.NO_CAPACITY, ErrorCode.HOST_REFUSES
DAYS = {
    "no hardware": Day(lambda arm: arm.shortages.append(Shortage()), ROOM, ("sufficient capacity", "zone"), 2),
    "no hardware, told later": Day(
        lambda arm: arm.shortages.append(Shortage(asynchronous=True)), ROOM, ("sufficient capacity",), 2
    ),
    "no hardware, in other words": Day(
        lambda arm: arm.shortages.append(Shortage(code="OverconstrainedZonalAllocationRequest")), ROOM, ("zone",), 2
    ),
    "not for this subscription": Day(
        lambda arm: arm.fail(PUT_VM, "SkuNotAvailable", times=None), ROOM, ("not available in this location",), 2
    ),
    "quota of all": Day(
        lambda arm: arm.quotas.update(cores=0), ROOM, ("0 of 0 vCPUs of the region", "ask Azure for a larger quota"), 0
    ),
    "quota of all, taken meanwhile": Day(
        lambda arm: arm.fail(PUT_VM, "QuotaExceeded", times=None), ROOM, ("Total Regional Cores quota",), 2
    ),
    "quota, in other words": Day(
        lambda arm: arm.fail(
            PUT_VM, "OperationNotAllowed", times=None, message="it results in exceeding approved standardBSFamily "
            "Cores quota. Submit a request for Quota increase",
        ), ROOM, ("standardBSFamily Cores quota",), 2,
    ),
    "no address": Day(small_subnet, ErrorCode.CONNECTION_NOT_HEALTHY, ("does not have enough capacity",), 0),
    "no rights": Day(only(), REFUSES, ("Microsoft.Network/networkInterfaces/write", "docs/azure.md"), 0),
    "no right on the subnet": Day(
        only("Microsoft.Network/networkInterfaces/*"), REFUSES, ("subnets/join/action", "docs/azure.md"), 0
    ),
    "no right on machines": Day(
        only("Microsoft.Network/*"), REFUSES, ("Microsoft.Compute/virtualMachines/write", "docs/azure.md")
    ),
    "not registered": Day(
        lambda arm: arm.registered.update({"Microsoft.Compute": "NotRegistered"}), REFUSES,
        ("az provider register --namespace Microsoft.Compute",), 0,
    ),
    "disabled": Day(lambda arm: setattr(arm, "disabled", True), REFUSES, ("is disabled",), 0),
    "group on its way out": Day(deleting, REFUSES, ("rg-cloudpc",), 0),
    "read-only": Day(
        lambda arm: arm.locks.update({arm.account.group_id: "ReadOnly"}), REFUSES, ("locked", "rg-cloudpc"), 0
    ),
    "sign-in is over": Day(signed_out, REFUSES, ("token", "sign in again"), 0
    ),
    "forbidden": Day(
        lambda arm: arm.policies.update({"Only Sweden": lambda kind, _: kind.endswith("virtualMachines")}),
        ErrorCode.DISALLOWED_BY_POLICY, ("Only Sweden",),
    ),
    "terms not accepted": Day(
        lambda arm: arm.fail(PUT_VM, "MarketplacePurchaseEligibilityFailed"), ErrorCode.IMAGE_INVALID,
        ("az vm image terms accept",),
    ),
    "no such image": Day(
        lambda arm: arm.marketplace.clear(), ErrorCode.IMAGE_NOT_FOUND,
        ("Debian:debian-12:12-gen2", "az vm image list"), 0,
    ),
    "a mistake": Day(
        lambda arm: arm.fail(PUT_VM, "InvalidParameter"), ErrorCode.INTERNAL_ERROR, ("A parameter is not valid",)
    ),
    "something new": Day(
        lambda arm: arm.fail(PUT_VM, "NeverHeardOf", 409, message="It is Tuesday."), ErrorCode.HYPERVISOR_ERROR,
        ("It is Tuesday", "NeverHeardOf"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAYS)
def test_a_bad_day_is_told_and_leaves_nothing(arm: FakeArm, host: AzureHost, name: str) -> None:
    day = DAYS[name]
    day.happens(arm)
    with pytest.raises(ProvisioningError) as refused:
        host.claim(azure_order(), Watch())
    said = f"{refused.value.message} {refused.value.hint}"
    assert refused.value.code is day.code
    assert not [text for text in day.says if text not in said], said
    assert "weu" in said
    assert arm.count(PUT_VM) <= day.most
    reserved = [nic for nic in arm.left["networkInterfaces"] if arm.resources.get(_card(arm, nic)).runtime]
    assert {**arm.left, "networkInterfaces": sorted(set(arm.left["networkInterfaces"]) - set(reserved))} == NOTHING


def _card(arm: FakeArm, name: str) -> str:
    return arm.account.id("networkInterfaces", name)


@pytest.mark.parametrize(
    "code", ["RetryableError", "InternalServerError", "ServerTimeout", "AnotherOperationInProgress"]
)
@pytest.mark.parametrize("operation", [PUT_VM, PUT_CARD])
def test_what_passes_is_waited_for(arm: FakeArm, host: AzureHost, operation: str, code: str) -> None:
    arm.fail(operation, code, retry_after=1)
    order = azure_order()
    host.claim(order, Watch())
    assert host.describe(order.id)
    assert arm.count(operation) == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", [PUT_VM, PUT_CARD, "VirtualMachines_Delete", "poll"])
def test_an_answer_that_is_lost_does_no_harm(arm: FakeArm, host: AzureHost, operation: str, when: str) -> None:
    arm.drop(operation, when="before" if when == "before" else "after")
    order = azure_order()
    host.claim(order, Watch())
    assert len(arm.left["virtualMachines"]) == len(arm.left["networkInterfaces"]) == len(arm.left["disks"]) == 1
    assert host.delete(order.id, Watch()) is Removed.GONE
    assert arm.left == NOTHING


def test_where_a_lock_keeps_what_failed_it_is_said_and_swept_later(arm: FakeArm, host: AzureHost) -> None:
    arm.locks[arm.account.group_id] = "CanNotDelete"
    arm.shortages.append(Shortage())
    with pytest.raises(ProvisioningError) as refused:
        host.claim(azure_order(), Watch())
    assert refused.value.code is ROOM
    assert len(arm.left["networkInterfaces"]) == 2  # a card for each size: nobody may delete them
    assert all(card in refused.value.message for card in arm.left["networkInterfaces"])
    assert "the resource group rg-cloudpc is locked against deletion (ScopeLocked)" in str(refused.value)


def test_what_a_lock_keeps_stays_what_it_is(arm: FakeArm, host: AzureHost) -> None:
    order = azure_order()
    host.claim(order, Watch())
    host.finish(order.id, Phase.HANDED_OVER)
    arm.locks[arm.account.group_id] = "CanNotDelete"
    refused = failure_of(lambda: host.delete(order.id, Watch()))
    assert refused is not None
    assert refused.code is REFUSES
    machine = host.describe(order.id)
    assert machine is not None
    assert machine.tag.phase is Phase.HANDED_OVER, "its user works on, and no look takes it for one that is going"
    arm.locks.clear()
    assert host.delete(order.id, Watch()) is Removed.GONE


def test_doctor_says_why_what_is_left_can_not_be_removed(
    arm: FakeArm, host: AzureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "YOUNG", timedelta())
    arm.locks[arm.account.group_id] = "CanNotDelete"
    arm.shortages.append(Shortage())
    failure_of(lambda: host.claim(azure_order(), Watch()))
    left = host.remnants(INSTALLATION)
    assert left
    assert host.discard(left) == []
    left = host.remnants(INSTALLATION)
    assert all("rg-cloudpc is locked against deletion" in each.stays_because for each in left)
    ours = doctor_hosts.Ours([INSTALLATION], Inventory(), set(), remove=True)
    told = list(doctor_hosts._left("left over", ByHand("", ""), left, ours))
    assert all("can't be removed: the resource group rg-cloudpc is locked" in check.detail for check in told)
    arm.locks.clear()
    assert len(host.discard(left)) == len(left) == len(told)
    assert arm.left == NOTHING


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ("OSProvisioningTimedOut", ErrorCode.BOOT_TIMEOUT),
        ("OSProvisioningClientError", ErrorCode.FIRST_BOOT_FAILED),
        ("OSProvisioningInternalError", ErrorCode.FIRST_BOOT_FAILED),
    ],
)
def test_a_guest_that_azure_gives_up(arm: FakeArm, host: AzureHost, failure: str, code: ErrorCode) -> None:
    order = azure_order()
    arm.fail(PUT_VM, failure, asynchronous=True)
    arm.table.states["*"] = GuestStatus(agent=False)

    def made() -> None:
        host.claim(order, Watch())
        host.make(order, Watch().within(5))

    failed = failure_of(made)
    assert failed is not None
    assert failed.code is code
    host.delete(order.id, Watch())
    assert arm.left == NOTHING


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (GuestStatus(agent=False), ErrorCode.GUEST_AGENT_LOST),
        (GuestStatus(provisioned=False, agent=False), ErrorCode.BOOT_TIMEOUT),
    ],
)
def test_a_guest_that_never_reports(arm: FakeArm, host: AzureHost, status: GuestStatus, code: ErrorCode) -> None:
    order = azure_order(first_boot_in_seconds=1)
    arm.table.states["*"] = status
    host.claim(order, Watch())
    with pytest.raises(ProvisioningError) as failed:
        host.make(order, Watch())
    assert failed.value.code is code
    host.delete(order.id, Watch())
    assert arm.left == NOTHING


def test_a_role_that_is_taken_away_in_the_middle(arm: FakeArm, host: AzureHost) -> None:
    order, number = azure_order(), 0
    while True:  # once for each request that a claim needs
        number += 1
        arm.revoked_at = arm.request_count + number
        refused = failure_of(lambda: host.claim(order, Watch()))
        assert refused is None or (refused.code is REFUSES and "docs/azure.md" in refused.hint)
        arm.revoked_at = None
        host.delete(order.id, Watch())
        assert arm.left == NOTHING, f"after request {number}"
        if refused is None:
            break
    assert number > 5


def test_lists_that_lag_hide_nothing_of_a_machines_own_life(arm: FakeArm, host: AzureHost) -> None:
    arm.delays = Delays(lists=3600)
    order = azure_order()
    host.claim(order, Watch())
    assert host.describe(order.id)
    assert host.delete(order.id, Watch()) is Removed.GONE
    assert arm.left == NOTHING


@pytest.mark.parametrize("style", ["both", "async", "location"])
def test_either_header_tells_how_it_goes_on(arm: FakeArm, host: AzureHost, style: str) -> None:
    arm.operations.style = style  # type: ignore[assignment]
    arm.operations.polls = 1
    order = azure_order()
    host.claim(order, Watch())
    assert host.delete(order.id, Watch()) is Removed.GONE
    assert arm.left == NOTHING
