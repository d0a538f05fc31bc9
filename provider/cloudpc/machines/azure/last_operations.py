"""Machines whose last operation has failed in Azure: they may well work, and whoever looks after them should know."""

from __future__ import annotations

from cloudpc.machines.azure.virtual_machines import VirtualMachines
from cloudpc.model.check import Check
from cloudpc.model.errors import ProvisioningError

_WHAT = "last operations"


def checks(machines: VirtualMachines) -> list[Check]:
    """Names those that have failed. Never raises but Cancelled."""
    try:
        there = {str(found["id"]).lower(): found["name"] for found in machines.list()}
        statuses = machines.all_statuses() if there else {}
    except ProvisioningError as error:
        return [Check(_WHAT, "warning", error.message, error.hint)]
    failed = [
        f"{name}: {': '.join(filter(None, statuses[machine].failure or ()))}"
        for machine, name in there.items()
        if machine in statuses and statuses[machine].failure
    ]
    if not failed:
        return [Check(_WHAT, "passed", "none has failed")]
    hint = "Azure's activity log of the machine says more; what runs is its user's and is left alone"
    return [Check(_WHAT, "warning", "; ".join(failed), hint)]
