"""Whether an Azure VM's guest is ready, and what its console says where it is not."""

from __future__ import annotations

from typing import Any

from cloudpc.model.guests import GuestOS
from cloudpc.model.watch import Watch


def wait_until_ready(arm: Any, vm_name: str, guest_os: GuestOS | None, watch: Watch) -> None:
    """Return when the agent answers and, where the system is given, its first boot is over.

    Raises:
        ProvisioningError: BOOT_TIMEOUT by the watch's deadline, FIRST_BOOT_FAILED, GUEST_DIED, GUEST_AGENT_LOST; with
            the console's tail.
    """
    raise NotImplementedError


def console_tail(arm: Any, vm_name: str, watch: Watch) -> str:
    """The end of what the console has said; empty where Azure does not say. Raises Cancelled only."""
    raise NotImplementedError
