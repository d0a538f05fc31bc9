"""A guest's ssh host key, read through its hypervisor: whoever pins it has trusted nobody else."""

from __future__ import annotations

from uuid import UUID

from cloudpc.model import ssh_keys
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.machines import Host

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


def read(host: Host, machine_id: UUID, cancel: Cancellation) -> str | None:
    """Type and key, without a comment; None if the guest has none.

    Raises:
        ProvisioningError: the guest or its host does not answer.
    """
    try:
        content = host.read_file(machine_id, HOST_KEY, cancel=cancel).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    key = " ".join(content.split()[:2])
    return key if ssh_keys.is_ed25519(key) else None
