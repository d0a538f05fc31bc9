"""Names of images of Azure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.machines.azure.image_names import (
    GalleryImage,
    ManagedImage,
    MarketplaceImage,
    numbers,
    of_marketplace,
    of_resource,
)

GALLERY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/gal/images/office"
_PARTS = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,9}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("microsoftwindowsdesktop_windows-ent-cpc_win11-24H2-ent-cpc",
         MarketplaceImage("microsoftwindowsdesktop", "windows-ent-cpc", "win11-24H2-ent-cpc")),
        ("Debian_debian-12_12-gen2", MarketplaceImage("Debian", "debian-12", "12-gen2")),
        ("a_b_c_d", MarketplaceImage("a", "b", "c_d")),
        ("Canonical:ubuntu-24_04-lts:server", MarketplaceImage("Canonical", "ubuntu-24_04-lts", "server")),
        ("Debian:debian-12:12-gen2:12.20251110.2", MarketplaceImage("Debian", "debian-12", "12-gen2", "12.20251110.2")),
        ("debian-12", None),
        ("my_image", None),
        ("a__c", None),
        ("a_b_", None),
        ("a_b_c/d", None),
        ("a:b:c:d:e", None),
        ("", None),
    ],
)  # fmt: skip
def test_of_the_marketplace(text: str, named: MarketplaceImage | None) -> None:
    assert of_marketplace(text) == named


@given(_PARTS, _PARTS, _PARTS, _PARTS)
def test_it_is_read_as_it_is_shown(publisher: str, offer: str, sku: str, version: str) -> None:
    named = MarketplaceImage(publisher, offer, sku, version)
    assert of_marketplace(str(named)) == named
    assert of_marketplace(f"{publisher}_{offer}_{sku}") == MarketplaceImage(publisher, offer, sku)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GALLERY, GalleryImage(GALLERY, "s")),
        (f"{GALLERY}/", GalleryImage(GALLERY, "s")),
        (f"{GALLERY}/versions/1.2.3", GalleryImage(GALLERY, "s", "1.2.3")),
        (GALLERY.lower(), GalleryImage(GALLERY.lower(), "s")),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/old",
         ManagedImage("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/old", "s")),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d", None),
        ("/CommunityGalleries/x/Images/y", None),
        (f"{GALLERY}/versions/", None),
        (f"{GALLERY}/versions/1/more", None),
        ("office", None),
    ],
)  # fmt: skip
def test_of_a_resource(text: str, named: GalleryImage | ManagedImage | None) -> None:
    assert of_resource(text) == named


def test_versions_are_compared_by_their_numbers() -> None:
    assert numbers("1.10.0") > numbers("1.9.0")
    assert numbers("12.20251110.2") > numbers("1.0.0")


@pytest.mark.parametrize(
    ("publisher", "system"),
    [("MicrosoftWindowsDesktop", "windows"), ("microsoftwindowsserver", "windows"), ("Debian", "linux")],
)
def test_a_publisher_tells_the_system(publisher: str, system: str) -> None:
    assert MarketplaceImage(publisher, "o", "s").guest_os == system
