"""Which network a connection's file means, and which hosts may have it by what their entries say."""

from __future__ import annotations

import pytest

from cloudpc.connections import files
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.driver import DRIVER
from cloudpc.model.machines import Network

from .test_subnet_ids import HUB, PCS, SUBSCRIPTION

CONNECTION = files.model({"azure": DRIVER})


def host(**changes: str) -> AzureHostConfig:
    entry = {"name": "weu", "kind": "azure", "subscriptionId": SUBSCRIPTION, "resourceGroup": "rg", "location": "weu"}
    return AzureHostConfig.model_validate(entry | changes)


@pytest.mark.parametrize(
    "fields",
    [
        {"subnetId": PCS},
        {"subnetId": "cloudpcs", "virtualNetworkId": HUB},
        {"subnetId": PCS, "virtualNetworkId": HUB},
    ],
)
def test_a_subnet_is_named_whole_or_with_its_network(fields: dict[str, str]) -> None:
    assert CONNECTION.model_validate(fields).network == Network("subnet", PCS)


def test_a_host_without_a_hosted_network_offers_none() -> None:
    assert not host().offers(Network())
    assert host(hostedNetwork=PCS).offers(Network())


def test_a_subnet_of_another_subscription_is_none_of_its_own() -> None:
    other = PCS.replace(SUBSCRIPTION, SUBSCRIPTION.replace("a", "b"))
    assert host().offers(Network("subnet", PCS.upper()))
    assert not host().offers(Network("subnet", other))
    assert not host().offers(Network("subnet", "cloudpcs"))


def test_hints_name_its_resource_group() -> None:
    hints = host(resourceGroup="rg-cloudpc").by_hand
    assert hints.console_of("cpc1") == (
        f"`az vm boot-diagnostics get-boot-log --subscription {SUBSCRIPTION} --resource-group rg-cloudpc --name cpc1`"
    )
    assert "rg-cloudpc" in hints.looking
