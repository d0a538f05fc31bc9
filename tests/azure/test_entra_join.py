"""Windows guests join Microsoft Entra by Azure's extension, and say which device they are."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cloudpc import guests
from cloudpc.machines.azure import entra_join
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.guest import AzureGuest
from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.image_names import MarketplaceImage
from cloudpc.machines.azure.images import AzureImage
from cloudpc.machines.azure.readiness import wait_until_ready
from cloudpc.model.access import Rdp
from cloudpc.model.cloud_pc import Account
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.machines import Amount, Order
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.back_ends import Command, Outcome, Vm
from tests.azure.client import Http
from tests.azure.entra import LONG_NAME, NO_IDENTITY, NO_WAY_OUT, WRONG_SYSTEM
from tests.azure.hosts import azure_order, host_config
from tests.azure.test_entra import windows

_WINDOWS = guests.named("windows")
_PUT = "VirtualMachineExtensions_CreateOrUpdate"
_THUMBPRINT = "AB" * 32
_ONE = re.compile(r"^One (\d+) [\d.]+ \d+ @'\n(.*?)\n'@", re.MULTILINE | re.DOTALL)


@pytest.fixture
def ours(arm: FakeArm, http: Http, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """What the driver reaches it by; there is a machine `cpc123` with Windows."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    windows(arm, http)

    def says(vm: Vm, command: Command) -> Outcome:
        """What the guest says to each of the scripts that were joined."""
        lines = []
        for number, text in _ONE.findall(command.script):
            status = f"system Windows 11 Enterprise 24H2\nthumbprint {_THUMBPRINT}\n{_device(arm.entra.status(vm))}"
            said = status if "dsregcmd" in text else ""
            lines.append(f"cloudpc-script {number} 0 {base64.b64encode(said.encode()).decode()}")
        return Outcome(output="\r\n".join([*lines, "cloudpc-done 0", ""]))

    arm.table.answer("", says)
    found = Arm(host_config(arm))
    yield found
    found.close()


def _device(status: str) -> str:
    found = re.search(r"DeviceId : (\S+)", status)
    return f"device {found[1]}\n" if found else ""


def refused(ours: Arm, watch: Watch | None = None) -> ProvisioningError:
    """Why it could not join."""
    with pytest.raises(ProvisioningError) as error:
        entra_join.join(ours, "cpc123", watch or Watch())
    return error.value


def test_it_joins_is_enrolled_and_says_its_device(arm: FakeArm, ours: Arm) -> None:
    wait_until_ready(ours, "cpc123", _WINDOWS, Watch().within(20))
    device = entra_join.join(ours, "cpc123", Watch())
    assert device == UUID(next(iter(arm.entra.devices.values())))
    [said] = AzureGuest(ours, "cpc123").run([_WINDOWS.facts()], Watch())
    facts = _WINDOWS.read(said.output)
    assert facts.device_id == device
    assert (facts.version, facts.proof) == ("Windows 11 Enterprise 24H2", _THUMBPRINT)
    assert arm.entra.enrolled
    [sent] = arm.requests(_PUT)
    assert sent.body["properties"]["settings"] == {"mdmId": "0000000a-0000-0000-c000-000000000000"}


def test_a_whole_provisioning_is_never_throttled(arm: FakeArm, ours: Arm) -> None:
    """First boot, set-up with facts, join, password: nine of the twelve writes that a machine may take at once."""
    arm.clock.speed = 0
    arm.log.clear()
    wait_until_ready(ours, "cpc123", _WINDOWS, Watch().within(20))
    AzureGuest(ours, "cpc123").run([_WINDOWS.facts()], Watch())
    entra_join.join(ours, "cpc123", Watch())
    AzureGuest(ours, "cpc123").run([_WINDOWS.password("alice", "hunter2")], Watch())
    assert len([logged for logged in arm.log if logged.method != "GET"]) == 9
    assert not [logged for logged in arm.log if logged.status == 429]


def test_without_intune_that_is_said_too(arm: FakeArm, ours: Arm) -> None:
    entra_join.join(ours, "cpc123", Watch(), mdm_id="")
    assert not arm.entra.enrolled
    assert arm.requests(_PUT)[0].body["properties"]["settings"] == {"mdmId": ""}


def test_one_that_has_joined_is_left_alone(arm: FakeArm, ours: Arm) -> None:
    for _ in range(2):
        entra_join.join(ours, "cpc123", Watch())
    assert arm.count(_PUT) == 1


@pytest.mark.parametrize(
    ("code", "cause", "hint"),
    [
        (NO_IDENTITY, "it has no system-assigned identity (-2145648574)", "made again"),
        (NO_WAY_OUT, "it can't reach Microsoft Entra (-2145648607)", "enterpriseregistration.windows.net"),
        (WRONG_SYSTEM, "its system can't join (51)", "Windows 11 24H2"),
        (LONG_NAME, "Entra refuses the name of the virtual machine (-2145648639)", "15 characters"),
        (-1, "AAD Join failed with status code: -1", "enterpriseregistration.windows.net"),
    ],
)
def test_why_it_could_not_is_said_in_words(arm: FakeArm, ours: Arm, code: int, cause: str, hint: str) -> None:
    arm.entra.exit_code = code
    error = refused(ours)
    assert (error.code, error.retriable) == (ErrorCode.DEVICE_REGISTRATION_FAILED, True)
    assert error.message.startswith("cpc123 on weu could not join Microsoft Entra: ")
    assert cause in error.message
    assert hint in error.hint


def test_a_device_of_its_name_is_in_the_way(arm: FakeArm, ours: Arm) -> None:
    arm.entra.names.add("cpc-1")
    error = refused(ours)
    assert "a device of its name is in Entra already" in error.message
    assert "%RAND:5%" in error.hint


def test_one_that_never_ends_is_given_up_in_time(arm: FakeArm, ours: Arm) -> None:
    arm.delays.extension = 3600
    error = refused(ours, Watch().within(0.5))
    assert error.code is ErrorCode.DEVICE_REGISTRATION_FAILED
    assert "has not joined Microsoft Entra" in error.message


def test_cancel_ends_the_wait(arm: FakeArm, ours: Arm) -> None:
    arm.delays.extension = 3600
    watch = Watch()
    watch.cancel.cancel()
    with pytest.raises(Cancelled):
        entra_join.join(ours, "cpc123", watch)


def test_a_machine_that_is_gone_has_died(ours: Arm, http: Http) -> None:
    http.follow(http.delete("virtualMachines/cpc123"))
    assert refused(ours).code is ErrorCode.GUEST_DIED


def test_secrets_of_windows_are_protected_parameters(arm: FakeArm, ours: Arm) -> None:
    script = _WINDOWS.password("alice", "hunter2")
    assert AzureGuest(ours, "cpc123").run([script], Watch()) == [Completed(0, "")]
    [sent] = arm.requests("VirtualMachineRunCommands_CreateOrUpdate")
    properties = sent.body["properties"]
    assert {each["value"] for each in properties.pop("protectedParameters")} == {"alice", "hunter2"}
    assert "hunter2" not in str(properties)
    assert properties["source"]["script"].startswith("param(")


def test_scripts_of_two_kinds_are_never_sent_as_one(ours: Arm) -> None:
    with pytest.raises(ValueError, match="one kind"):
        AzureGuest(ours, "cpc123").run([_WINDOWS.facts(), Script("true", timeout=1)], Watch())


# ---- by the host


@pytest.fixture
def host(arm: FakeArm, ours: Arm) -> Iterator[AzureHost]:
    """One whose guests say what those of `ours` do."""
    del ours
    found = AzureHost(host_config(arm))
    yield found
    found.close()


def windows_order(**changes: Any) -> Order:
    """A machine that is to join."""
    size = Amount(vcpus=2, memory_mib=8192, disk_gib=128)
    name = "MicrosoftWindowsDesktop_windows-ent-cpc_win11-24H2-ent-cpc"
    named = MarketplaceImage(*name.split("_"))
    image = AzureImage(image_id=name, digest="cd" * 32, named=named, guest_os=named.guest_os)
    seed = _WINDOWS.seed(
        instance_id="i-1", device_name="CPC-2", account=Account(name="alice", display_name="A"), local_admin=True
    )
    order = azure_order(size=size)
    tag = replace(order.tag, device_name="CPC-2")
    return replace(order, tag=tag, image=lambda _watch: image, seed=lambda _image: seed, joins_entra=True, **changes)


def test_a_host_makes_a_windows_machine_that_joins_and_is_reached_by_remote_desktop(
    arm: FakeArm, host: AzureHost
) -> None:
    order = windows_order()
    host.claim(order, Watch())
    host.make(order, Watch())
    assert host.joins_entra("windows")
    assert not host.joins_entra("linux")
    assert host.entra_tenant() == arm.account.tenant
    device = host.join_entra(order.id, Watch())
    [(vm_id, known)] = arm.entra.devices.items()
    assert str(device) == known
    assert host.entra_mark(order.id).lower() == f"[azureresourceid]:{vm_id}"
    access = host.access(order.id, Watch())
    assert isinstance(access, Rdp)
    assert access.port == 3389


def test_who_does_not_join_has_no_identity(arm: FakeArm, host: AzureHost) -> None:
    host.claim(windows_order(), Watch())
    host.claim(replace(windows_order(), id=UUID(int=7), joins_entra=False, tag=azure_order("u-2").tag), Watch())
    sent = [request.body for request in arm.requests("VirtualMachines_CreateOrUpdate")]
    assert [body.get("identity") for body in sent[1:]] == [{"type": "SystemAssigned"}, None]
