"""A domain's screen: QEMU is handed one end of a pair of sockets, so that nothing has to listen for it.

Of a host elsewhere, to which no socket can be handed, there are pictures (`screen_afar`).
"""

from __future__ import annotations

import socket
from typing import Any
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt import screen_afar
from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.abilities import NoConsole


def opened(domain: Any, name: str, address: Address) -> socket.socket:
    """A connection to it.

    Raises:
        NoConsole: it is off, or has none that is shown from here.
        ProvisioningError: libvirt can't be asked.
    """
    with classified(f"open the screen of {name}"):
        if not domain.isActive():
            raise NoConsole(f"{name} is off; power it on to see its console.")
        graphics = parsed(domain.XMLDesc()).find("devices/graphics")
        if graphics is None:
            raise NoConsole(f"{name} was made before machines had a console. It has one after a reprovision.")
        if not address.is_local:
            return _from_afar(domain, name, address)
        return socket.socket(fileno=domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))


def _from_afar(domain: Any, name: str, address: Address) -> socket.socket:
    try:
        return screen_afar.shown(Connection(address), UUID(bytes=domain.UUID()))
    except ValueError as error:
        raise NoConsole(f"The screen of {name} is not shown from here: {error}.") from None
