"""A subnet's id, taken apart and put together."""

from __future__ import annotations

import pytest

from cloudpc.machines.azure.subnet_ids import SubnetId

SUBSCRIPTION = "00000000-0000-4000-8000-00000000000a"
HUB = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/hub"
PCS = f"{HUB}/subnets/cloudpcs"


def test_an_id_says_where_its_subnet_is() -> None:
    subnet = SubnetId.parse(PCS)
    assert subnet == (SUBSCRIPTION, "rg-net", "hub", "cloudpcs")
    assert (subnet.path, subnet.network_path) == (PCS, HUB)


def test_case_does_not_matter_in_what_is_no_name() -> None:
    assert SubnetId.parse(PCS.replace("resourceGroups", "resourcegroups").replace("Microsoft.N", "microsoft.n"))


def test_a_bare_name_goes_with_a_virtual_network() -> None:
    assert SubnetId.within(HUB, "cloudpcs") == SubnetId.parse(PCS)
    assert SubnetId.within(PCS, "cloudpcs") is None
    assert SubnetId.within(HUB, "cloud/pcs") is None


@pytest.mark.parametrize("wrong", ["", HUB, "cloudpcs", f"{PCS}/x", f"{PCS}\n", PCS.replace("hub", "..")])
def test_other_texts_are_no_subnet(wrong: str) -> None:
    assert SubnetId.parse(wrong) is None
