"""The service plans of Windows 365 Enterprise, built in."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from cloudpc.model.directory import ServicePlan


@cache
def service_plans() -> dict[str, ServicePlan]:
    """Windows 365's plans by id. The source and its date are in service_plans.json."""
    return {
        entry["id"]: ServicePlan(
            id=entry["id"],
            display_name=entry["displayName"],
            vcpu_count=entry["vCpuCount"],
            ram_in_gb=entry["ramInGB"],
            storage_in_gb=entry["storageInGB"],
        )
        for entry in _entries()
    }


@cache
def plan_names() -> dict[str, str]:
    """Ids of Windows 365's plans by the names licences go by, for example `CPC_E_2C_4GB_128GB`."""
    return {name: entry["id"] for entry in _entries() for name in entry["names"]}


@cache
def short_name(plan_id: str) -> str:
    """The name a licence goes by, where the id of a plan is but a number."""
    return next((name for name, id_ in plan_names().items() if id_ == plan_id), plan_id)


def _entries() -> list[dict[str, Any]]:
    text = resources.files("cloudpc.directory").joinpath("service_plans.json").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = json.loads(text)["servicePlans"]
    return entries
