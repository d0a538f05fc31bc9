"""Joining Microsoft Entra: what Azure's extension AADLoginForWindows does in a Windows guest.

Source: Microsoft Learn "Sign in to a Windows virtual machine in Azure by using Microsoft Entra ID", troubleshooting.
The machine needs its system identity first, and a resource name of at most 15 characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from cloudpc import guests
from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.guest import AzureGuest
from cloudpc.machines.azure.instance_view import gone
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

GUEST_OS: Final = "windows"
"""Whose guests it is for; those of Linux have an extension for signing in that makes no device."""
INTUNE: Final = "0000000a-0000-0000-c000-000000000000"
"""The mobile device management that devices are enrolled in; always said, since without it the extension fails."""
_PUBLISHER, _TYPE, _VERSION = "Microsoft.Azure.ActiveDirectory", "AADLoginForWindows", "1.0"
_WITHIN = 900.0
_ENDPOINTS = (
    "Its subnet must let it reach enterpriseregistration.windows.net, login.microsoftonline.com and "
    "pas.windows.net on port 443."
)
_CAUSES: Final = {
    "-2145648574": ("it has no system-assigned identity", "it is made again with one; find out who removed it"),
    "1007": ("it has no system-assigned identity", "it is made again with one; find out who removed it"),
    "-2145648607": ("it can't reach Microsoft Entra", _ENDPOINTS),
    "-2145648639": ("Entra refuses the name of the virtual machine", "it may have 15 characters at most"),
    "51": ("its system can't join", "Windows 11 24H2 or Windows Server 2025 with a desktop, and later ones, can."),
    "-2145647597": (
        "a device of its name is in Entra already",
        "Remove that device, or let cloudPcNamingTemplate have %RAND:5%.",
    ),
}
"""By what the extension ends with: why, and what to do."""
_FAILED = re.compile(r"(?:status|exit) ?code:?\s*'?(-?\d+)", re.IGNORECASE)
_DUPLICATE = re.compile(r"hostname_?duplicate", re.IGNORECASE)
_NO_MDM = re.compile(r"'mdmId' setting was not found", re.IGNORECASE)


def join(arm: Arm, vm_name: str, watch: Watch, *, mdm_id: str = INTUNE) -> UUID | None:
    """Have a machine join, unless it has already; which device it is, if it says so.

    Args:
        arm: reaches it.
        vm_name: whose.
        watch: ends it; it may take 15 minutes at most.
        mdm_id: of the management it is enrolled in; empty: none.

    Raises:
        ProvisioningError: DEVICE_REGISTRATION_FAILED, with what to do; GUEST_DIED; others as `Guest.run`.
    """
    _install(arm, vm_name, watch, mdm_id)
    system = guests.named(GUEST_OS)
    [said] = AzureGuest(arm, vm_name).run([system.facts()], watch)
    return system.read(said.output).device_id


def mark(arm: Arm, vm_name: str) -> str:
    """What Entra writes among the physicalIds of the device that this machine joins as."""
    return f"[AzureResourceId]:{arm.group_path}/providers/Microsoft.Compute/virtualMachines/{vm_name}"


def _install(arm: Arm, vm_name: str, watch: Watch, mdm_id: str) -> None:
    waits = watch.within(_WITHIN)
    try:
        with arm.asking(f"have {vm_name} join Microsoft Entra", waits):
            if _has_joined(arm, vm_name):
                return
            body = _body(arm.config.location, mdm_id)
            operation = arm.begin(_calls(arm).begin_create_or_update, arm.group, vm_name, _TYPE, body)
            if not operation.wait():
                raise _late(arm, vm_name)
            operation.result()
    except AzureFailed as failed:
        if failed.arm.is_missing:
            raise gone(arm, vm_name) from failed
        if failed.arm.meaning is Meaning.EXTENSION:
            raise _explained(arm, vm_name, failed) from failed
        raise


def _calls(arm: Arm) -> Any:
    return arm.compute.virtual_machine_extensions


def _has_joined(arm: Arm, vm_name: str) -> bool:
    """Another attempt of a request whose answer was lost; installing it twice would run it twice."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found = _calls(arm).get(arm.group, vm_name, _TYPE)
    except ResourceNotFoundError:
        return False
    return bool(found.properties and found.properties.provisioning_state == "Succeeded")


def _body(location: str, mdm_id: str) -> dict[str, Any]:
    return {
        "location": location,
        "properties": {
            "publisher": _PUBLISHER,
            "type": _TYPE,
            "typeHandlerVersion": _VERSION,
            "autoUpgradeMinorVersion": True,
            "settings": {"mdmId": mdm_id},
        },
    }


def _explained(arm: Arm, vm_name: str, failed: AzureFailed) -> ProvisioningError:
    """The machine can no longer be used: an extension that failed keeps all later ones from being installed."""
    said = " ".join(error.message for error in failed.arm.all())
    cause, hint = _cause(said)
    message = f"{vm_name} on {arm.config.name} could not join Microsoft Entra: {cause or failed.message}"
    return ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message, hint=hint)


def _cause(said: str) -> tuple[str, str]:
    if _DUPLICATE.search(said):
        return _CAUSES["-2145647597"]
    if _NO_MDM.search(said):
        return (
            "the extension was not told which management it is to be enrolled in",
            "This is a bug in cloudpc; please report it.",
        )
    code = _FAILED.search(said)
    if code is None:
        return "", _ENDPOINTS
    cause, hint = _CAUSES.get(code[1], ("", _ENDPOINTS))
    return (f"{cause} ({code[1]})" if cause else ""), hint


def _late(arm: Arm, vm_name: str) -> ProvisioningError:
    message = f"{vm_name} on {arm.config.name} has not joined Microsoft Entra within {_WITHIN / 60:.0f} min"
    return ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message, hint=_ENDPOINTS)
