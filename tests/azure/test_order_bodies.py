"""What Azure is asked for: the machine that was ordered, of nothing but its own, in few requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.found_image import FoundImage
from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.names import Parts, name_of
from cloudpc.machines.azure.order import Request, card_body, machine_body
from cloudpc.machines.azure.sizes import Candidate
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.hosts import azure_order, host_config
from tests.azure.linux_answers import LinuxAnswers

LINUX = FoundImage(name="debian", reference={"publisher": "Debian"}, trusted_launch=False)
WINDOWS = FoundImage(name="windows", reference={"publisher": "Microsoft"}, system="Windows")
PLAIN = Candidate("Standard_D2s_v5", "standardDSv5Family", 2, 8192)


@pytest.fixture
def host(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureHost]:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    opened = AzureHost(host_config(arm))
    yield opened
    opened.close()


def config(**more: Any) -> AzureHostConfig:
    entry = {
        "name": "weu", "kind": "azure", "subscriptionId": "11111111-2222-4333-8444-555555555555",
        "resourceGroup": "rg", "location": "westeurope", **more,
    }  # fmt: skip
    return AzureHostConfig.model_validate(entry)


def request(image: FoundImage = LINUX, candidate: Candidate = PLAIN) -> Request:
    order = azure_order()
    return Request(order, image, candidate, Parts.of(name_of(order.id), "a1", 0), "/subnet", "Y3VzdG9t")


def body(image: FoundImage = LINUX, candidate: Candidate = PLAIN, **more: Any) -> dict[str, Any]:
    return machine_body(request(image, candidate), config(**more), "/card")


def test_card_and_disk_go_with_the_machine() -> None:
    properties = body()["properties"]
    [card] = properties["networkProfile"]["networkInterfaces"]
    assert card == {"id": "/card", "properties": {"primary": True, "deleteOption": "Delete"}}
    assert properties["storageProfile"]["osDisk"]["deleteOption"] == "Delete"


def test_zone_controller_and_faster_networking_are_the_candidates() -> None:
    assert "zones" not in body()
    assert "diskControllerType" not in body()["properties"]["storageProfile"]
    fast = replace(PLAIN, zone="2", disk_controller="NVMe", accelerated_networking=True)
    assert body(candidate=fast)["zones"] == ["2"]
    assert body(candidate=fast)["properties"]["storageProfile"]["diskControllerType"] == "NVMe"
    assert card_body(request(candidate=fast), config())["properties"]["enableAcceleratedNetworking"] is True


def test_security_and_purchase_plan_are_the_images() -> None:
    assert "securityProfile" not in body()["properties"]
    assert "plan" not in body()
    bought = {"publisher": "contoso", "product": "vdi", "name": "vdi-gen2"}
    safe = replace(LINUX, trusted_launch=True, purchase_plan=bought)
    assert body(safe)["properties"]["securityProfile"]["securityType"] == "TrustedLaunch"
    assert body(safe)["plan"] == bought


def test_nobody_has_the_account_that_azure_demands() -> None:
    linux = body()["properties"]["osProfile"]
    assert "adminPassword" not in linux
    assert linux["linuxConfiguration"]["disablePasswordAuthentication"] is True
    one, two = (body(WINDOWS)["properties"]["osProfile"] for _ in range(2))
    assert one["adminPassword"] != two["adminPassword"]
    assert "linuxConfiguration" not in one


def test_a_licence_is_for_windows_alone_and_only_for_who_says_that_they_have_it() -> None:
    assert body(WINDOWS, licenseType="Windows_Client")["properties"]["licenseType"] == "Windows_Client"
    assert "licenseType" not in body(WINDOWS)["properties"]
    assert "licenseType" not in body(licenseType="Windows_Client")["properties"]


def test_admins_tags_stand_beside_ours_on_all_that_is_made() -> None:
    own = config(tags={"costCenter": "4711"})
    for tags in (machine_body(request(), own, "/card")["tags"], card_body(request(), own)["tags"]):
        assert tags["costCenter"] == "4711"
        assert tags["cloudpc-device"] == "CPC-1"
        assert len(tags) <= 50


def test_nothing_but_its_own_is_written_in_a_whole_life(arm: FakeArm, host: AzureHost) -> None:
    """No network security group, subnet, public address or group."""
    order = azure_order()
    host.claim(order, Watch())
    host.make(order, Watch())
    for phase in (Phase.READY, Phase.HANDED_OVER):
        host.finish(order.id, phase)
    host.delete(order.id, Watch())
    writes = [each for each in arm.log if each.method != "GET"]
    assert {each.operation for each in writes} == {
        "NetworkInterfaces_CreateOrUpdate", "NetworkInterfaces_Delete", "Disks_Delete", "Tags_UpdateAtScope_vmName",
        "VirtualMachines_CreateOrUpdate", "VirtualMachines_Delete", "VirtualMachineRunCommands_CreateOrUpdate",
        "VirtualMachineRunCommands_Delete",
    }  # fmt: skip
    assert all(f"/{name_of(order.id)}" in each.path for each in writes)
    assert len(arm.log) <= 35
    assert sum(f"/virtualMachines/{name_of(order.id)}" in each.path for each in writes) <= 8, "Azure lets 12 pass"
