"""Removes a domain completely, whatever state it is in."""

from __future__ import annotations

import time
from typing import Any

import libvirt

from cloudpc.machines.libvirt.definitions import is_running
from cloudpc.machines.libvirt.errors import classified, has_code, unless_gone, words
from cloudpc.model.errors import ErrorCode, ProvisioningError

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_UNDEFINE_TPM = getattr(libvirt, "VIR_DOMAIN_UNDEFINE_TPM", 0)
_TRIES, _PAUSE = 5, 1.0
_TRIES_LOCKED = 2
"""libvirt waits half a minute for a domain that something else is at work on."""


def stop(domain: Any) -> None:
    """End the domain's QEMU if it runs; one that hangs in the kernel for a moment is asked again.

    Raises:
        ProvisioningError: MACHINE_GOING: libvirt does not let go of it.
    """
    with classified(f"stop {domain.name()}"):
        for number in range(1, _TRIES + 1):
            try:
                if is_running(domain):
                    unless_gone(domain.destroy)
            except libvirt.libvirtError as error:
                if has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):
                    return  # it has just stopped by itself
                if has_code(error, libvirt.VIR_ERR_OPERATION_TIMEOUT):
                    if number >= _TRIES_LOCKED:
                        raise _locked(domain.name(), error) from error
                elif number == _TRIES or not has_code(error, libvirt.VIR_ERR_SYSTEM_ERROR):
                    raise
                time.sleep(_PAUSE)
            else:
                return


def _locked(name: str, error: libvirt.libvirtError) -> ProvisioningError:
    """A libvirtd that was killed between taking the domain and starting its QEMU keeps it so, over all restarts."""
    return ProvisioningError(
        ErrorCode.MACHINE_GOING,
        f"Could not stop {name}: libvirt has been at work on it for more than a minute ({words(error)}).",
        hint="The next run tries again. If it stays so, libvirt was killed while it started the machine: on the host, "
        f"where `pgrep -f guest={name}` finds no QEMU, stop libvirt, remove /run/libvirt/qemu/{name}.xml, and start "
        "libvirt; other machines run on meanwhile.",
    )


def undefine(domain: Any) -> None:
    """Forget the domain, with its firmware variables, TPM state, saved memory, snapshots and checkpoints."""
    with classified(f"remove {domain.name()}"):
        try:
            unless_gone(lambda: domain.undefineFlags(_UNDEFINE | _UNDEFINE_TPM))
        except libvirt.libvirtError as error:
            if not has_code(error, libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED):
                raise
            # a libvirt from before 8.9 does not know the TPM's flag
            unless_gone(lambda: domain.undefineFlags(_UNDEFINE))
