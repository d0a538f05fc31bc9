"""Subnets of connections and hosts, their health in Windows 365's words, and the way to a machine in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from cloudpc.machines.azure import permissions
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.networks import Networks
from cloudpc.machines.azure.subnet_health import usable
from cloudpc.model.access import Bastion, Rdp, Ssh
from cloudpc.model.check import Check, overall
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Network
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.client import Http
from tests.support.failures import fails_with

HOSTED = Network()
Networked = Callable[..., Networks]


@pytest.fixture
def networks(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Networked]:
    """Of a host with these fields besides."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    opened: list[Arm] = []

    def make(**fields: Any) -> Networks:
        config = _config(arm, **fields)
        opened.append(Arm(config))
        return Networks(opened[-1], config)

    yield make
    for each in opened:
        each.close()


def _config(arm: FakeArm, **fields: Any) -> AzureHostConfig:
    account = arm.account
    entry = {
        "name": "weu", "kind": "azure", "subscriptionId": account.subscription, "resourceGroup": account.group,
        "location": account.location, "endpoint": arm.url, "auth": "token", "hostedNetwork": account.subnet_id,
    }  # fmt: skip
    return AzureHostConfig.model_validate({name: value for name, value in (entry | fields).items() if value})


def subnet(arm: FakeArm, name: str = "cloudpcs", network: str = "hub") -> Network:
    return Network("subnet", arm.account.network_id.replace("/hub", f"/{network}") + f"/subnets/{name}")


def not_passed(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.status, check.error_type) for check in checks if check.status != "passed"]


# ---- which one


def test_a_connection_names_a_subnet_and_automatic_means_the_hosts_own(arm: FakeArm, networks: Networked) -> None:
    assert networks().subnet_id(subnet(arm, "other")) == subnet(arm, "other").source
    assert networks().subnet_id(HOSTED) == arm.account.subnet_id
    assert not arm.log


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (HOSTED, "no network of its own for `regionName: automatic`"),
        (Network("bridge", "br0"), "weu has no bridge br0"),
        (Network("subnet", "cloudpcs"), "weu has no subnet cloudpcs"),
    ],
)
def test_what_a_host_does_not_offer_is_another_hosts_business(network: Network, says: str, networks: Networked) -> None:
    with pytest.raises(ProvisioningError, match=says) as error:
        networks(hostedNetwork=None).subnet_id(network)
    assert error.value.code is ErrorCode.NETWORK_NOT_FOUND
    assert error.value.hint


def test_a_subnet_of_another_subscription_is_none_of_its(arm: FakeArm, networks: Networked) -> None:
    elsewhere = subnet(arm).source.replace(arm.account.subscription, str(uuid4()))
    with fails_with(ErrorCode.NETWORK_NOT_FOUND, "hub/cloudpcs", "weu"):
        networks().subnet_id(Network("subnet", elsewhere))


# ---- how it stands


def test_a_good_subnet_has_nothing_to_be_told(arm: FakeArm, networks: Networked) -> None:
    checks = networks().check(subnet(arm))
    assert overall(checks) == "passed"
    assert {check.what: check.detail for check in checks} == {
        "resource group rg-cloudpc": "is there",
        "provider Microsoft.Compute": "registered",
        "provider Microsoft.Network": "registered",
        "rights in rg-cloudpc": f"all {len(permissions.GROUP)} actions are allowed",
        "virtual network hub": "is in westeurope",
        "subnet cloudpcs": "is there, and no service has taken it",
        "way out of subnet cloudpcs": "Azure's default",
        "free addresses": "251 of 251 are free",
        "rights in hub": f"all {len(permissions.NETWORK)} actions are allowed",
    }
    assert len(arm.log) == 7


def test_names_know_no_case(arm: FakeArm, networks: Networked) -> None:
    arm.resources.get(arm.account.network_id).body["location"] = "West Europe"
    shouted = networks().check(Network("subnet", subnet(arm).source.replace("hub", "HUB")))
    assert overall(shouted) == "passed"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (
            {"subscriptionId": "22222222-2222-4333-8444-555555555555", "hostedNetwork": ""},
            "resourceAvailabilityCheckSubscriptionNotFound",
        ),
        ({"resourceGroup": "rg-nowhere"}, "resourceAvailabilityCheckResourceGroupInvalid"),
    ],
)
def test_a_host_that_is_not_there_is_all_that_is_told(
    fields: dict[str, str], kind: str, arm: FakeArm, networks: Networked
) -> None:
    subscription = fields.get("subscriptionId", arm.account.subscription)
    network = Network("subnet", subnet(arm).source.replace(arm.account.subscription, subscription))
    checks = networks(**fields).check(network)
    assert not_passed(checks) == [("failed", kind)]
    assert checks[0].hint


def test_a_group_that_is_being_removed(arm: FakeArm, networks: Networked) -> None:
    arm.resources.get(arm.account.group_id).properties["provisioningState"] = "Deleting"
    kind = "resourceAvailabilityCheckResourceGroupBeingDeleted"
    assert not_passed(networks().check(HOSTED)) == [("failed", kind)]


def test_a_subscription_that_is_off(arm: FakeArm, networks: Networked) -> None:
    arm.fail("ResourceGroups_Get", "ReadOnlyDisabledSubscription")
    assert not_passed(networks().check(HOSTED)) == [("failed", "resourceAvailabilityCheckSubscriptionDisabled")]


def test_a_provider_that_nobody_has_registered_is_told_and_not_registered(arm: FakeArm, networks: Networked) -> None:
    arm.registered["Microsoft.Compute"] = "NotRegistered"
    [check] = [check for check in networks().check(HOSTED) if check.status != "passed"]
    assert (check.detail, check.error_type) == (
        "is NotRegistered in the subscription",
        "resourceAvailabilityCheckGeneralSubscriptionError",
    )
    assert "az provider register --namespace Microsoft.Compute" in check.hint
    assert {logged.method for logged in arm.log} == {"GET"}


@pytest.mark.parametrize(
    ("name", "network", "kind"),
    [
        ("cloudpcs", "nowhere", "resourceAvailabilityCheckVNetInvalid"),
        ("nowhere", "hub", "resourceAvailabilityCheckSubnetInvalid"),
        ("cloudpcs", "abroad", "resourceAvailabilityCheckUnsupportedVNetRegion"),
    ],
)
def test_a_network_that_is_not_there(name: str, network: str, kind: str, arm: FakeArm, networks: Networked) -> None:
    abroad = arm.account.network_id.replace("/hub", "/abroad")
    arm.add_network(abroad, {"cloudpcs": "10.9.0.0/24"}, "northeurope")
    checks = networks().check(subnet(arm, name, network))
    assert not_passed(checks) == [("failed", kind)]


def test_a_network_in_a_group_that_is_not_there(arm: FakeArm, networks: Networked) -> None:
    lost = Network("subnet", subnet(arm).source.replace("rg-cloudpc", "rg-lost"))
    assert not_passed(networks().check(lost)) == [("failed", "resourceAvailabilityCheckVNetInvalid")]


@pytest.mark.parametrize(
    ("properties", "status", "kind", "says"),
    [
        (
            {"delegations": [{"name": "d", "properties": {"serviceName": "Microsoft.Web/serverFarms"}}]},
            "failed", "resourceAvailabilityCheckSubnetDelegationFailed", "is delegated to Microsoft.Web/serverFarms",
        ),
        (
            {"serviceAssociationLinks": [{"id": "/subscriptions/s/links/1"}]},
            "failed", "resourceAvailabilityCheckSubnetWithExternalResources", "is held by another service",
        ),
        (
            {"defaultOutboundAccess": False},
            "warning", "endpointConnectivityCheckUnknownError", "private, and neither NAT gateway nor route table",
        ),
    ],
)  # fmt: skip
def test_a_subnet_that_does_not_do(
    properties: dict[str, Any], status: str, kind: str, says: str, arm: FakeArm, networks: Networked
) -> None:
    arm.add_network(arm.account.network_id.replace("/hub", "/spoke"), {"pcs": "10.2.0.0/24"}, **properties)
    checks = networks().check(subnet(arm, "pcs", "spoke"))
    assert not_passed(checks) == [(status, kind)]
    assert [check.detail for check in checks if check.status != "passed"] == [says]


@pytest.mark.parametrize("way", ["natGateway", "routeTable"])
def test_a_private_subnet_with_a_way_out_is_good(way: str, arm: FakeArm, networks: Networked) -> None:
    fields: dict[str, Any] = {"defaultOutboundAccess": False, way: {"id": "/subscriptions/s/x/1"}}
    arm.add_network(arm.account.network_id.replace("/hub", "/spoke"), {"pcs": "10.2.0.0/24"}, **fields)
    assert overall(networks().check(subnet(arm, "pcs", "spoke"))) == "passed"


@pytest.mark.parametrize(
    ("taken", "status", "says"),
    [
        (6, "passed", "5 of 11 are free"), (7, "warning", "4 of 11 are free"), (11, "failed", "0 of 11 are free"),
        (16, "failed", "0 of 11 are free"),
    ],
)  # fmt: skip
def test_few_addresses_are_a_warning_and_none_a_failure(
    taken: int, status: str, says: str, arm: FakeArm, networks: Networked
) -> None:
    arm.add_network(arm.account.network_id.replace("/hub", "/spoke"), {"pcs": "10.2.0.0/28"})
    network = subnet(arm, "pcs", "spoke")
    arm.taken_addresses[network.source.lower()] = {f"10.2.0.{number}" for number in range(taken)}
    [check] = [check for check in networks().check(network) if check.what == "free addresses"]
    assert (check.status, check.detail) == (status, says)
    assert check.error_type in ("", "resourceAvailabilityCheckNoSubnetIP")


def test_azures_own_addresses_are_no_machines_whichever_way_it_counts() -> None:
    assert usable(251, ["10.0.0.0/24"]) == usable(256, ["10.0.0.0/24"]) == 251
    assert usable(3, ["10.0.0.0/29"]) == usable(8, ["10.0.0.0/29"]) == 3
    assert usable(251, ["10.0.0.0/24", "fd00::/64"]) == 251
    assert usable(22, ["10.0.0.0/28", "10.0.1.0/28"]) == 22
    assert usable(256, []) == 251


def test_missing_rights_are_named_by_scope(arm: FakeArm, networks: Networked) -> None:
    lacking = ["Microsoft.Compute/disks/delete", "Microsoft.Network/virtualNetworks/subnets/join/action"]
    arm.permissions = [{"actions": ["*"], "notActions": lacking}]
    checks = {check.error_type: check for check in networks().check(HOSTED) if check.status != "passed"}
    group = checks["permissionCheckNoWindows365NetworkInterfaceContributorRole"]
    assert (group.status, group.detail) == ("failed", "not allowed: Microsoft.Compute/disks/delete")
    assert arm.account.group_id in group.hint
    network = checks["permissionCheckNoWindows365NetworkUserRole"]
    assert network.detail == "not allowed: Microsoft.Network/virtualNetworks/subnets/join/action"
    assert arm.account.network_id in network.hint


def test_a_network_that_may_not_be_read(arm: FakeArm, networks: Networked) -> None:
    arm.permissions = [{"actions": ["*"], "notActions": ["Microsoft.Network/virtualNetworks/read"]}]
    [check] = [check for check in networks().check(HOSTED) if check.what == "virtual network hub"]
    assert (check.status, check.error_type) == ("failed", "permissionCheckNoWindows365NetworkUserRole")
    assert "Microsoft.Network/virtualNetworks/read" in check.detail


def test_nothing_may_be_asked(arm: FakeArm, networks: Networked) -> None:
    arm.permissions = []
    assert not_passed(networks().check(HOSTED)) == [("failed", "permissionCheckNoSubscriptionReaderRole")]


def test_a_sign_in_that_azure_does_not_take(arm: FakeArm, networks: Networked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token(tenant=str(uuid4())))
    check, *_ = networks().check(HOSTED)
    assert (check.status, check.error_type) == ("failed", "permissionCheckUnknownError")
    assert check.hint


def test_an_azure_that_does_not_answer_is_not_the_connections_fault(
    networks: Networked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudpc.machines.azure.pipeline.RETRIES", 0)
    with pytest.raises(ProvisioningError) as error:
        networks(endpoint="http://127.0.0.1:9").check(HOSTED)
    assert error.value.code is ErrorCode.HOST_UNREACHABLE


def test_doctor_tells_how_the_hosts_own_subnet_stands_with_all_else(
    arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.resources.get(arm.account.network_id).body["location"] = "northeurope"
    arm.registered["Microsoft.Compute"] = "NotRegistered"
    host = AzureHost(_config(arm))
    said = {check.what: (check.status, check.detail) for check in host.check()}
    host.close()
    assert said["virtual network hub"] == ("failed", "is in northeurope, machines of this host are in westeurope")
    assert said["provider Microsoft.Compute"] == ("failed", "is NotRegistered in the subscription")


def test_a_host_without_a_subnet_of_its_own_has_none_to_be_looked_at(networks: Networked) -> None:
    assert networks(hostedNetwork=None).hosted_checks() == []


# ---- the way to a machine


def test_its_user_reaches_the_private_address_of_its_card(arm: FakeArm, http: Http, networks: Networked) -> None:
    http.nic()
    vm, nic = arm.account.id("virtualMachines", "vm"), arm.account.id("networkInterfaces", "nic")
    assert networks().access(vm, nic, Watch()) == Ssh(host="10.0.0.4", port=22)
    assert networks().access(vm, nic, Watch(), is_windows=True) == Rdp(host="10.0.0.4", port=3389)


def test_a_card_without_an_address_is_said(arm: FakeArm, networks: Networked) -> None:
    vm, nic = arm.account.id("virtualMachines", "vm"), arm.account.id("networkInterfaces", "gone")
    with fails_with(ErrorCode.SET_UP_FAILED, "gone", "weu"):
        networks().access(vm, nic, Watch())


def test_a_bastion_of_the_entry_is_the_way(arm: FakeArm, http: Http, networks: Networked) -> None:
    machine_id = uuid4()
    bastion = f"{arm.account.group_id}/providers/Microsoft.Network/bastionHosts/hub"
    vm, nic = arm.account.id("virtualMachines", name_of(machine_id)), arm.account.id("networkInterfaces", "nic")
    http.nic()
    assert networks(bastion=bastion).access(vm, nic, Watch()).bastion == Bastion(bastion_id=bastion, target_id=vm)


def test_an_entry_says_the_bastion_for_machines_of_before(arm: FakeArm) -> None:
    machine_id, bastion = uuid4(), f"{arm.account.group_id}/providers/Microsoft.Network/bastionHosts/hub"
    way = Bastion(bastion_id=bastion, target_id=arm.account.id("virtualMachines", name_of(machine_id)))
    assert _config(arm, bastion=bastion).bastion_to(machine_id) == way
    assert _config(arm).bastion_to(machine_id) is None
