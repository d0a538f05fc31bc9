"""Ids as Graph has them, derived from those of the embedded directory's file."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid5

from cloudpc.directory import catalogue

Kind = Literal["user", "group", "servicePlan", "sku", "tenant", "policy", "connection", "device"]

_NAMESPACE = UUID("6a3c5a0e-6f0e-4b57-9a3c-7f3a2d1f5d1b")
_SKUS = Path(__file__).parents[1] / "contracts" / "w365-skus.json"


@lru_cache(maxsize=500_000)
def guid(kind: Kind, yaml_id: str) -> str:
    """The GUID for an id of the YAML file: always the same one. GUIDs stay what they are.

    Service plans and SKUs of Windows 365, by any of their names, get the ids that Microsoft gave them.
    """
    if is_guid(yaml_id):
        return yaml_id.lower()
    if kind == "servicePlan" and (plan := catalogue.plan_names().get(yaml_id)):
        return plan
    if kind == "sku" and (known := windows_365_skus().get(guid("servicePlan", yaml_id))):
        return str(known["skuId"])
    return str(uuid5(_NAMESPACE, f"{kind}/{yaml_id}"))


def is_guid(text: str) -> bool:
    """Whether it is one in the usual spelling; UUID alone takes others, too."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


@cache
def windows_365_skus() -> dict[str, dict[str, Any]]:
    """Windows 365's SKUs by the id of their service plan; the first where there are several."""
    skus: dict[str, dict[str, Any]] = {}
    for sku in json.loads(_SKUS.read_text(encoding="utf-8"))["skus"]:
        skus.setdefault(sku["servicePlanId"], sku)
    return skus
