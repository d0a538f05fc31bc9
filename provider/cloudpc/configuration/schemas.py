"""What the files of a project may hold, as JSON Schemas for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, create_model

from cloudpc.configuration import actions, hosts
from cloudpc.configuration.parsing import AuditConfig, SafetyConfig
from cloudpc.connections import files
from cloudpc.devices.configuration import CredentialsConfig, DevicesConfig
from cloudpc.directory.configuration import DirectoryConfig
from cloudpc.directory.local import DirectoryFile
from cloudpc.graph.configuration import GraphConfig
from cloudpc.images import entries, sources
from cloudpc.images.entries import ImageEntry
from cloudpc.model.drivers import Driver
from cloudpc.model.hosts import HostConfig
from cloudpc.model.policy import Part, ProvisioningPolicy

_OF_IMAGES = "Custom images, by the name that a policy's imageId uses."


class _Values(Part):
    policy: ProvisioningPolicy = Field(alias="cloudpc:policy")
    directory: DirectoryConfig = Field(alias="cloudpc:directory")
    graph: GraphConfig = Field(default=GraphConfig(), alias="cloudpc:graph")
    devices: DevicesConfig = Field(default=DevicesConfig(), alias="cloudpc:devices")
    credentials: CredentialsConfig = Field(default=CredentialsConfig(), alias="cloudpc:credentials")
    hosts: list[HostConfig] = Field(default=[], alias="cloudpc:hosts", description="Default: this machine.")
    images: dict[str, ImageEntry] = Field(default={}, alias="cloudpc:images", description=_OF_IMAGES)
    installation: str | None = Field(
        default=None, alias="cloudpc:installation", description="Set it where each run has a fresh checkout."
    )
    safety: SafetyConfig = Field(default=SafetyConfig(), alias="cloudpc:safety")
    audit: AuditConfig | None = Field(default=None, alias="cloudpc:audit")
    deleted: bool = Field(
        default=False,
        alias="cloudpc:deleted",
        description="Set by `cloudpc policy delete`: the policy is removed with its last Cloud PC.",
    )


def json_schemas(installed: Mapping[str, Driver]) -> dict[str, dict[str, Any]]:
    """JSON Schemas for editors, by the kind of file.

    Args:
        installed: drivers by name, whose fields are known.
    """
    entry: Any = hosts.schema(installed)
    asked = actions.model()
    acted: Any = (asked, Field(default=asked(), alias="cloudpc:actions"))
    kinds = {kind for driver in installed.values() for kind in driver.images}
    image: Any = entries.schema(sources.entries(kinds))
    images: Any = (dict[str, image], Field(default={}, alias="cloudpc:images", description=_OF_IMAGES))
    hosted: Any = (list[entry], Field(default=[], alias="cloudpc:hosts", description="Default: this machine."))
    values: Any = create_model("_Values", __base__=_Values, hosts=hosted, images=images, actions=acted)
    models: dict[str, type[BaseModel]] = {
        "policy": create_model("_StackFile", __config__={"hide_input_in_errors": True}, config=(values, ...)),
        "directory": DirectoryFile,
        "connection": files.model(installed),
    }
    return {kind: model.model_json_schema(by_alias=True) for kind, model in models.items()}
