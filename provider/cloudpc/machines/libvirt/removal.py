"""Removes a domain completely, whatever state it is in."""

from __future__ import annotations

import time
from typing import Any

import libvirt

from cloudpc.machines.libvirt.definitions import is_running
from cloudpc.machines.libvirt.errors import classified, has_code, unless_gone

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_UNDEFINE_TPM = getattr(libvirt, "VIR_DOMAIN_UNDEFINE_TPM", 0)
_TRIES, _PAUSE = 5, 1.0


def stop(domain: Any) -> None:
    """End the domain's QEMU if it runs; one that hangs in the kernel for a moment is asked again."""
    with classified(f"stop {domain.name()}"):
        for last in (*[False] * (_TRIES - 1), True):
            try:
                if is_running(domain):
                    unless_gone(domain.destroy)
            except libvirt.libvirtError as error:
                if has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):
                    return  # it has just stopped by itself
                if last or not has_code(error, libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_OPERATION_TIMEOUT):
                    raise
                time.sleep(_PAUSE)
            else:
                return


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
