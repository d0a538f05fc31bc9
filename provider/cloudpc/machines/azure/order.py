"""What Azure is asked for to make a machine: the bodies of a network card and of a virtual machine.

Source: Microsoft's REST reference of Microsoft.Network/networkInterfaces and Microsoft.Compute/virtualMachines.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.images import FoundImage
from cloudpc.machines.azure.names import Parts, name_of
from cloudpc.machines.azure.sizes import Candidate
from cloudpc.machines.azure.tags import Promised, made_now, to_tags, to_user_data
from cloudpc.model.machines import Order

_NOBODY = "cloudpc-nobody"
"""The account that Azure demands; nobody has its key, or its password."""


@dataclass(frozen=True)
class Request:
    """One try to make a machine: what it is of, and what it is asked for with.

    Args:
        order: what is to be made.
        image: as it is at the host's location.
        candidate: size and place of this try.
        parts: names of its card and its disk.
        subnet_id: where it is plugged in.
        custom_data: what its first boot reads, in base64.
    """

    order: Order
    image: FoundImage
    candidate: Candidate
    parts: Parts
    subnet_id: str
    custom_data: str

    @property
    def name(self) -> str:
        """The machine's."""
        return name_of(self.order.id)


def card_body(request: Request, config: AzureHostConfig) -> dict[str, Any]:
    """Of its network card. It gets no network security group: that of the subnet counts."""
    address = {"subnet": {"id": request.subnet_id}, "privateIPAllocationMethod": "Dynamic", "primary": True}
    return {
        "location": config.location,
        "tags": _tags(request, config),
        "properties": {
            "ipConfigurations": [{"name": "ip", "properties": address}],
            "enableAcceleratedNetworking": request.candidate.accelerated_networking,
        },
    }


def machine_body(request: Request, config: AzureHostConfig, card_id: str) -> dict[str, Any]:
    """Of the machine; its card and its disk go when it goes."""
    candidate, image = request.candidate, request.image
    windows = image.system == "Windows"
    body = {
        "location": config.location,
        "tags": _tags(request, config),
        "zones": [candidate.zone] if candidate.zone else None,
        "identity": {"type": "SystemAssigned"} if request.order.joins_entra else None,  # from the first moment
        "plan": dict(image.purchase_plan) or None,
        "properties": _without_nothing({
            "hardwareProfile": {"vmSize": candidate.size},
            "storageProfile": _storage(request, config),
            "osProfile": _system(request, windows=windows),
            "networkProfile": {
                "networkInterfaces": [{"id": card_id, "properties": {"primary": True, "deleteOption": "Delete"}}]
            },
            "securityProfile": _TRUSTED_LAUNCH if image.trusted_launch else None,
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
            "licenseType": config.license_type if windows else None,
            "userData": to_user_data(request.order.tag) or None,
        }),
    }  # fmt: skip
    return _without_nothing(body)


def _tags(request: Request, config: AzureHostConfig) -> dict[str, str]:
    promised = Promised(request.candidate.size, request.order.size)
    return {**config.tags, **to_tags(request.order.tag), **promised.to_tags(), **made_now()}


def _storage(request: Request, config: AzureHostConfig) -> dict[str, Any]:
    disk = {
        "name": request.parts.disk,
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "diskSizeGB": request.order.size.disk_gib,
        "managedDisk": {"storageAccountType": config.disk_type},
    }
    controller = request.candidate.disk_controller
    storage = {"imageReference": dict(request.image.reference), "osDisk": disk, "diskControllerType": controller}
    return _without_nothing(storage)


def _system(request: Request, *, windows: bool) -> dict[str, Any]:
    profile = {
        "computerName": request.order.tag.device_name,
        "adminUsername": _NOBODY,
        "customData": request.custom_data,
        "allowExtensionOperations": True,
    }
    if windows:
        return {**profile, "adminPassword": f"{secrets.token_urlsafe(32)}aA1!", "windowsConfiguration": _AGENT}
    keys = [{"path": f"/home/{_NOBODY}/.ssh/authorized_keys", "keyData": _nobodys_key()}]
    linux = {**_AGENT, "disablePasswordAuthentication": True, "ssh": {"publicKeys": keys}}
    return {**profile, "linuxConfiguration": linux}


@cache
@cache
def _nobodys_key() -> str:
    """A public key whose private half is thrown away: one for all, since a key takes most of an order's time."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()  # the one kind all images take
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_AGENT = {"provisionVMAgent": True}
_TRUSTED_LAUNCH = {
    "securityType": "TrustedLaunch",
    "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
}
