"""Hosts in the fake Azure, and orders of machines for them."""

from __future__ import annotations

from typing import Any

from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.image_names import MarketplaceImage
from cloudpc.machines.azure.images import AzureImage
from cloudpc.model.machines import Amount, Order
from cloudpc.model.tags import Tag
from tests.azure.arm import FakeArm
from tests.support.orders import order

DEBIAN = AzureImage(
    image_id="Debian_debian-12_12-gen2", digest="ab" * 32, named=MarketplaceImage("Debian", "debian-12", "12-gen2")
)
SMALL = Amount(vcpus=1, memory_mib=2048, disk_gib=32)
"""What the smallest size of the fake has."""
INSTALLATION = "installation-1"


def host_config(arm: FakeArm, **more: Any) -> AzureHostConfig:
    """An entry of cloudpc:hosts; `more` are further fields, as they stand in there."""
    account = arm.account
    entry = {
        "name": "weu", "kind": "azure", "subscriptionId": account.subscription, "resourceGroup": account.group,
        "location": account.location, "endpoint": arm.url, "auth": "token", "hostedNetwork": account.subnet_id,
        "sizeFamilies": ["standardBSFamily", "standardDASv5Family", "standardDSv5Family"], **more,
    }  # fmt: skip
    return AzureHostConfig.model_validate(entry)


def azure_order(user: str = "u-1", size: Amount = SMALL, *, attempt: str = "a1", **changes: Any) -> Order:
    """A machine of this user."""
    tag = Tag(
        INSTALLATION, "policy", user, "plan", 1, "CPC-1", "settings", attempt=attempt, made_with='{"user": "Zoë"}'
    )
    return order(tag, size, image=DEBIAN, **changes)
