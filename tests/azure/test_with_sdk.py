"""The main ways through Azure with Microsoft's own clients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.azure.arm import FakeArm
from tests.azure.client import nic_body, vm_body


@dataclass
class Clients:
    compute: Any
    network: Any


@pytest.fixture
def azure(arm: FakeArm) -> Iterator[Clients]:
    from azure.core.credentials import AccessToken
    from azure.mgmt.compute import ComputeManagementClient
    from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
    from azure.mgmt.network import NetworkManagementClient

    class Static:
        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            return AccessToken(arm.token(), int(time.time()) + 3600)

    class Loopback(ARMChallengeAuthenticationPolicy):
        def on_request(self, request: Any) -> None:
            request.context.options.setdefault("enforce_https", False)
            super().on_request(request)

    def client(kind: Any) -> Any:
        scope = "https://management.azure.com/.default"
        return kind(
            Static(), arm.account.subscription, base_url=arm.url, credential_scopes=[scope],
            authentication_policy=Loopback(Static(), scope), polling_interval=0, retry_total=3, retry_status=3,
        )  # fmt: skip

    with client(ComputeManagementClient) as compute, client(NetworkManagementClient) as network:
        yield Clients(compute, network)


@pytest.mark.parametrize("style", ["both", "async", "location"])
def test_a_machine_from_its_order_to_its_end(arm: FakeArm, azure: Clients, style: Any) -> None:
    from azure.core import MatchConditions

    arm.operations.style = style
    group = arm.account.group
    nic = azure.network.network_interfaces.begin_create_or_update(group, "nic", nic_body(arm)).result()
    assert nic.ip_configurations[0].private_ip_address == "10.0.0.4"
    vm = azure.compute.virtual_machines.begin_create_or_update(
        group, "vm", vm_body(arm), etag="*", match_condition=MatchConditions.IfMissing
    ).result()
    assert (vm.provisioning_state, vm.name) == ("Succeeded", "vm")
    view = azure.compute.virtual_machines.instance_view(group, "vm")
    assert [s.code for s in view.statuses] == ["ProvisioningState/succeeded", "PowerState/running"]
    assert [s.display_status for s in view.vm_agent.statuses] == ["Ready"]
    arm.table.answer("uname", output="Linux\n")
    command = {
        "location": arm.account.location,
        "properties": {"source": {"script": "uname"}, "asyncExecution": True},
    }  # fmt: skip
    azure.compute.virtual_machine_run_commands.begin_create_or_update(group, "vm", "c", command).result()
    ran = azure.compute.virtual_machine_run_commands.get_by_virtual_machine(group, "vm", "c", expand="instanceView")
    assert (ran.instance_view.execution_state, ran.instance_view.output) == ("Succeeded", "Linux\n")
    azure.compute.virtual_machine_run_commands.begin_delete(group, "vm", "c").result()
    azure.compute.virtual_machines.begin_deallocate(group, "vm").result()
    azure.compute.virtual_machines.begin_start(group, "vm").result()
    assert [d.name for d in azure.compute.disks.list_by_resource_group(group)] == ["nic-os"]
    azure.compute.virtual_machines.begin_delete(group, "vm", force_deletion=True).result()
    azure.network.network_interfaces.begin_delete(group, "nic").result()
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}


def test_what_is_there_is_listed(arm: FakeArm, azure: Clients) -> None:
    sizes = {s.name: s for s in azure.compute.resource_skus.list(filter="location eq 'westeurope'")}
    capabilities = {c.name: c.value for c in sizes["Standard_D2as_v5"].capabilities}
    assert (capabilities["vCPUs"], capabilities["MemoryGB"]) == ("2", "8")
    assert {u.name.value for u in azure.compute.usage.list("westeurope")} >= {"cores", "standardDASv5Family"}
    image = azure.compute.virtual_machine_images.get("westeurope", "Debian", "debian-12", "12-gen2", "latest")
    assert (image.hyper_v_generation, image.os_disk_image.operating_system) == ("V2", "Linux")
    subnet = azure.network.subnets.get(arm.account.group, arm.account.network, arm.account.subnet)
    assert subnet.address_prefix == "10.0.0.0/24"
    (usage,) = azure.network.virtual_networks.list_usage(arm.account.group, arm.account.network)
    assert (usage.id, usage.current_value, usage.limit) == (arm.account.subnet_id, 0, 251)


def test_errors_are_as_the_client_expects_them(arm: FakeArm, azure: Clients) -> None:
    from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

    with pytest.raises(ResourceNotFoundError) as missing:
        azure.compute.virtual_machines.get(arm.account.group, "vm")
    assert missing.value.error is not None
    assert missing.value.error.code == "ResourceNotFound"
    azure.network.network_interfaces.begin_create_or_update(arm.account.group, "nic", nic_body(arm)).result()
    arm.fail("VirtualMachines_CreateOrUpdate", "SkuNotAvailable")
    with pytest.raises(ResourceExistsError) as refused:
        azure.compute.virtual_machines.begin_create_or_update(arm.account.group, "vm", vm_body(arm))
    assert refused.value.error is not None
    assert refused.value.error.code == "SkuNotAvailable"
    arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", asynchronous=True)
    with pytest.raises(HttpResponseError) as failed:
        azure.compute.virtual_machines.begin_create_or_update(arm.account.group, "vm", vm_body(arm)).result()
    assert failed.value.error is not None
    assert (failed.value.status_code, failed.value.error.code) == (200, "AllocationFailed")


def test_the_client_waits_as_it_is_told(arm: FakeArm, azure: Clients) -> None:
    arm.throttle("Usage_List", retry_after=1)
    assert list(azure.compute.usage.list("westeurope"))
    assert [r.status for r in arm.requests("Usage_List")] == [429, 200]
