"""What every entry of `cloudpc:hosts` has, whatever its driver; each driver has a model of its own on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from cloudpc.model.access import Bastion
from cloudpc.model.machines import Network
from cloudpc.model.ssh_hop import SshHop
from cloudpc.model.text import command_line
from cloudpc.model.written import Written

Uri = Annotated[str, Written(r"[a-z0-9]+(\+[a-z0-9]+)?://.*", "a URI, such as qemu+ssh://admin@kvm1/system")]
"""Of a host; its scheme names the driver."""


def driver_name(entry: Mapping[str, Any]) -> str:
    """Which driver an entry asks for: its `kind`, else the scheme of its `uri`: `qemu` of qemu+ssh://…; or nothing."""
    kind, uri = entry.get("kind"), entry.get("uri")
    if isinstance(kind, str):
        return kind
    scheme, found, _ = uri.partition("://") if isinstance(uri, str) else ("", "", "")
    return scheme.partition("+")[0] if found else ""


@dataclass(frozen=True)
class ByHand:
    """How an admin works on a host without us, for hints."""

    console: str = ""
    """Command that shows a machine's console; the machine's name follows."""
    looking: str = "on its host"
    """How a machine is looked at: completes "look at it …"."""
    removing: str = "there"
    """How something is removed: completes "remove it …"."""

    def console_of(self, machine: str) -> str:
        """What to look at where a machine does not answer."""
        return f"`{command_line(*self.console.split(), machine)}`" if self.console else f"the console of {machine}"


class HostConfig(BaseModel):
    """One host. What its driver knows of it besides is asked through what stands below."""

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid", frozen=True)

    PLACED_BY: ClassVar[str] = "uri"
    """The field that says where it is, for messages."""

    PAID_BY_THE_MACHINE: ClassVar[bool] = False
    """Whether each machine costs money, so that hosts which are there anyway are filled first."""

    name: Annotated[str, Written(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", "1 to 32 of a-z, 0-9 and inner hyphens")] = (
        Field(description="Name shown as a Cloud PC's host.")
    )

    def beside(self, graph_endpoint: str, tenant_id: str | None) -> Self:  # noqa: ARG002 - for those that sign in, too
        """The same, with what it leaves to `cloudpc:graph`: the endpoint's cloud, and the tenant if that is named."""
        return self

    @property
    def driver(self) -> str:
        """The name of its driver."""
        return driver_name(self.__dict__)

    @property
    def where(self) -> str:
        """Where it is, as its entry says it: no two hosts of a policy have the same."""
        return str(getattr(self, self.PLACED_BY))

    @property
    def place(self) -> tuple[object, ...]:
        """Which hypervisor it is, as far as the spelling of its entry says: the same for two spellings of one."""
        return (self.driver, self.where)

    @property
    def holdings(self) -> tuple[object, ...]:
        """Where its machines and what is left of them are kept: two entries with the same are looked at once."""
        return (self.where,)

    @property
    def reaches_nothing(self) -> str:
        """What of its entry keeps guests of its hosted network from reaching anything; nothing if they may."""
        return ""

    def offers(self, network: Network) -> bool:  # noqa: ARG002 - for those whose entry says it
        """Whether it may have this network, HOSTED or of its driver's kinds, as far as its entry says."""
        return True

    @property
    def by_hand(self) -> ByHand:
        """How an admin works on it without us."""
        return ByHand()

    @property
    def way(self) -> SshHop | None:
        """How ssh reaches its loopback and its own networks; None: they are this machine's, or nothing is behind it."""
        return None

    def bastion_to(self, machine_id: UUID) -> Bastion | None:  # noqa: ARG002 - drivers ask it
        """The Azure Bastion by which a machine is reached today, in place of `way`; None: by none."""
        return None

    @property
    def another_way(self) -> str:
        """How its entry says that there is another way; completes "where another one is right, …"."""
        return "let its entry say so"
