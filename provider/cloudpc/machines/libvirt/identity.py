"""Which libvirt a connection leads to: an alias, an address and another transport may all reach the same."""

from __future__ import annotations

from typing import Any

from cloudpc.machines.libvirt.configuration import REMEDY
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.machines import Hypervisor


def hypervisor(connection: Any) -> Hypervisor:
    """By the host's UUID, whether it is the system's daemon or a user's, and the pools and networks in it.

    A machine's UUID would not do: ours are the same wherever they are.

    Raises:
        ProvisioningError: it does not say.
    """
    with classified("ask which hypervisor it is"):
        host = parsed(connection.getCapabilities()).find("host")
        made = [*connection.listAllStoragePools(0), *connection.listAllNetworks(0)]
        ids = frozenset(each.UUIDString() for each in made)
        kind = connection.getType()
    uuid = "" if host is None else host.findtext("uuid", "")
    # only the system's daemon gives its guests to another user
    whose = "system" if host is not None and "dac" in [m.text for m in host.iterfind("secmodel/model")] else "session"
    return Hypervisor(f"{kind} {uuid} {whose}", ids, REMEDY)
