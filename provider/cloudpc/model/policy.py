"""The provisioning policy: what a Cloud PC is made like, and for whom, with Graph's names.

Fields follow Graph's `cloudPcProvisioningPolicy`; the ones marked "ours" are not Graph's. Source of the rules:
Microsoft Graph `cloudPcProvisioningPolicy`, Windows 365 "Create provisioning policies".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from cloudpc.model import locales
from cloudpc.model.naming import DEFAULT_TEMPLATE, check_template
from cloudpc.model.written import Written

# apt-get takes a hyphen at the end for the wish to remove
_PACKAGE = Written(
    "[a-z0-9][a-z0-9+.-]*[a-z0-9+.]", "a Debian package's name: a-z, 0-9 and + . -, without version or architecture"
)


class Part(BaseModel):
    """Base of everything in a policy: camelCase in files, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        frozen=True,
        strict=True,
        title=None,
        hide_input_in_errors=True,
    )


def _display_name(value: str) -> str:
    if bad := sorted(set(value) & set('<>&|"^')):
        raise ValueError(f"may not contain {' '.join(bad)}")
    if value != value.strip() or not value or not value.isprintable():
        raise ValueError("must be one line of text that neither begins nor ends with a blank")
    return value


def _template(value: str) -> str:
    check_template(value)
    return value


class DomainJoinConfiguration(Part):
    """How and where a Cloud PC is joined: on the hosted network, or through a named connection."""

    domain_join_type: Literal["azureADJoin", "hybridAzureADJoin"] = Field(
        description="hybridAzureADJoin: a member of the Active Directory domain that the connection names."
    )
    region_name: Literal["automatic"] | None = Field(
        default=None, description="Hosted network: user-mode networking or the host's default network."
    )
    on_premises_connection_id: (
        Annotated[str, Written(r"[A-Za-z0-9_-]+", "a name of letters, digits, hyphens and underscores")] | None
    ) = Field(default=None, description="Name of a file in connections/, without .yaml.")

    @model_validator(mode="after")
    def _one_of(self) -> DomainJoinConfiguration:
        if self.domain_join_type == "hybridAzureADJoin" and (self.region_name or not self.on_premises_connection_id):
            raise ValueError("hybridAzureADJoin needs onPremisesConnectionId, and no regionName: a domain to join")
        if (self.region_name is None) == (self.on_premises_connection_id is None):
            raise ValueError("needs either regionName: automatic (hosted network) or onPremisesConnectionId, not both")
        return self


class WindowsSetting(Part):
    """Language and region of the guest; the name is Graph's, it holds for Linux guests too."""

    locale: Annotated[str, AfterValidator(locales.locale_name)] = Field(
        default="en-US",
        description="For example en-US or de-DE.",
        json_schema_extra={"pattern": "^[a-z]{2,3}-[A-Z]{2}$"},
    )


class Timeouts(Part):
    """Ours: how long a Cloud PC may take, counted from the start of its own boot."""

    first_boot_in_seconds: int = Field(default=900, ge=1, le=86_400, description="Until the guest is ready.")
    set_up_in_seconds: int = Field(
        default=1800, ge=1, le=86_400, description="For each command of the set-up: packages, script."
    )


class AssignmentTarget(Part):
    """An Entra group (or one of the local directory), without nesting."""

    group_id: str = Field(min_length=1, description="Id or unique displayName of the group.")


class Assignment(Part):
    """One group the policy is assigned to."""

    target: AssignmentTarget


def _each_group_once(assignments: list[Assignment]) -> list[Assignment]:
    groups = [a.target.group_id for a in assignments]
    if twice := sorted({g for g in groups if groups.count(g) > 1}):
        raise ValueError(f"may name a group only once; twice there: {', '.join(twice)}")
    return assignments


class ProvisioningPolicy(Part):
    """One provisioning policy. Its id is the name of the Pulumi stack."""

    display_name: Annotated[str, Field(max_length=120), AfterValidator(_display_name)]
    description: str = ""
    provisioning_type: Literal["dedicated"] = "dedicated"
    domain_join_configurations: list[DomainJoinConfiguration] = Field(
        min_length=1, description="In order: the first that is healthy, and that a host can offer, is used."
    )
    image_type: Literal["gallery", "custom"] = Field(
        default="gallery",
        description="gallery: a recipe, as `cloudpc image list` shows them. custom: an entry of cloudpc:images.",
    )
    image_id: str = Field(min_length=1, description="Recipe or custom image.")
    cloud_pc_naming_template: Annotated[str, AfterValidator(_template)] = DEFAULT_TEMPLATE
    windows_setting: WindowsSetting = WindowsSetting()
    time_zone: Annotated[str, AfterValidator(locales.time_zone)] = Field(
        default="UTC", description="Ours, not Graph's."
    )
    local_admin_enabled: bool = Field(default=False, description="Whether the user may become root with sudo.")
    reset_enabled: bool = Field(
        default=False,
        description="Graph's, of `cloudPcUserSetting`: whether its users may reset (reprovision) their Cloud PCs by "
        "themselves, in pages.",
    )
    grace_period_in_hours: int = Field(
        default=168, ge=0, le=8760, description="Read-only in Graph (7 days); ours can be set."
    )
    packages: list[Annotated[str, _PACKAGE]] = Field(
        default=[], description="Ours: Debian packages installed after the first boot."
    )
    post_provisioning_script: str | None = Field(
        default=None, description="Ours: a script beside the stack's file, run as root at the end of set-up."
    )
    start_from: Literal["template", "boot"] = Field(
        default="boot",
        description="Ours: template: started as a copy of a guest that has booted already, where image and host can; "
        "boot: each boots by itself.",
    )
    timeouts: Timeouts = Timeouts()
    assignments: Annotated[list[Assignment], AfterValidator(_each_group_once)] = Field(
        default=[], description="Groups whose licensed members get a Cloud PC."
    )
