"""Images as a host's location has them, and all that no Cloud PC can be made of: found before anything is made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.found_image import FoundImage
from cloudpc.machines.azure.image_names import ImageName, MarketplaceImage, of_marketplace, of_resource
from cloudpc.machines.azure.images import AzureImage, Images
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount
from cloudpc.model.watch import Watch
from tests.azure.account import MarketplaceImage as Offered
from tests.azure.arm import FakeArm
from tests.azure.hosts import host_config
from tests.support.failures import fails_with

PLAN = Amount(2, 8192, 128)
DEBIAN = "Debian_debian-12_12-gen2"
WINDOWS = "microsoftwindowsdesktop_windows-ent-cpc_win11-24H2-ent-cpc"


@pytest.fixture(autouse=True)
def token(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())


def images(arm: FakeArm, **changes: Any) -> Images:
    config = host_config(arm, **changes)
    return Images(Arm(config), config)


def image(text: str, guest_os: str | None = None) -> AzureImage:
    named: ImageName | None = of_marketplace(text) or of_resource(text)
    assert named is not None
    system = named.guest_os if isinstance(named, MarketplaceImage) else "linux"
    return AzureImage(image_id="office", digest="ab", named=named, guest_os=guest_os or system)


def find(arm: FakeArm, text: str, size: Amount = PLAN, guest_os: str | None = None, **changes: Any) -> FoundImage:
    return images(arm, **changes).find(image(text, guest_os), size, Watch())


def refused(arm: FakeArm, text: str, size: Amount = PLAN, guest_os: str | None = None) -> str:
    """What is said; nothing but reading was done."""
    with pytest.raises(ProvisioningError) as failed:
        find(arm, text, size, guest_os)
    assert failed.value.code in (ErrorCode.IMAGE_INVALID, ErrorCode.IMAGE_NOT_FOUND)
    assert not failed.value.retriable
    assert failed.value.hint
    assert {request.method for request in arm.log} <= {"GET"}
    return failed.value.message


# ---- marketplace


def test_the_latest_version_is_taken_by_its_numbers(arm: FakeArm) -> None:
    arm.marketplace[("debian", "debian-12", "12-gen2")].versions = ("12.9.1", "12.10.0", "12.2.0")
    found = find(arm, DEBIAN)
    assert found.exact_version == "12.10.0"
    assert found.reference == {
        "publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "12.10.0",
    }  # fmt: skip
    assert (found.generation, found.system, found.trusted_launch, found.nvme) == ("V2", "Linux", True, True)
    assert not found.purchase_plan
    assert not found.warnings


def test_an_exact_version_is_not_looked_for(arm: FakeArm) -> None:
    assert find(arm, "Debian:debian-12:12-gen2:1.0.0").exact_version == "1.0.0"
    assert arm.count("VirtualMachineImages_List") == 0


def test_generation_1_has_no_trusted_launch(arm: FakeArm) -> None:
    found = find(arm, "Debian:debian-12:12")
    assert (found.generation, found.trusted_launch) == ("V1", False)


def test_many_ask_azure_once(arm: FakeArm) -> None:
    found = images(arm)
    for _ in range(5):
        found.find(image(DEBIAN), PLAN, Watch())
    assert len(arm.log) == 2


@pytest.mark.parametrize(
    "text", ["Debian_debian-13_13-gen2", "Debian:debian-12:12-gen2:9.9.9", "Nobody_debian-12_12-gen2"]
)
def test_what_is_not_there(arm: FakeArm, text: str) -> None:
    said = refused(arm, text)
    assert said.startswith("the image office is not there for weu: the marketplace of westeurope has no ")


def test_an_offer_with_a_line_in_its_name_is_told_how_to_be_written(arm: FakeArm) -> None:
    with pytest.raises(ProvisioningError) as failed:
        find(arm, "Canonical_ubuntu-24_04-lts_server")
    assert "publisher:offer:sku:version" in failed.value.hint
    assert find(arm, "Canonical:ubuntu-24_04-lts:server").exact_version == "24.04.202510010"


def test_windows_needs_a_plan_with_a_large_disk(arm: FakeArm) -> None:
    assert find(arm, WINDOWS).system == "Windows"
    said = refused(arm, WINDOWS, Amount(2, 8192, 64))
    assert said == "The image office has a disk of 127.0 GB, the service plan gives 64 GB."


def test_a_system_other_than_was_taken_for(arm: FakeArm) -> None:
    assert "has Windows, and was taken for one with linux" in refused(arm, WINDOWS, guest_os="linux")


def test_what_is_deprecated_is_refused(arm: FakeArm) -> None:
    said = refused(arm, "microsoftwindowsdesktop_windows-ent-cpc_win11-21H2-ent-cpc")
    assert "is deprecated" in said


def test_what_is_bought_has_its_plan_and_says_what_to_accept(arm: FakeArm) -> None:
    found = find(arm, "contoso_vdi_vdi-gen2")
    assert found.purchase_plan == {"publisher": "contoso", "name": "vdi-gen2", "product": "vdi"}
    assert "az vm image terms accept --urn contoso:vdi:vdi-gen2:latest" in found.warnings[0]


def test_arm_processors_are_refused(arm: FakeArm) -> None:
    arm.marketplace[("debian", "debian-12", "12-arm64")] = Offered(architecture="Arm64")
    assert "is for Arm64 processors" in refused(arm, "Debian_debian-12_12-arm64")


def test_an_image_of_another_kind_is_refused(arm: FakeArm) -> None:
    with fails_with(ErrorCode.IMAGE_INVALID, "micro", "qcow2", "weu"):
        images(arm).find(Image(image_id="micro", digest="ab", kind="qcow2"), PLAN, Watch())


# ---- Compute Gallery


def gallery(arm: FakeArm, *versions: str, **properties: Any) -> str:
    """A definition with these versions, all in the fake's region; its id."""
    path = arm.account.id("galleries", "ours") + "/images/office"
    arm.add(path, "Microsoft.Compute/galleries/images", **{
        "osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "architecture": "x64",
        "identifier": {"publisher": "p", "offer": "o", "sku": "s"},
        "features": [{"name": "SecurityType", "value": "TrustedLaunchSupported"},
                     {"name": "DiskControllerTypes", "value": "SCSI, NVMe"}],
        **properties,
    })  # fmt: skip
    for name in versions:
        version(arm, path, name)
    return path


def version(
    arm: FakeArm,
    path: str,
    name: str,
    size: int = 64,
    regions: tuple[str, ...] = ("West Europe",),
    state: str = "Succeeded",
    disks: int = 0,
    **publishing: Any,
) -> None:
    targets = [{"name": region} for region in regions]
    storage = {"osDiskImage": {"sizeInGB": size}, "dataDiskImages": [{"lun": n} for n in range(disks)]}
    arm.add(
        f"{path}/versions/{name}",
        "Microsoft.Compute/galleries/images/versions",
        provisioningState=state,
        publishingProfile={"targetRegions": targets, **publishing},
        storageProfile=storage,
    )


def test_the_latest_usable_version_of_a_gallerys_image(arm: FakeArm) -> None:
    path = gallery(arm, "1.2.0", "1.10.0")
    version(arm, path, "2.0.0", regions=("northeurope",))
    version(arm, path, "3.0.0", excludeFromLatest=True)
    version(arm, path, "4.0.0", state="Failed")
    found = find(arm, path)
    assert found.reference == {"id": f"{path}/versions/1.10.0"}
    assert (found.exact_version, found.disk_gib, found.generation) == ("1.10.0", 64, "V2")
    assert found.trusted_launch
    assert found.nvme


def test_versions_on_all_pages_are_looked_at(arm: FakeArm) -> None:
    arm.page_size = 1
    assert find(arm, gallery(arm, "1.0.0", "1.2.0", "1.1.0")).exact_version == "1.2.0"
    assert arm.count("GalleryImageVersions_ListByGalleryImage") == 3


def test_a_version_that_is_named_may_be_left_out_of_the_latest(arm: FakeArm) -> None:
    path = gallery(arm)
    version(arm, path, "3.0.0", excludeFromLatest=True)
    assert find(arm, f"{path}/versions/3.0.0").exact_version == "3.0.0"


def test_features_begin_with_a_version(arm: FakeArm) -> None:
    nvme = {"name": "DiskControllerTypes", "value": "SCSI, NVMe", "startsAtVersion": "2.0.0"}
    path = gallery(arm, "1.0.0", "2.0.0", features=[nvme])
    assert not find(arm, f"{path}/versions/1.0.0").nvme
    assert find(arm, f"{path}/versions/2.0.0").nvme
    assert not find(arm, path).trusted_launch


def test_what_a_gallery_has_not(arm: FakeArm) -> None:
    path = gallery(arm)
    assert "has no version that is replicated to westeurope" in refused(arm, path)
    assert "there is no version 9.0.0" in refused(arm, f"{path}/versions/9.0.0")
    assert "there is no image" in refused(arm, path + "x")
    version(arm, path, "1.0.0", regions=("northeurope",))
    assert "is not replicated to westeurope" in refused(arm, f"{path}/versions/1.0.0")


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"osState": "Specialized"}, "is specialised"),
        ({"architecture": "Arm64"}, "is for Arm64 processors"),
        ({"osType": "Windows"}, "has Windows, and was taken for one with linux"),
        ({"features": [{"name": "SecurityType", "value": "ConfidentialVM"}]}, "is for confidential machines only"),
    ],
)
def test_what_no_machine_can_be_made_of(arm: FakeArm, properties: dict[str, Any], said: str) -> None:
    assert said in refused(arm, gallery(arm, "1.0.0", **properties))


def test_data_disks_and_a_disk_too_large_are_refused(arm: FakeArm) -> None:
    path = gallery(arm)
    version(arm, path, "1.0.0", disks=1)
    assert "has data disks" in refused(arm, path)
    version(arm, path, "2.0.0", size=256)
    assert "has a disk of 256.0 GB, the service plan gives 128 GB" in refused(arm, path)


@pytest.mark.parametrize(
    ("days", "said"),
    [(-10, "has been at its end of life since"), (10, "reaches its end of life on"), (100, None)],
)
def test_an_end_of_life_is_a_warning(arm: FakeArm, days: int, said: str | None) -> None:
    ends = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    path = gallery(arm)
    version(arm, path, "1.0.0", endOfLifeDate=ends)
    assert [w[: len(said)] for w in find(arm, path).warnings] == [said] if said else not find(arm, path).warnings


def test_a_gallery_that_may_not_be_read_waits_for_a_person(arm: FakeArm) -> None:
    path = gallery(arm, "1.0.0")
    arm.fail("GalleryImages_Get", "AuthorizationFailed", times=None)
    with pytest.raises(ProvisioningError) as failed:
        find(arm, path)
    assert failed.value.code is ErrorCode.HOST_REFUSES


# ---- managed images


def managed(arm: FakeArm, location: str | None = None, **disk: Any) -> str:
    path = arm.account.id("images", "old")
    storage = {"osDisk": {"osType": "Linux", "osState": "Generalized", "diskSizeGB": 32, **disk}}
    arm.add(path, "Microsoft.Compute/images", location, hyperVGeneration="V2", storageProfile=storage)
    return path


def test_a_managed_image_has_neither_version_nor_trusted_launch(arm: FakeArm) -> None:
    found = find(arm, path := managed(arm))
    assert found.reference == {"id": path}
    assert (found.exact_version, found.disk_gib, found.generation, found.trusted_launch) == ("", 32, "V2", False)


def test_a_specialised_managed_image_is_refused(arm: FakeArm) -> None:
    assert "is specialised" in refused(arm, managed(arm, osState="Specialized"))


def test_a_managed_image_of_another_subscription_is_refused(arm: FakeArm) -> None:
    path = managed(arm)
    with fails_with(ErrorCode.IMAGE_INVALID, "office", "subscription"):
        find(arm, path, subscriptionId="22222222-2222-4333-8444-555555555555", hostedNetwork=None)


def test_a_managed_image_of_another_region_is_refused(arm: FakeArm) -> None:
    assert "is in northeurope" in refused(arm, managed(arm, "northeurope"))


def test_what_is_found_is_of_the_image_that_was_asked_for(arm: FakeArm) -> None:
    found = images(arm)
    named = image(DEBIAN)
    assert found.find(named, PLAN, Watch()).exact_version == "12.20251110.2"
    other = replace(named, named=MarketplaceImage("Debian", "debian-12", "12-gen2", "1.0.0"))
    assert found.find(other, PLAN, Watch()).exact_version == "1.0.0"
