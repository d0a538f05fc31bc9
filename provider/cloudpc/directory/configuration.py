"""`cloudpc:directory`: where users, groups and licences come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cloudpc.directory.interface import ServicePlan
from cloudpc.policy import Part

# an id is part of resource names, so it holds nothing that separates their parts
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=100)]


class ServicePlanEntry(Part):
    """A size of Cloud PC beside those of Windows 365 Enterprise."""

    id: Id
    display_name: str = ""
    v_cpu_count: int = Field(ge=1, le=256)
    ram_in_gb: float = Field(alias="ramInGB", gt=0, le=4096)
    storage_in_gb: int = Field(alias="storageInGB", ge=1, le=65536)

    def service_plan(self) -> ServicePlan:
        """As rules know it."""
        return ServicePlan(self.id, self.display_name or self.id, self.v_cpu_count, self.ram_in_gb, self.storage_in_gb)


class LocalDirectoryConfig(Part):
    """The embedded directory."""

    kind: Literal["local"]
    path: str = Field(min_length=1, description="A YAML file, relative to the folder of the stack's file.")


class GraphDirectoryConfig(Part):
    """Microsoft Entra, through Microsoft Graph; `cloudpc:graph` says how it is reached."""

    kind: Literal["graph"]
    service_plans: list[ServicePlanEntry] = Field(
        default=[],
        description="Sizes for service plans of the tenant that are none of Windows 365 Enterprise, by their id there.",
    )


DirectoryConfig = LocalDirectoryConfig | GraphDirectoryConfig
