"""The subscription that the fake has ready-made: names, sizes, images, quotas."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.azure.errors import Json


@dataclass(frozen=True)
class Account:
    """What a test puts into the configuration of a host."""

    tenant: str = "5fa3b1f2-8d6f-4e0b-9f0e-2a6f6c1d7e10"
    subscription: str = "11111111-2222-4333-8444-555555555555"
    group: str = "rg-cloudpc"
    location: str = "westeurope"
    network: str = "hub"
    subnet: str = "cloudpcs"

    @property
    def subscription_id(self) -> str:
        return f"/subscriptions/{self.subscription}"

    @property
    def group_id(self) -> str:
        return f"{self.subscription_id}/resourceGroups/{self.group}"

    @property
    def network_id(self) -> str:
        return f"{self.group_id}/providers/Microsoft.Network/virtualNetworks/{self.network}"

    @property
    def subnet_id(self) -> str:
        return f"{self.network_id}/subnets/{self.subnet}"

    def id(self, kind: str, name: str) -> str:
        """Of a resource in the group: `virtualMachines`, `disks`, `networkInterfaces`."""
        provider = "Microsoft.Network" if kind == "networkInterfaces" else "Microsoft.Compute"
        return f"{self.group_id}/providers/{provider}/{kind}/{name}"


@dataclass
class Size:
    """A size of virtual machines.

    Args:
        restrictions: as the list of sizes has them.
    """

    name: str
    family: str
    vcpus: int
    memory_gb: float
    zones: list[str] = field(default_factory=lambda: ["1", "2", "3"])
    generations: str = "V1,V2"
    trusted_launch: bool = True
    accelerated: bool = True
    architecture: str = "x64"
    premium: bool = True
    controllers: str = "SCSI"
    restrictions: list[Json] = field(default_factory=list)

    def shown(self, location: str) -> Json:
        """As the list of sizes tells it."""
        capabilities = {
            "vCPUs": str(self.vcpus), "vCPUsAvailable": str(self.vcpus), "MemoryGB": f"{self.memory_gb:g}",
            "HyperVGenerations": self.generations, "CpuArchitectureType": self.architecture,
            "PremiumIO": str(self.premium), "AcceleratedNetworkingEnabled": str(self.accelerated),
            "DiskControllerTypes": self.controllers, "EphemeralOSDiskSupported": "False",
            **({} if self.trusted_launch else {"TrustedLaunchDisabled": "True"}),
        }  # fmt: skip
        return {
            "resourceType": "virtualMachines", "name": self.name, "tier": "Standard",
            "size": self.name.removeprefix("Standard_"), "family": self.family, "locations": [location],
            "locationInfo": [{"location": location, "zones": self.zones, "zoneDetails": []}],
            "capabilities": [{"name": name, "value": value} for name, value in capabilities.items()],
            "restrictions": self.restrictions,
        }  # fmt: skip


def sizes() -> dict[str, Size]:
    """The usual ones, as far as the built-in plans need them."""
    found = [
        Size("Standard_B1s", "standardBSFamily", 1, 1, accelerated=False),
        Size("Standard_B1ms", "standardBSFamily", 1, 2, accelerated=False),
        Size("Standard_F2s_v2", "standardFSv2Family", 2, 4),
        Size("Standard_D2ps_v5", "standardDPSv5Family", 2, 8, architecture="Arm64"),
        Size("Standard_D2s_v6", "standardDSv6Family", 2, 8, generations="V2", controllers="NVMe"),
        Size("Standard_D2als_v6", "standardDalsv6Family", 2, 4, generations="V2", controllers="NVMe"),
        Size("Standard_B2als_v2", "standardBasv2Family", 2, 4),
    ]
    for vcpus in (2, 4, 8, 16):
        found += [
            Size(f"Standard_D{vcpus}as_v5", "standardDASv5Family", vcpus, vcpus * 4),
            Size(f"Standard_D{vcpus}s_v5", "standardDSv5Family", vcpus, vcpus * 4),
            Size(f"Standard_D{vcpus}_v5", "standardDv5Family", vcpus, vcpus * 4, premium=False),
            Size(f"Standard_E{vcpus}s_v5", "standardESv5Family", vcpus, vcpus * 8),
            Size(f"Standard_B{vcpus}as_v2", "standardBasv2Family", vcpus, vcpus * 4),
        ]
    return {size.name: size for size in found}


@dataclass
class MarketplaceImage:
    """An image that its publisher offers.

    Args:
        os: of it.
        disk_gb: of its system's disk.
        plan: to be agreed to; None: none.
        state: `Deprecated` is no longer made.
    """

    os: str = "Linux"
    disk_gb: int = 30
    generation: str = "V2"
    versions: tuple[str, ...] = ("1.0.0", "12.20251110.2")
    plan: dict[str, str] | None = None
    state: str = "Active"
    architecture: str = "x64"
    controllers: str = "SCSI, NVMe"
    trusted_launch: bool = True


def marketplace() -> dict[tuple[str, str, str], MarketplaceImage]:
    """By publisher, offer and sku, in lower case."""
    windows = MarketplaceImage("Windows", 127, versions=("26100.4061.250520", "26100.6899.251011"))
    return {
        ("debian", "debian-12", "12-gen2"): MarketplaceImage(),
        ("debian", "debian-12", "12"): MarketplaceImage(generation="V1", trusted_launch=False),
        ("canonical", "ubuntu-24_04-lts", "server"): MarketplaceImage(versions=("24.04.202510010",)),
        ("microsoftwindowsdesktop", "windows-ent-cpc", "win11-24h2-ent-cpc"): windows,
        ("microsoftwindowsdesktop", "windows-11", "win11-24h2-ent"): windows,
        ("microsoftwindowsdesktop", "windows-ent-cpc", "win11-21h2-ent-cpc"): MarketplaceImage(
            "Windows", 127, state="Deprecated"
        ),
        ("contoso", "vdi", "vdi-gen2"): MarketplaceImage(
            plan={"publisher": "contoso", "name": "vdi-gen2", "product": "vdi"}
        ),
    }
