"""What Azure refuses is reported in our words: short, without ids of clients, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cloudpc.machines.azure import arm_error, errors
from cloudpc.machines.azure.host import AzureHost
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.errors import ArmFault
from tests.azure.hosts import azure_order, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.quota import Shortage

OpenHost = Callable[..., AzureHost]


@pytest.fixture
def open_host(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenHost]:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    opened = list[AzureHost]()

    def host(**changes: Any) -> AzureHost:
        opened.append(AzureHost(host_config(arm, **changes)))
        return opened[-1]

    yield host
    for each in opened:
        each.close()


def refused(host: AzureHost) -> ProvisioningError:
    with pytest.raises(ProvisioningError) as failed:
        host.claim(azure_order(), Watch())
    return failed.value


def only_reading(arm: FakeArm) -> None:
    arm.permissions = [{"actions": ["*/read"]}]


def no_join(arm: FakeArm) -> None:
    arm.permissions = [{"actions": ["*"], "notActions": ["Microsoft.Network/virtualNetworks/subnets/join/action"]}]


def locked(arm: FakeArm) -> None:
    arm.locks[arm.account.group_id] = "ReadOnly"


def forbidden(arm: FakeArm) -> None:
    arm.policies["Only Sweden"] = lambda kind, _: kind.endswith("virtualMachines")


def unregistered(arm: FakeArm) -> None:
    arm.registered["Microsoft.Compute"] = "NotRegistered"


def going(arm: FakeArm) -> None:
    arm.resources.get(arm.account.group_id).properties["provisioningState"] = "Deleting"


def disabled(arm: FakeArm) -> None:
    arm.disabled = True


def expired(arm: FakeArm) -> None:
    arm.clock.advance(2)
    arm.expire_tokens()


DAYS: dict[str, tuple[Callable[[FakeArm], None], str]] = {
    "AuthorizationFailed": (only_reading, "lacks the right Microsoft.Network/networkInterfaces/write on cpc"),
    "LinkedAuthorizationFailed": (
        no_join, "lacks the right Microsoft.Network/virtualNetworks/subnets/join/action on cloudpcs"
    ),
    "ScopeLocked": (locked, "the resource group rg-cloudpc is locked against changes"),
    "RequestDisallowedByPolicy": (forbidden, "Azure Policy “Only Sweden” forbids it"),
    "MissingSubscriptionRegistration": (unregistered, "the subscription is not registered for Microsoft.Compute"),
    "ResourceGroupBeingDeleted": (going, "the resource group rg-cloudpc is being removed"),
    "ReadOnlyDisabledSubscription": (disabled, "the subscription is disabled"),
    "ExpiredAuthenticationToken": (expired, "the token of the sign-in has expired"),
}  # fmt: skip


@pytest.mark.parametrize("code", DAYS)
def test_what_a_person_has_to_see_to(arm: FakeArm, open_host: OpenHost, code: str) -> None:
    happens, said = DAYS[code]
    happens(arm)
    error = refused(open_host())
    assert said in error.message
    assert f"({code}" in error.message
    assert "scope" not in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        ({"resourceGroup": "rg-cloudpx"}, "there is no resource group rg-cloudpx", "make the resource group"),
        (
            {"subscriptionId": "99999999-2222-4333-8444-555555555555", "hostedNetwork": None},
            "there is no subscription 99999999-2222-4333-8444-555555555555, or whoever signs in does not see it",
            "correct subscriptionId of weu",
        ),
    ],
)
def test_an_entry_that_is_wrong(open_host: OpenHost, changes: dict[str, Any], said: str, hint: str) -> None:
    error = refused(open_host(**changes))
    assert error.code is ErrorCode.HOST_REFUSES
    assert said in error.message
    assert hint in error.hint


def test_a_region_that_is_not_there_needs_no_registration(arm: FakeArm, open_host: OpenHost) -> None:
    arm.add_network(arm.account.network_id, {arm.account.subnet: "10.0.0.0/24"}, location="westeurop")
    with pytest.raises(ProvisioningError) as failed:
        open_host(location="westeurop").capacity()
    assert failed.value.code is ErrorCode.HOST_REFUSES
    assert "Azure has no machines in a region westeurop" in failed.value.message
    assert failed.value.hint.startswith("correct location of weu")


def test_a_subnet_of_another_region(arm: FakeArm, open_host: OpenHost) -> None:
    network = f"{arm.account.group_id}/providers/Microsoft.Network/virtualNetworks/far"
    arm.add_network(network, {"s": "10.1.0.0/24"}, location="northeurope")
    error = refused(open_host(hostedNetwork=f"{network}/subnets/s"))
    assert error.code is ErrorCode.NETWORK_NOT_FOUND
    assert error.message.startswith(f"weu finds no subnet {network}/subnets/s in westeurope")
    assert "correct hostedNetwork of weu" in error.hint


def test_sizes_without_room_are_named_with_why(arm: FakeArm, open_host: OpenHost) -> None:
    arm.shortages.append(Shortage())
    error = refused(open_host(zones=["1", "2"]))
    assert error.message == (
        "weu has no place for 1 vCPU and 2 GB: Standard_B1ms in zone 1, Standard_B1ms in zone 2: Azure does not have "
        "sufficient capacity in this zone now (ZonalAllocationFailed)"
    ) or error.message == (
        "weu has no place for 1 vCPU and 2 GB: Standard_B1ms in zone 2, Standard_B1ms in zone 1: Azure does not have "
        "sufficient capacity in this zone now (ZonalAllocationFailed)"
    )


def test_a_quota_says_how_many_are_needed_and_free() -> None:
    text = (
        "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. Additional "
        "details - Deployment Model: Resource Manager, Location: westeurope, Current Limit: 3, Current Usage: 2, "
        "Additional Required: 2, (Minimum) New Limit Required: 4."
    )
    fault = ArmFault("OperationNotAllowed", text)
    failed = errors.classify(arm_error.read({"error": fault.error}, 409), "make cpc1", "weu")
    assert failed.why == "it would exceed the Total Regional Cores quota: 2 needed, 1 of 3 free (OperationNotAllowed)"
