"""The end of what a virtual machine has written on its serial console, by managed boot diagnostics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cloudpc.model.errors import ProvisioningError
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

log = logging.getLogger(__name__)
_BYTES = 16 * 1024
_WITHIN = 20.0
_VALID_MINUTES = 5
_NOTHING_THERE = 416


def console_tail(arm: Arm, vm_name: str, watch: Watch) -> str:
    """The last 16 kB; empty where Azure does not give them. Raises Cancelled only.

    Azure answers with two addresses that are secrets, since they hold their own permission: of the log, and of a
    picture of the screen, which is of no use to us.
    """
    try:
        with arm.asking(f"ask for the console of {vm_name}", Watch(watch.cancel).within(_WITHIN)):
            found = arm.compute.virtual_machines.retrieve_boot_diagnostics_data(
                arm.group, vm_name, sas_uri_expiration_time_in_minutes=_VALID_MINUTES
            )
    except ProvisioningError as error:
        log.info("no console: %s", error.message)
        return ""
    address = found.serial_console_log_blob_uri
    return _end_of(address) if address else ""


def _end_of(address: str) -> str:
    """Fetched without our token: the address says enough, and is not of Azure Resource Manager."""
    import httpx

    try:
        with httpx.Client(timeout=_WITHIN / 2) as client:
            answer = client.get(address, headers={"Range": "bytes=0-0"})  # that server has no ranges from the end
            if answer.status_code == _NOTHING_THERE:
                return ""
            size = int(answer.raise_for_status().headers["Content-Range"].rpartition("/")[2])
            answer = client.get(address, headers={"Range": f"bytes={max(0, size - _BYTES)}-{size - 1}"})
            return answer.raise_for_status().content[-_BYTES:].decode(errors="replace")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        log.info("no console: %s", type(error).__name__)  # its text would have the address
        return ""
