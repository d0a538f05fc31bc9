"""What a policy's files say of hosts in Azure and of their networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.alias_generators import to_camel

from cloudpc.machines.azure import entry_values, subnet_fields
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.subnet_ids import SubnetId
from cloudpc.microsoft import clouds
from cloudpc.microsoft.auth import Auth
from cloudpc.model.access import Bastion
from cloudpc.model.connection import NetworkKind, NetworkPart
from cloudpc.model.hosts import ByHand, HostConfig
from cloudpc.model.machines import HOSTED, Network

SUBNET = "subnet"
"""The kind of a `Network` whose source is a subnet's whole id."""


def _subnet(value: str, info: ValidationInfo) -> str:
    return entry_values.subnet_of(value, info.data.get("subscription_id"))


class AzureHostConfig(HostConfig):
    """One resource group of a subscription, whose machines are all this host's, in one region."""

    model_config = ConfigDict(alias_generator=to_camel)

    PLACED_BY: ClassVar[str] = "subscriptionId and resourceGroup"
    PAID_BY_THE_MACHINE: ClassVar[bool] = True

    kind: Literal["azure"]
    subscription_id: Annotated[str, AfterValidator(entry_values.subscription)] = Field(
        description="Id of the subscription."
    )
    resource_group: Annotated[str, AfterValidator(entry_values.resource_group)] = Field(
        description="Name of the group where machines, disks and network cards are made; it must exist."
    )
    location: Annotated[str, AfterValidator(entry_values.location)] = Field(
        description="Azure's short name of a region, for example westeurope."
    )
    tenant_id: Annotated[str, AfterValidator(entry_values.tenant)] | None = Field(
        default=None, description="Id or domain; default: that of cloudpc:graph, else the credential's own."
    )
    auth: Auth = Field(
        default="default",
        description="As in cloudpc:graph; token: the value of CLOUDPC_AZURE_TOKEN.",
    )
    cloud: Literal["public", "usGovernment", "china"] | None = Field(
        default=None, description="Default: the one of cloudpc:graph.endpoint."
    )
    endpoint: Annotated[str, AfterValidator(entry_values.loopback)] | None = Field(
        default=None, description="Of an Azure Resource Manager on this machine's loopback, for tests."
    )
    size_families: Annotated[tuple[str, ...], AfterValidator(entry_values.families)] = Field(
        default=(), description="Families of sizes, in the order in which they are tried; none: those that fit best."
    )
    sizes: Annotated[Mapping[str, tuple[str, ...]], AfterValidator(entry_values.sizes)] = Field(
        default={},
        description="Instead of families: sizes by a service plan's id, in the order in which they are tried.",
    )
    zones: Annotated[tuple[str, ...], BeforeValidator(entry_values.as_text), AfterValidator(entry_values.zones)] = (
        Field(default=(), description="Availability zones; none: the region chooses.")
    )
    disk_type: Annotated[str, AfterValidator(entry_values.disk_type)] = Field(
        default="StandardSSD_LRS", description=f"Of machines' disks: {', '.join(entry_values.DISK_TYPES)}."
    )
    hosted_network: Annotated[str, AfterValidator(_subnet)] | None = Field(
        default=None, description="Id of the subnet that `regionName: automatic` means here; default: not offered."
    )
    bastion: Annotated[str, AfterValidator(entry_values.bastion)] | None = Field(
        default=None, description="Id of an Azure Bastion, through which machines are reached."
    )
    tags: Annotated[Mapping[str, str], AfterValidator(entry_values.tags)] = Field(
        default={}, description="Of machines, disks and network cards, beside cloudpc's."
    )
    license_type: Annotated[str, AfterValidator(entry_values.license_type)] | None = Field(
        default=None, description="Windows_Client or Windows_Server, for those who have the right."
    )
    max_cloud_pcs: int | None = Field(
        default=None,
        ge=1,
        alias="maxCloudPCs",
        description="The most machines there may be; default: as many as the quota allows.",
    )
    deallocate_stopped: bool = Field(
        default=False, description="Whether each run deallocates machines that were shut down inside, and are billed."
    )

    @property
    def where(self) -> str:
        """See HostConfig: names of machines are of a group, so another region takes a group of its own."""
        return f"{self.subscription_id}/{self.resource_group}".lower()

    def beside(self, graph_endpoint: str, tenant_id: str | None) -> Self:
        """See HostConfig."""
        cloud = self.cloud or clouds.of_graph(graph_endpoint).name
        return self.model_copy(update={"cloud": cloud, "tenant_id": self.tenant_id or tenant_id})

    def bastion_to(self, machine_id: UUID) -> Bastion | None:
        """See HostConfig."""
        if self.bastion is None:
            return None
        machine = f"{self.group_path}/providers/Microsoft.Compute/virtualMachines/{name_of(machine_id)}"
        return Bastion(bastion_id=self.bastion, target_id=machine)

    def offers(self, network: Network) -> bool:
        """See HostConfig: network cards, machines and their network belong to one subscription."""
        if network.kind == HOSTED:
            return self.hosted_network is not None
        subnet = SubnetId.parse(network.source)
        return subnet is not None and subnet.subscription.lower() == self.subscription_id.lower()

    @property
    def by_hand(self) -> ByHand:
        """See HostConfig."""
        place = f"in the resource group {self.resource_group} in the Azure portal"
        group = f"--subscription {self.subscription_id} --resource-group {self.resource_group}"
        console = f"az vm boot-diagnostics get-boot-log {group} --name"
        return ByHand(console=console, looking=place, removing=place)

    @property
    def group_path(self) -> str:
        """Of the resource group, as requests have it."""
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"


class AzureNetworks(NetworkPart):
    """What names a subnet of a virtual network in a connection's file, with Graph's names."""

    KINDS = (NetworkKind("subnetId", SUBNET, "subnet"),)

    subnet_id: str | None = Field(
        default=None, min_length=1, description="Whole id of a subnet, or its name together with virtualNetworkId."
    )
    virtual_network_id: str | None = Field(default=None, min_length=1, description="Id of the subnet's network.")
    resource_group_id: str | None = Field(default=None, min_length=1, description="Where network cards are made.")
    subscription_id: str | None = Field(default=None, min_length=1, description="The subscription of these ids.")

    @classmethod
    def of_networks(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See NetworkPart."""
        yield from subnet_fields.contradictions(values)

    @classmethod
    def network_of(cls, values: Mapping[str, Any]) -> Network | None:
        """See NetworkPart: a subnet's whole id, or its name in a virtual network."""
        subnet, network = values["subnetId"], values["virtualNetworkId"]
        if subnet is None:
            return None
        named = SubnetId.within(network, subnet) if network is not None else None
        return Network(SUBNET, named.path if named else subnet)
