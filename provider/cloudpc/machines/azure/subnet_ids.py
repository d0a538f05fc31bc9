"""The id of a subnet taken apart; names in ids know no case."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

_NAME = r"[A-Za-z0-9](?:[\w.()-]{0,88}[\w()-])?"
_ID = re.compile(
    rf"/subscriptions/(?P<subscription>[0-9a-f-]{{36}})/resourceGroups/(?P<group>{_NAME})"
    rf"/providers/Microsoft\.Network/virtualNetworks/(?P<network>{_NAME})(?:/subnets/(?P<name>{_NAME}))?",
    re.IGNORECASE,
)


class SubnetId(NamedTuple):
    """Where a subnet is."""

    subscription: str
    group: str
    network: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """A subnet's whole id; None if it is none."""
        found = _ID.fullmatch(text)
        return cls(**found.groupdict()) if found and found["name"] else None

    @classmethod
    def within(cls, network_id: str, name: str) -> Self | None:
        """The subnet of this name in a virtual network; None if they are no virtual network's id and no name."""
        found = _ID.fullmatch(network_id)
        return None if not found or found["name"] else cls.parse(f"{network_id}/subnets/{name}")

    @property
    def network_path(self) -> str:
        """The id of its virtual network."""
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{group}/providers/Microsoft.Network/virtualNetworks/{self.network}"

    @property
    def path(self) -> str:
        """Its whole id."""
        return f"{self.network_path}/subnets/{self.name}"
