"""An entry of cloudpc:hosts with kind azure: all that is wrong is reported at once, with what to write instead."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cloudpc.configuration import hosts, parsing
from cloudpc.connections import files
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.driver import DRIVER
from cloudpc.machines.azure.tags import to_tags
from cloudpc.model.tags import Tag
from tests.support.project import REPO

SUBSCRIPTION = "11111111-2222-4333-8444-55555555aaaa"
OTHER = "99999999-2222-4333-8444-55555555aaaa"
NETWORK = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/hub"
SUBNET = f"{NETWORK}/subnets/cloudpcs"
BASTION = NETWORK.replace("virtualNetworks/hub", "bastionHosts/b")
PLAN = "aaaaaaaa-2222-4333-8444-555555555555"
ENTRY = {
    "name": "weu", "kind": "azure", "subscriptionId": SUBSCRIPTION, "resourceGroup": "rg", "location": "westeurope",
}  # fmt: skip


def told(*entries: dict[str, Any]) -> list[str]:
    """What is said of these entries, without the file."""
    problems: list[Any] = []
    found = hosts.read(list(entries), "f.yaml", problems)
    assert bool(found) != bool(problems)
    return [str(problem).removeprefix("f.yaml: cloudpc:hosts") for problem in problems]


def test_an_entry_with_everything() -> None:
    full = ENTRY | {
        "tenantId": "contoso.com", "auth": "cli", "cloud": "china", "sizeFamilies": ["standardDASv5Family"],
        "sizes": {PLAN: ["Standard_D2as_v5"]}, "zones": ["1", 2], "diskType": "Premium_ZRS", "hostedNetwork": SUBNET,
        "bastion": BASTION, "tags": {"costCenter": "4711"}, "licenseType": "Windows_Client", "maxCloudPCs": 5,
        "deallocateStopped": True,
    }  # fmt: skip
    assert told(full) == []
    assert AzureHostConfig.model_validate(full).zones == ("1", "2")


def test_all_that_is_missing_is_told_at_once() -> None:
    assert told({"name": "weu", "kind": "azure"}) == [
        "[0].subscriptionId: is required", "[0].resourceGroup: is required", "[0].location: is required",
    ]  # fmt: skip


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "name": "weu", "kind": "azure", "subscriptionId": "Pay-As-You-Go", "resourceGroup": f"{NETWORK}/rg",
        "location": "West Europe", "diskType": "Standard_LRS", "zone": ["1"], "maxCloudPCs": 0, "tags": {"a": 1},
    }  # fmt: skip
    assert [line.partition(":")[0] for line in told(wrong)] == [
        "[0].subscriptionId", "[0].resourceGroup", "[0].location", "[0].diskType", "[0].tags.a", "[0].maxCloudPCs",
        "[0].zone",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("subscriptionId", "Pay-As-You-Go", "must be a subscription's id, as `az account show --query id` has it"),
        ("subscriptionId", f"/subscriptions/{SUBSCRIPTION}", "must be a subscription's id"),
        ("resourceGroup", f"/subscriptions/{OTHER}/resourceGroups/rg", "must be the group's name alone"),
        ("resourceGroup", "", "must be 1 to 90 letters"),
        ("resourceGroup", "rg.", "not end with a ."),
        ("location", "West Europe", "must be a region's short name, such as westeurope;"),
        ("location", "", "such as westeurope"),
        ("tenantId", "contoso com", "must be a tenant's id or domain"),
        ("auth", "secret", "must be 'default', 'cli', 'environment' or 'token'"),
        ("cloud", "germany", "must be 'public', 'usGovernment' or 'china'"),
        ("endpoint", "https://management.azure.com", "is for tests"),
        ("endpoint", "http://127.0.0.1:80@evil.example", "is for tests"),
        ("sizeFamilies", ["Standard_D2as_v5"], "Standard_D2as_v5 belong in sizes"),
        ("sizeFamilies", ["a", "a"], "has a more than once"),
        ("sizes", {"Cloud PC 2/4": ["Standard_D2as_v5"]}, "goes by the ids of service plans"),
        ("sizes", {PLAN: []}, f"names no size for {PLAN}"),
        ("sizes", {PLAN: ["standardDASv5Family"]}, "names sizes, such as Standard_D2as_v5; not standardDASv5Family"),
        ("zones", ["west"], "names zones by their numbers"),
        ("zones", [1, "1"], "has 1 more than once"),
        ("diskType", "Standard_LRS", "Azure ends for systems on 2028-09-08; write StandardSSD_LRS"),
        ("diskType", "UltraSSD_LRS", "must be StandardSSD_LRS, StandardSSD_ZRS, Premium_LRS or Premium_ZRS"),
        ("hostedNetwork", "user", "must be a subnet's whole id"),
        ("hostedNetwork", NETWORK, "must be a subnet's whole id"),
        ("hostedNetwork", SUBNET.replace(SUBSCRIPTION, OTHER), "is of another subscription"),
        ("bastion", "b", "must be a Bastion's whole id"),
        ("licenseType", "RHEL_BYOS", "must be Windows_Client or Windows_Server"),
        ("tags", {"CloudPC-user": "x"}, "names may not begin with cloudpc-, microsoft, azure, windows or hidden-"),
        ("tags", {"a/b": "x"}, "none of < > % & \\ ? /"),
        ("tags", {"a" * 513: "x"}, "names have up to 512 letters"),
        ("tags", {"a": "x" * 257}, "has a value of 257 letters for 'a': Azure takes 256"),
        ("tags", {"Team": "x", "team": "y"}, "has Team and team, which are one name to Azure"),
        ("tags", {f"t{n}": "x" for n in range(31)}, "has 31: Azure takes 50, and cloudpc needs 20 of them"),
        ("uri", "qemu:///system", "is not a known field"),
    ],
)  # fmt: skip
def test_what_is_wrong_says_what_to_write(field: str, value: Any, words: str) -> None:
    found = told(ENTRY | {field: value})
    assert len(found) == 1, found
    assert found[0].startswith(f"[0].{field}: ")
    assert words in found[0]


def test_our_own_tags_have_room() -> None:
    tag = Tag("i", "p", "u", "plan", 1, "CPC", "s", attempt="a", made_with="{}")
    assert len(to_tags(tag)) + 5 <= 20, "and those of making and size"


def test_two_hosts_of_one_group_are_one_whatever_their_region() -> None:
    spelled = {
        "subscriptionId": SUBSCRIPTION.upper(),
        "resourceGroup": "RG",
        "name": "other",
        "location": "northeurope",
    }
    assert told(ENTRY, ENTRY | spelled) == [
        f': two hosts have the same subscriptionId and resourceGroup (found "{SUBSCRIPTION}/rg")'
    ]
    assert told(ENTRY, ENTRY | {"name": "neu", "resourceGroup": "rg-neu"}) == []


def test_cloud_and_tenant_are_those_of_graph_unless_the_entry_says_otherwise() -> None:
    graph = {"endpoint": "https://dod-graph.microsoft.us", "tenantId": "contoso.us"}
    own = ENTRY | {"name": "own", "resourceGroup": "rg-east", "cloud": "china", "tenantId": "fabrikam.cn"}
    found = parsing.parse_surroundings({"cloudpc:hosts": [ENTRY, own], "cloudpc:graph": graph}).hosts
    assert [(h.cloud, h.tenant_id) for h in found if isinstance(h, AzureHostConfig)] == [
        ("usGovernment", "contoso.us"), ("china", "fabrikam.cn"),
    ]  # fmt: skip
    (alone,) = parsing.parse_surroundings({"cloudpc:hosts": [ENTRY]}).hosts
    assert isinstance(alone, AzureHostConfig)
    assert (alone.cloud, alone.tenant_id) == ("public", None)


# ---- a connection's file

MODEL = files.model({"azure": DRIVER})


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"subnetId": "cloudpcs"}, "subnetId", "or the subnet's name beside virtualNetworkId"),
        ({"subnetId": "a/b", "virtualNetworkId": NETWORK}, "subnetId", "must be a subnet's name"),
        ({"subnetId": "cloudpcs", "virtualNetworkId": "hub"}, "virtualNetworkId", "must be a network's whole id"),
        ({"subnetId": SUBNET, "virtualNetworkId": f"{NETWORK}2"}, "subnetId", "of another network than virtual"),
        ({"subnetId": SUBNET, "subscriptionId": OTHER}, "subscriptionId", "is of another subscription"),
        ({"subnetId": SUBNET, "subscriptionId": "x"}, "subscriptionId", "must be a subscription's id"),
        ({"subnetId": SUBNET, "resourceGroupId": "rg"}, "resourceGroupId", "must be a group's whole id"),
        ({"hostedNetwork": True, "virtualNetworkId": NETWORK}, "virtualNetworkId", "only with subnetId"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_subnet(fields: dict[str, Any], field: str, words: str) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        MODEL.model_validate(fields)
    (error,) = caught.value.errors()
    assert error["loc"] == (field,)
    assert words in error["msg"]


def test_what_goes_together_is_taken() -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    MODEL.model_validate({"subnetId": SUBNET, "virtualNetworkId": NETWORK.upper(), "subscriptionId": SUBSCRIPTION})
    MODEL.model_validate({"subnetId": "cloudpcs", "virtualNetworkId": NETWORK, "resourceGroupId": group})


# ---- what starts


def test_reading_an_entry_imports_none_of_azures_libraries() -> None:
    code = (
        f"from cloudpc.configuration import hosts; assert hosts.read([{ENTRY}], 'f', [])\n"
        "import sys; assert not [m for m in sys.modules if m.partition('.')[0] in ('azure', 'requests', 'msal')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_opening_a_host_asks_nothing_and_imports_little() -> None:
    code = (
        "from cloudpc.machines.azure.driver import DRIVER\n"
        f"DRIVER.open(DRIVER.config.model_validate({ENTRY})).close()\n"
        "import sys; assert not [m for m in sys.modules if m.startswith('azure.mgmt')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [["policy", "validate"], ["policy", "schema"], ["list", "--help"]])
def test_commands_start_without_azures_libraries_where_no_host_is_there(command: list[str]) -> None:
    code = (
        "import sys\n"
        "from cloudpc.cli.main import main\n"
        # 2: on a new machine the demo's image is not built yet
        "try:\n    main()\nexcept SystemExit as done:\n    assert done.code in (None, 0, 2), done.code\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'azure']"
    )
    ran = subprocess.run([sys.executable, "-c", code, *command], cwd=REPO, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
