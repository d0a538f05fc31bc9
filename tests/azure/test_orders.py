"""What is refused of an order, and how."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.azure.arm import FakeArm
from tests.azure.client import DEBIAN, Http, nic_body, vm_body

Change = Callable[[dict[str, Any]], Any]
WINDOWS = {
    "publisher": "MicrosoftWindowsDesktop", "offer": "windows-ent-cpc", "sku": "win11-24H2-ent-cpc",
    "version": "latest",
}  # fmt: skip


def at(path: str, value: Any) -> Change:
    def change(body: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for name in way:
            body = body[name]
        body[last] = value

    return change


@pytest.mark.parametrize(
    ("code", "status", "change"),
    [
        ("InvalidRequestContent", 400, at("properties.hardwareProfile.nothing", 1)),
        ("InvalidRequestContent", 400, at("properties.hardwareProfile.vmSize", 2)),
        ("InvalidRequestContent", 400, lambda body: body.pop("location")),
        ("InvalidParameter", 400, at("properties.hardwareProfile.vmSize", "Standard_D99")),
        ("LocationNotAvailableForResourceType", 400, at("location", "northeurope")),
        ("PlatformImageNotFound", 404, at("properties.storageProfile.imageReference", DEBIAN | {"sku": "13"})),
        ("PlatformImageNotFound", 404, at("properties.storageProfile.imageReference", DEBIAN | {"version": "9"})),
        ("ImageVersionDeprecated", 400, at("properties.storageProfile.imageReference",
                                           WINDOWS | {"sku": "win11-21H2-ent-cpc"})),
        ("VMMarketplaceInvalidInput", 400, at("properties.storageProfile.imageReference",
                                              {"publisher": "contoso", "offer": "vdi", "sku": "vdi-gen2",
                                               "version": "latest"})),
        ("OperationNotAllowed", 409, at("properties.storageProfile.osDisk.diskSizeGB", 20)),
        ("InvalidParameter", 400, at("properties.osProfile.computerName", "x" * 65)),
        ("InvalidParameter", 400, at("properties.osProfile.computerName", "a_b")),
        ("InvalidParameter", 400, at("properties.osProfile.adminUsername", "admin")),
        ("InvalidParameter", 400, at("properties.osProfile.customData", "not base64!")),
        ("InvalidParameter", 400, at("properties.osProfile.customData", base64.b64encode(b"x" * 65536).decode())),
        ("InvalidParameter", 400, lambda body: body["properties"]["osProfile"].pop("linuxConfiguration")),
        ("InvalidParameter", 400, at("properties.osProfile.linuxConfiguration.ssh.publicKeys", [])),
        ("InvalidParameter", 400, at("properties.networkProfile.networkInterfaces", [])),
        ("NotFound", 404, at("properties.networkProfile.networkInterfaces", [{"id": "/subscriptions/x"}])),
        ("InvalidAvailabilityZone", 400, at("zones", ["4"])),
        ("InvalidTags", 400, at("tags", {f"tag{i}": "" for i in range(51)})),
        ("InvalidTagValueLength", 400, at("tags", {"tag": "x" * 257})),
        ("InvalidTagNameCharacters", 400, at("tags", {"a/b": "x"})),
        ("BadRequest", 400, at("properties.hardwareProfile.vmSize", "Standard_D2ps_v5")),
        ("InvalidParameter", 400, at("properties.securityProfile", {"uefiSettings": {"secureBootEnabled": True}})),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_and_leaves_nothing(
    arm: FakeArm, http: Http, code: str, status: int, change: Change
) -> None:
    http.nic()
    body = vm_body(arm)
    change(body)
    got = http.put("virtualMachines/vm", body)
    assert (got.code, got.status) == (code, status)
    assert arm.left == {"virtualMachines": [], "networkInterfaces": ["nic"], "disks": []}
    assert "virtualMachine" not in http.get("networkInterfaces/nic").body["properties"]


def windows_body(arm: FakeArm, **profile: Any) -> dict[str, Any]:
    body = vm_body(arm)
    body["properties"]["storageProfile"]["imageReference"] = WINDOWS
    body["properties"]["storageProfile"]["osDisk"]["diskSizeGB"] = 128
    body["properties"]["osProfile"] = {
        "computerName": "CPC-1", "adminUsername": "cloudpc", "adminPassword": "Correct horse 1",
    } | profile  # fmt: skip
    return body


@pytest.mark.parametrize(
    "profile",
    [{"computerName": "x" * 16}, {"computerName": "123"}, {"adminPassword": None}, {"adminPassword": "short1A"},
     {"adminPassword": "onlylowercase"}, {"linuxConfiguration": {"disablePasswordAuthentication": True}}],
)  # fmt: skip
def test_windows_has_its_own_rules(arm: FakeArm, http: Http, profile: dict[str, Any]) -> None:
    http.nic()
    body = windows_body(arm, **profile)
    body["properties"]["osProfile"] = {k: v for k, v in body["properties"]["osProfile"].items() if v is not None}
    assert http.put("virtualMachines/vm", body).code == "InvalidParameter"
    assert http.put("virtualMachines/vm", windows_body(arm)).status == 201


def test_a_generation_must_fit(arm: FakeArm, http: Http) -> None:
    http.nic()
    arm.sizes["Standard_D2as_v5"].generations = "V2"
    old = DEBIAN | {"sku": "12"}
    properties = vm_body(arm)["properties"]["storageProfile"]
    got = http.vm(storageProfile=properties | {"imageReference": old})
    assert (got.code, "Generation '1'" in got.message) == ("BadRequest", True)
    arm.sizes["Standard_D2as_v5"].generations = "V1,V2"
    trusted = {"securityType": "TrustedLaunch", "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True}}
    got = http.vm(storageProfile=properties | {"imageReference": old}, securityProfile=trusted)
    assert got.code == "BadRequest"
    assert http.vm(securityProfile=trusted).status == 201


def test_sizes_with_nvme_only_need_an_image_that_can(arm: FakeArm, http: Http) -> None:
    http.nic()
    arm.marketplace[("debian", "debian-12", "12-gen2")].controllers = "SCSI"
    assert http.vm(hardwareProfile={"vmSize": "Standard_D2s_v6"}).code == "InvalidParameter"
    arm.marketplace[("debian", "debian-12", "12-gen2")].controllers = "SCSI, NVMe"
    assert http.vm(hardwareProfile={"vmSize": "Standard_D2s_v6"}).status == 201


def test_images_of_a_gallery(arm: FakeArm, http: Http) -> None:
    image = f"{arm.account.group_id}/providers/Microsoft.Compute/galleries/g/images/debian"
    storage = vm_body(arm)["properties"]["storageProfile"]
    http.nic()
    assert http.vm(storageProfile=storage | {"imageReference": {"id": image}}).code == "GalleryImageNotFound"
    definition = arm.add(
        image, "Microsoft.Compute/galleries/images", osType="Linux", osState="Generalized", hyperVGeneration="V2",
        identifier={"publisher": "p", "offer": "o", "sku": "s"},
    )  # fmt: skip
    for version in ("1.9.0", "1.10.0"):
        arm.add(f"{image}/versions/{version}", "Microsoft.Compute/galleries/images/versions",
                storageProfile={"osDiskImage": {"sizeInGB": 30}}, publishingProfile={})  # fmt: skip
    assert len(http.get(f"{image}/versions").body["value"]) == 2
    assert http.get(image).body["properties"]["osState"] == "Generalized"
    got = http.vm(storageProfile=storage | {"imageReference": {"id": image}})
    assert got.body["properties"]["storageProfile"]["imageReference"]["exactVersion"] == "1.10.0"
    definition.properties["osState"] = "Specialized"
    http.nic("nic2")
    assert http.vm("vm2", "nic2", storageProfile=storage | {"imageReference": {"id": image}}).code == "InvalidParameter"


def test_quota_of_a_family_and_of_all(arm: FakeArm, http: Http) -> None:
    http.nic()
    arm.quotas["standardDASv5Family"] = 3
    arm.used_elsewhere["standardDASv5Family"] = 2
    got = http.vm()
    assert got.code == "OperationNotAllowed"
    assert "standardDASv5Family Cores quota" in got.message
    usages = {u["name"]["value"]: u for u in http.get(_usages(arm)).body["value"]}
    family = usages["standardDASv5Family"]
    assert (family["currentValue"], family["limit"]) == (2, 3)
    del arm.quotas["standardDASv5Family"]
    arm.quotas["cores"] = 1
    assert "Total Regional Cores" in http.vm().message
    arm.quotas["cores"] = 2
    assert http.vm().status == 201
    usages = {u["name"]["value"]: u for u in http.get(_usages(arm)).body["value"]}
    assert usages["cores"]["currentValue"] == 2


def _usages(arm: FakeArm) -> str:
    return f"{arm.account.subscription_id}/providers/Microsoft.Compute/locations/westeurope/usages"


def test_a_restricted_size(arm: FakeArm, http: Http) -> None:
    http.nic()
    arm.sizes["Standard_D2as_v5"].restrictions = [
        {"type": "Zone", "reasonCode": "NotAvailableForSubscription", "restrictionInfo": {"zones": ["2"]}}
    ]
    body = vm_body(arm) | {"zones": ["2"]}
    got = http.put("virtualMachines/vm", body)
    assert (got.code, got.status) == ("SkuNotAvailable", 409)
    assert http.put("virtualMachines/vm", body | {"zones": ["1"]}).status == 201


def test_sizes_are_filtered_by_location_alone(arm: FakeArm, http: Http) -> None:
    path = f"{arm.account.subscription_id}/providers/Microsoft.Compute/skus"
    assert len(http.get(f"{path}?$filter=location eq 'westeurope'").body["value"]) > 10
    assert http.get(f"{path}?$filter=location eq 'eastus'").body["value"] == []
    assert http.get(f"{path}?$filter=name eq 'Standard_D2as_v5'").code == "InvalidParameter"


def test_a_disk_of_this_name_is_there(arm: FakeArm, http: Http) -> None:
    arm.add(arm.account.id("disks", "nic-os"), "Microsoft.Compute/disks", creationData={"createOption": "Empty"})
    http.nic()
    assert http.vm().code == "ConflictingUserInput"


# ---- network interfaces


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("InvalidRequestContent", at("properties.nothing", 1)),
        ("NetworkInterfaceMustHaveAtLeastOneIpConfiguration", at("properties.ipConfigurations", [])),
        ("InvalidResourceReference", at("properties.ipConfigurations",
                                        [{"name": "ip", "properties": {"subnet": {"id": "/subscriptions/s/x"}}}])),
        ("InvalidRequestFormat", at("properties.ipConfigurations", [{"properties": {}}])),
        ("InvalidResourceReference", at("location", "northeurope")),
    ],
)  # fmt: skip
def test_wrong_network_interfaces(arm: FakeArm, http: Http, code: str, change: Change) -> None:
    body = nic_body(arm)
    change(body)
    got = http.put("networkInterfaces/nic", body)
    assert (got.code, got.status) == (code, 400)
    assert arm.left["networkInterfaces"] == []


def test_a_network_interface_without_primary_gets_it(arm: FakeArm, http: Http) -> None:
    body = nic_body(arm)
    del body["properties"]["ipConfigurations"][0]["properties"]["primary"]
    (shown,) = http.put("networkInterfaces/nic", body).body["properties"]["ipConfigurations"]
    assert shown["properties"]["primary"] is True
    assert shown["properties"]["privateIPAddress"] == "10.0.0.4"  # the first four are Azure's


def test_a_full_subnet(arm: FakeArm, http: Http) -> None:
    network = f"{arm.account.group_id}/providers/Microsoft.Network/virtualNetworks/small"
    arm.add_network(network, {"s": "10.1.0.0/29"})
    for number in range(3):
        assert http.put(f"networkInterfaces/n{number}", nic_body(arm, f"{network}/subnets/s")).status == 201
    got = http.put("networkInterfaces/n3", nic_body(arm, f"{network}/subnets/s"))
    assert (got.code, got.status) == ("SubnetIsFull", 400)
    (usage,) = http.get(f"{network}/usages").body["value"]
    assert (usage["currentValue"], usage["limit"]) == (3, 3)
    http.follow(http.delete("networkInterfaces/n1"))
    assert http.put("networkInterfaces/n3", nic_body(arm, f"{network}/subnets/s")).status == 201


def test_a_subnet_that_is_somebody_elses(arm: FakeArm, http: Http) -> None:
    network = f"{arm.account.group_id}/providers/Microsoft.Network/virtualNetworks/theirs"
    delegation = {"name": "d", "properties": {"serviceName": "Microsoft.Sql/managedInstances"}}
    arm.add_network(network, {"s": "10.1.0.0/24"}, delegations=[delegation])
    assert http.put("networkInterfaces/n", nic_body(arm, f"{network}/subnets/s")).code == "SubnetIsDelegated"
    arm.add_network(f"{network}2", {"s": "10.2.0.0/24"}, "northeurope")
    assert http.put("networkInterfaces/n", nic_body(arm, f"{network}2/subnets/s")).code == "InvalidResourceReference"


def test_what_only_azure_may_say_is_ignored(arm: FakeArm, http: Http) -> None:
    http.nic()
    body = http.get("networkInterfaces/nic").body
    body["properties"]["provisioningState"] = "Failed"
    body["properties"]["macAddress"] = "x"
    assert http.put("networkInterfaces/nic", body).status == 200
    http.made("other", "other-nic")  # time for the update to end
    shown = http.get("networkInterfaces/nic").body["properties"]
    assert (shown["provisioningState"], shown.get("macAddress")) == ("Succeeded", None)
