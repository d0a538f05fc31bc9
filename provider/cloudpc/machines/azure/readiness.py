"""Whether an Azure VM's guest is ready: first as Azure sees it, then as it says itself by a script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloudpc.machines.azure import errors, instance_view
from cloudpc.machines.azure.console import console_tail
from cloudpc.machines.azure.guest import AzureGuest
from cloudpc.machines.azure.instance_view import PRIVATE_SUBNET, InstanceView
from cloudpc.machines.azure.pace import booted, reads
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import GuestOS
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_SLOW = "If it is merely slow: timeouts.firstBootInSeconds in the policy."
_TOLD_WITHIN = 30.0
"""Seconds that Azure may take to tell what a script has said: the guest's own wait ends so much before the deadline."""

_LONGEST = 3600.0


def wait_until_ready(arm: Arm, vm_name: str, guest_os: GuestOS | None, watch: Watch) -> None:
    """Return when the agent answers and, where the system is given, its first boot is over.

    Raises:
        ProvisioningError: BOOT_TIMEOUT by the watch's deadline, FIRST_BOOT_FAILED, GUEST_DIED, GUEST_AGENT_LOST; with
            the console's tail.
    """
    pauses = reads(arm) if guest_os is None else booted(arm)
    try:
        if guest_os is not None:  # it has just got its place, and boots
            watch.wait(next(pauses))
        _wait_for_agent(arm, vm_name, pauses, watch)
        if guest_os is not None:
            _wait_for_first_boot(arm, vm_name, guest_os, watch)
    except ProvisioningError as error:
        if not error.console and error.code in _OF_GUESTS:
            raise _with_console(error, console_tail(arm, vm_name, watch)) from error
        raise


_OF_GUESTS = (ErrorCode.BOOT_TIMEOUT, ErrorCode.FIRST_BOOT_FAILED, ErrorCode.GUEST_DIED, ErrorCode.GUEST_AGENT_LOST)


def _with_console(error: ProvisioningError, console: str) -> ProvisioningError:
    return ProvisioningError(error.code, error.message, retriable=error.retriable, hint=error.hint, console=console)


def _wait_for_agent(arm: Arm, vm_name: str, pauses: Iterator[float], watch: Watch) -> None:
    timeout = watch.remaining
    for pause in pauses:
        view = instance_view.look(arm, vm_name, watch)
        if view.is_ready:
            return
        _refuse(arm, vm_name, view)
        if not watch.remaining:
            raise _late(arm, vm_name, view, timeout)
        watch.note("its system is set up, waiting for its agent" if view.is_provisioned else "waiting for its system")
        watch.wait(pause)


def _refuse(arm: Arm, vm_name: str, view: InstanceView) -> None:
    """Raise for what will never be ready."""
    where = f"{vm_name} on {arm.config.name}"
    if view.failure is not None and view.failure.code.startswith("OSProvisioning"):
        raise errors.classify(view.failure, f"boot {vm_name}", arm.config.name)
    if view.is_off:
        raise ProvisioningError(ErrorCode.GUEST_DIED, f"{where} is {view.power}: it stopped during its boot.")


def _late(arm: Arm, vm_name: str, view: InstanceView, timeout: float) -> ProvisioningError:
    where, within = f"{vm_name} on {arm.config.name}", f"within {timeout:.0f} s"
    if view.is_provisioned:
        said = f"says {view.agent!r}" if view.agent else "has never reported"
        message = f"The system of {where} is set up, but Azure's agent in it {said} {within}."
        return ProvisioningError(ErrorCode.GUEST_AGENT_LOST, message, hint=PRIVATE_SUBNET)
    message = f"The guest was not ready {within}: the system of {where} has not told Azure that it is set up."
    return ProvisioningError(ErrorCode.BOOT_TIMEOUT, message, hint=f"{_SLOW} {PRIVATE_SUBNET}")


def _wait_for_first_boot(arm: Arm, vm_name: str, guest_os: GuestOS, watch: Watch) -> None:
    seconds = min(watch.remaining, _LONGEST)
    script = guest_os.first_boot(seconds - min(_TOLD_WITHIN, seconds / 10))
    [ended] = AzureGuest(arm, vm_name).run([script], watch)
    if problem := guest_os.first_boot_problem(ended):
        raise problem
