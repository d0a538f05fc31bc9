"""Machines that join Microsoft Entra by the extension AADLoginForWindows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.azure.arm import FakeArm
from tests.azure.back_ends import Vm
from tests.azure.client import Got, Http
from tests.azure.entra import LONG_NAME, NO_IDENTITY, NO_WAY_OUT, WRONG_SYSTEM
from tests.azure.test_orders import windows_body
from tests.tenant.fixtures import DIRECTORY
from tests.tenant.sign_in import SignIn
from tests.tenant.tenant import Tenant

INTUNE = "0000000a-0000-0000-c000-000000000000"


def windows(arm: FakeArm, http: Http, name: str = "cpc123", computer: str = "CPC-1", identity: bool = True) -> None:
    http.nic(f"{name}-nic")
    body = windows_body(arm, computerName=computer)
    body["properties"]["storageProfile"]["osDisk"]["name"] = f"{name}-os"
    body["properties"]["networkProfile"]["networkInterfaces"] = [
        {"id": arm.account.id("networkInterfaces", f"{name}-nic")}
    ]
    if identity:
        body["identity"] = {"type": "SystemAssigned"}
    http.follow(http.put(f"virtualMachines/{name}", body))


def join(arm: FakeArm, http: Http, name: str = "cpc123", **settings: Any) -> Got:
    extension = {
        "location": arm.account.location,
        "properties": {
            "publisher": "Microsoft.Azure.ActiveDirectory", "type": "AADLoginForWindows", "typeHandlerVersion": "1.0",
            "autoUpgradeMinorVersion": True, "settings": settings,
        },
    }  # fmt: skip
    got = http.put(f"virtualMachines/{name}/extensions/AADLoginForWindows", extension)
    assert got.status in (200, 201), got.body
    return http.follow(got)


def dsregcmd(arm: FakeArm, http: Http, name: str = "cpc123") -> str:
    command = {"location": arm.account.location, "properties": {"source": {"script": "dsregcmd /status"}}}
    http.follow(http.put(f"virtualMachines/{name}/runCommands/d", command))
    view = http.get(f"virtualMachines/{name}/runCommands/d?$expand=instanceView").body["properties"]["instanceView"]
    return str(view["output"])


def test_a_machine_joins_and_says_its_device(arm: FakeArm, http: Http) -> None:
    windows(arm, http)
    vm = http.get("virtualMachines/cpc123?$expand=instanceView").body
    assert vm["identity"]["principalId"]
    assert vm["properties"]["instanceView"]["rdpThumbPrint"]
    assert "AzureAdJoined : NO" in dsregcmd(arm, http)
    assert join(arm, http, mdmId=INTUNE).body["status"] == "Succeeded"
    said = re.search(r"DeviceId : (\S+)", dsregcmd(arm, http))
    assert said
    (device,) = arm.entra.devices.values()
    assert said[1] == device
    assert arm.entra.enrolled == {arm.account.id("virtualMachines", "cpc123").lower()}
    http.follow(http.delete("virtualMachines/cpc123"))
    assert arm.entra.devices  # nobody takes it away with the machine


def test_without_intune(arm: FakeArm, http: Http) -> None:
    windows(arm, http)
    assert join(arm, http, mdmId="").body["status"] == "Succeeded"
    assert not arm.entra.enrolled


def test_devices_may_be_a_tenants(arm: FakeArm, http: Http) -> None:
    seen: list[tuple[str, bool]] = []

    def joined(vm: Vm, managed: bool) -> str:
        seen.append((vm.computer_name, managed))
        return "a-device"

    arm.entra.on_join = joined
    windows(arm, http)
    join(arm, http, mdmId=INTUNE)
    assert seen == [("CPC-1", True)]
    assert "DeviceId : a-device" in dsregcmd(arm, http)


def test_devices_of_the_fake_tenant(arm: FakeArm, http: Http, tmp_path: Path) -> None:
    directory = tmp_path / "directory.yaml"
    directory.write_text(DIRECTORY, encoding="utf-8")
    with Tenant(directory) as tenant:
        arm.entra.belongs_to(tenant)
        windows(arm, http)
        join(arm, http, mdmId=INTUNE)
        (device,) = tenant.devices.values()
        vm_id = arm.account.id("virtualMachines", "cpc123")
        assert (device["displayName"], device["physicalIds"]) == ("CPC-1", [f"[AzureResourceId]:{vm_id}"])
        assert device["deviceId"] in dsregcmd(arm, http)
        assert len(tenant.managed_devices) == 1
        windows(arm, http, "cpc456", "CPC-1")
        assert "hostname_duplicate" in join(arm, http, "cpc456", mdmId="").message
        tenant.devices.clear()
        assert join(arm, http, "cpc456", mdmId="").body["status"] == "Succeeded"
    assert not tenant.violations


def test_what_lets_a_join_fail(arm: FakeArm, http: Http) -> None:
    windows(arm, http, identity=False)
    ended = join(arm, http, mdmId="")
    assert ended.code == "VMExtensionProvisioningError"
    assert str(NO_IDENTITY) in ended.message
    windows(arm, http, "cpc1234567890abcd", "CPC-2")
    assert str(LONG_NAME) in join(arm, http, "cpc1234567890abcd", mdmId="").message
    windows(arm, http, "cpc2", "CPC-3")
    assert "'mdmId' setting was not found" in join(arm, http, "cpc2").message
    assert join(arm, http, "cpc2", mdmId="").body["status"] == "Succeeded"  # tried once more
    windows(arm, http, "cpc3", "cpc-3")
    assert "hostname_duplicate" in join(arm, http, "cpc3", mdmId="").message
    arm.entra.exit_code = NO_WAY_OUT
    windows(arm, http, "cpc4", "CPC-4")
    assert str(NO_WAY_OUT) in join(arm, http, "cpc4", mdmId="").message
    arm.entra.exit_code = None
    http.made()
    assert str(WRONG_SYSTEM) in join(arm, http, "vm", mdmId="").message


def test_an_extension_that_failed_blocks_all_others(arm: FakeArm, http: Http) -> None:
    windows(arm, http)
    arm.fail("VirtualMachineExtensions_CreateOrUpdate", "VMExtensionHandlerNonTransientError", asynchronous=True)
    assert join(arm, http, mdmId="").code == "VMExtensionHandlerNonTransientError"
    other = {
        "location": arm.account.location,
        "properties": {"publisher": "p", "type": "t", "typeHandlerVersion": "1.0", "settings": {}},
    }  # fmt: skip
    path = "virtualMachines/cpc123/extensions/other"
    assert "blocked" in http.follow(http.put(path, other)).message
    http.follow(http.delete("virtualMachines/cpc123/extensions/AADLoginForWindows"))
    assert http.follow(http.put(path, other)).body["status"] == "Succeeded"
    shown = http.get(f"{path}?$expand=instanceView").body["properties"]
    assert shown["instanceView"]["statuses"][0]["code"] == "ProvisioningState/succeeded"


def test_sign_in_of_the_fake_tenant_gives_tokens_for_it(arm: FakeArm, tmp_path: Any) -> None:
    from azure.identity import ClientSecretCredential

    directory = tmp_path / "directory.yaml"
    directory.write_text(DIRECTORY, encoding="utf-8")
    with Tenant(directory) as tenant, SignIn(tenant, tmp_path) as sign_in:
        credential = ClientSecretCredential(
            tenant.tenant_id, sign_in.application.client_id, sign_in.application.secret,
            authority=sign_in.authority, connection_verify=str(sign_in.ca), disable_instance_discovery=True,
        )  # fmt: skip
        token = credential.get_token("https://management.azure.com/.default").token
        credential.close()
        with Http(arm, token) as client:
            assert client.get("networkInterfaces").code == "InvalidAuthenticationTokenTenant"
    with FakeArm(account=type(arm.account)(tenant=tenant.tenant_id)) as same, Http(same, token) as client:
        assert client.get("networkInterfaces").status == 200
