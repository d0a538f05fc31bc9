"""Microsoft Entra, as far as virtual machines join it by the extension AADLoginForWindows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.azure.back_ends import Vm
from tests.azure.errors import ArmFault, Json

if TYPE_CHECKING:
    from tests.tenant.tenant import Tenant

PUBLISHER, TYPE = "Microsoft.Azure.ActiveDirectory", "AADLoginForWindows"
NO_IDENTITY, NO_WAY_OUT, WRONG_SYSTEM, LONG_NAME = -2145648574, -2145648607, 51, -2145648639


class Entra:
    """Devices that joined."""

    def __init__(self) -> None:
        self.devices: dict[str, str] = {}
        """Ids of devices by the id of their machine; they stay when it is gone."""
        self.names: set[str] = set()
        """Names of devices that there are: whoever takes one of them fails."""
        self.enrolled: set[str] = set()
        """Ids of machines that Intune manages."""
        self.exit_code: int | None = None
        """What the extension ends with instead of joining."""
        self.on_join: Callable[[Vm, bool], str] = lambda _vm, _managed: str(uuid4())
        """Registers the device of a machine, managed by Intune or not, and answers its id: for example a tenant's."""
        self.is_taken: Callable[[str], bool] = lambda name: name in self.names
        """Whether there is a device of this name, in lower case."""

    def belongs_to(self, tenant: Tenant) -> None:
        """Devices are registered there from now on: the fake Graph shows them; deleting one frees its name."""

        def join(vm: Vm, managed: bool) -> str:
            device = tenant.guest_joined(vm.computer_name, managed=managed, azure_id=vm.id)
            return str(device["deviceId"])

        self.on_join = join
        self.is_taken = lambda name: any(d["displayName"].lower() == name for d in tenant.devices.values())

    def join(self, vm: Vm, settings: Json) -> None:
        """What the extension does in the guest; ArmFault: it failed."""
        if (code := self._exit_code(vm)) is not None:
            raise _ended(code, "the join failed")
        if "mdmId" not in settings:
            raise _ended(1, "'mdmId' setting was not found")
        if self.is_taken(vm.computer_name.lower()):
            raise _ended(-2145647597, "Another object with the same value for property hostnames already exists "
                         "(error_hostname_duplicate)")  # fmt: skip
        managed = bool(settings["mdmId"])
        self.devices[vm.id.lower()] = self.on_join(vm, managed)
        self.names.add(vm.computer_name.lower())
        if managed:
            self.enrolled.add(vm.id.lower())

    def status(self, vm: Vm) -> str:
        """What `dsregcmd /status` says in the guest."""
        device = self.devices.get(vm.id.lower())
        joined = "YES" if device else "NO"
        lines = ["+" + "-" * 70 + "+", "| Device State" + " " * 57 + "|", "+" + "-" * 70 + "+", "",
                 f"             AzureAdJoined : {joined}", "          EnterpriseJoined : NO",
                 "              DomainJoined : NO", f"               Device Name : {vm.computer_name}"]  # fmt: skip
        if device:
            lines += ["", "| Device Details", "", f"                  DeviceId : {device}",
                      "              KeyProvider : Microsoft Platform Crypto Provider",
                      "          DeviceAuthStatus : SUCCESS"]  # fmt: skip
        return "\r\n".join(lines) + "\r\n"

    def _exit_code(self, vm: Vm) -> int | None:
        if self.exit_code is not None:
            return self.exit_code
        if vm.os != "Windows":
            return WRONG_SYSTEM
        if "SystemAssigned" not in (vm.body.get("identity") or {}).get("type", ""):
            return NO_IDENTITY
        return LONG_NAME if len(vm.name) > 15 else None


def _ended(code: int, message: str) -> ArmFault:
    return ArmFault(
        "VMExtensionProvisioningError",
        f"VM has reported a failure when processing extension '{TYPE}' (publisher '{PUBLISHER}' and type '{TYPE}'). "
        f'Error message: "AAD Join failed with status code: {code}: {message}.". More information on troubleshooting '
        "is available at https://aka.ms/vmextensionwindowstroubleshoot.",
    )
