"""Finding one machine's domain, with what is written on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.definitions import Definition, definition_of, find_domain
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.metadata import Label
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable


class Domains:
    """The domains of one host, by their machines' identity."""

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection = connection
        self._host = host

    def need(self, machine_id: UUID, through: Connection | None = None) -> tuple[Any, Definition]:
        """A domain that has to be there. Raises ProvisioningError: GUEST_DIED, it is not."""
        with classified("look for the machine"):
            domain = find_domain((through or self._connection).get(), machine_id)
            definition = None if domain is None else definition_of(domain)
        if definition is None:
            raise ProvisioningError(ErrorCode.GUEST_DIED, f"The machine {machine_id} is no longer on {self._host}.")
        return domain, definition

    def label(self, definition: Definition) -> Label:
        """What is written on it. Raises TagUnreadable."""
        if definition.label is None:
            raise TagUnreadable(definition.name, self._host)
        return definition.label
