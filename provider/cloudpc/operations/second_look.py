"""A second look at a machine before it is deleted: lists of hosts may lag, and no list says whose it is by now."""

from __future__ import annotations

from cloudpc.model.machines import Host, Machine
from cloudpc.model.tags import Phase


def is_still_there(host: Host, listed: Machine) -> bool:
    """Whether the machine is the one that a list named, and nobody was given it since.

    A machine that was made again has the identity of the previous one: deleting by identity would delete it.

    Raises:
        ProvisioningError: the host does not say.
    """
    found = host.describe(listed.id)
    if found is None or (found.tag.generation, found.tag.attempt) != (listed.tag.generation, listed.tag.attempt):
        return False
    return listed.tag.phase is Phase.HANDED_OVER or found.tag.phase is not Phase.HANDED_OVER
