"""Images of Azure in a policy: read without asking Azure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cloudpc.images import entries, sources
from cloudpc.images.custom import CustomImage
from cloudpc.images.entries import ImageEntry
from cloudpc.images.sources import Places
from cloudpc.machines.azure.image_names import GalleryImage, MarketplaceImage
from cloudpc.machines.azure.image_sources import AzureImageEntry, Marketplace, OwnImages
from cloudpc.model.problems import Problem

OWN = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/gal/images/office"
WINDOWS = "microsoftwindowsdesktop_windows-ent-cpc_win11-24H2-ent-cpc"


def entry(**values: Any) -> ImageEntry:
    problems: list[Problem] = []
    found = entries.read(values, "demo.yaml", "cloudpc:images.office", sources.entries(), problems)
    assert not problems
    assert found is not None
    return found


def own(tmp_path: Path, **values: Any) -> OwnImages:
    return OwnImages(Places(tmp_path, {"office": entry(**values)}))


def untold(*told: object) -> None:
    raise AssertionError(told)


def test_both_are_found_by_their_entry_points(tmp_path: Path) -> None:
    places = Places(tmp_path, {})
    assert any(isinstance(source, Marketplace) for source in sources.of("gallery", places))
    assert any(isinstance(source, OwnImages) for source in sources.of("custom", places))


def test_an_image_of_ones_own_is_its_resource(tmp_path: Path) -> None:
    source = own(tmp_path, azureResourceId=OWN, minimumMemoryInMB=1024)
    used = source.look("office", untold)
    assert used is not None
    image = source.image("office", used.digest, print)
    assert (image.named, image.kind, image.digest) == (GalleryImage(OWN, "s"), "azure", used.digest)
    assert (image.minimum_memory_mib, image.guest_os) == (1024, "linux")


def test_another_version_is_another_image(tmp_path: Path) -> None:
    digests = set()
    for text in (OWN, f"{OWN}/versions/1.0.0", f"{OWN}/versions/2.0.0", OWN.upper().replace("/VERSIONS", "/versions")):
        used = own(tmp_path, azureResourceId=text).look("office", untold)
        assert used is not None
        digests.add(used.digest)
    assert len(digests) == 3


def test_one_entry_has_a_form_for_each_kind_of_hosts(tmp_path: Path) -> None:
    both = entry(path="office.qcow2", sha256="ab" * 32, azureResourceId=OWN)
    assert [isinstance(both, model) for model in (AzureImageEntry, CustomImage)] == [True, True]


def test_a_version_of_the_marketplace_may_have_an_entry(tmp_path: Path) -> None:
    source = own(tmp_path, azureResourceId="Debian:debian-12:12-gen2:12.20251110.2")
    assert source.image("office", "ab", print).named == MarketplaceImage(
        "Debian", "debian-12", "12-gen2", "12.20251110.2"
    )


@pytest.mark.parametrize("value", ["", "office", "/subscriptions/s/resourceGroups/g", f"{OWN}/versions/", "a_b"])
def test_what_names_no_image_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="must be the id of an image"):
        AzureImageEntry.model_validate({"azureResourceId": value})


def test_an_entry_without_a_form_in_azure_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    source = own(tmp_path, path="office.qcow2", sha256="ab" * 32)
    assert not source.has("office")
    assert source.look("office", lambda field, message, _: told.append((field, message))) is None
    assert told == [("cloudpc:images.office", "needs azureResourceId for the hosts of the policy")]


def test_windows_365s_names_of_gallery_images_are_the_marketplaces(tmp_path: Path) -> None:
    source = Marketplace(Places(tmp_path / "stacks", {}))
    assert source.has(WINDOWS)
    used = source.look(WINDOWS, untold)
    assert used is not None
    assert used.guest_os == "windows"
    image = source.image(WINDOWS, used.digest, print)
    assert image.named == MarketplaceImage("microsoftwindowsdesktop", "windows-ent-cpc", "win11-24H2-ent-cpc")
    assert image.guest_os == "windows"


def test_a_recipe_has_what_stands_in_for_it(tmp_path: Path) -> None:
    recipes = tmp_path / "vm-images"
    recipes.mkdir()
    (recipes / "counterparts.yaml").write_text("debian-12: {azure: Debian_debian-12_12-gen2}\n")
    source = Marketplace(Places(tmp_path / "stacks", {}))
    assert source.has("debian-12")
    assert source.image("debian-12", "ab", print).named == MarketplaceImage("Debian", "debian-12", "12-gen2")
    told: list[str] = []
    assert not source.has("micro")
    assert source.look("micro", lambda _field, message, _found: told.append(message)) is None
    assert "publisher_offer_sku" in told[0]
    assert "counterparts.yaml" in told[0]
