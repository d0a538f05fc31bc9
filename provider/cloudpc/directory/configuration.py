"""`cloudpc:directory`: where users, groups and licences come from."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cloudpc.model.directory import GUID, ServicePlan
from cloudpc.model.policy import Part
from cloudpc.model.written import Written

# an id is part of resource names, so it holds nothing that separates their parts
Id = Annotated[
    str,
    Field(max_length=100),
    Written(r"[A-Za-z0-9][A-Za-z0-9._@+-]*", "letters, digits and . _ @ + -, with a letter or digit at first"),
]


class ServicePlanConfig(Part):
    """A size of Cloud PC beside those of Windows 365 Enterprise."""

    id: Id
    display_name: str = ""
    v_cpu_count: int = Field(ge=1, le=256)
    ram_in_gb: float = Field(alias="ramInGB", gt=0, le=4096)
    storage_in_gb: int = Field(alias="storageInGB", ge=1, le=65536)

    def as_plan(self) -> ServicePlan:
        """As rules know it."""
        return ServicePlan(self.id, self.display_name or self.id, self.v_cpu_count, self.ram_in_gb, self.storage_in_gb)


class LocalDirectoryConfig(Part):
    """The embedded directory."""

    kind: Literal["local"]
    path: str = Field(min_length=1, description="A YAML file, relative to the folder of the stack's file.")


def _unique(plans: list[ServicePlanConfig]) -> list[ServicePlanConfig]:
    for id_, count in Counter(plan.id.lower() for plan in plans).items():
        if count > 1:
            raise ValueError(f"{count} entries have the id {id_}; it must be unique")
    for plan in plans:
        if not GUID.fullmatch(plan.id):
            raise ValueError(f"the id {plan.id!r} must be that of a service plan of the tenant, a GUID")
    return plans


class GraphDirectoryConfig(Part):
    """Microsoft Entra, reached as cloudpc:graph says."""

    kind: Literal["graph"]
    service_plans: Annotated[list[ServicePlanConfig], AfterValidator(_unique)] = Field(
        default=[],
        description="Sizes for service plans of the tenant beside Windows 365 Enterprise's, by the plan's id (a GUID).",
    )


DirectoryConfig = LocalDirectoryConfig | GraphDirectoryConfig
