"""A domain's screen: QEMU is handed one end of a pair of sockets, so that nothing has to listen for it."""

from __future__ import annotations

import socket
from typing import Any

import libvirt

from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.abilities import NoConsole


def opened(domain: Any, name: str, address: Address) -> socket.socket:
    """A connection to it.

    Raises:
        NoConsole: it is off, has none, or its host is another computer, to which no socket can be handed.
        ProvisioningError: libvirt can't be asked.
    """
    if not address.is_local:
        raise NoConsole(f"The console of {name} is shown on its host alone; run `cloudpc serve` there.")
    with classified(f"open the screen of {name}"):
        if not domain.isActive():
            raise NoConsole(f"{name} is off; power it on to see its console.")
        graphics = parsed(domain.XMLDesc()).find("devices/graphics")
        if graphics is None:
            raise NoConsole(f"{name} was made before machines had a console. It has one after a reprovision.")
        return socket.socket(fileno=domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))
