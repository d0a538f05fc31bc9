"""The desktop that a Cloud PC serves on its own loopback, by RDP: it is reached through ssh alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cloudpc.cli import ssh, targets
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError
from cloudpc.model.access import Ssh
from cloudpc.model.credentials import RecordedCredentials
from cloudpc.operations.records import CloudPCRecord

PORT = 3389
"""Of its RDP."""


@contextmanager
def stream(project: Project, cloud_pc: CloudPCRecord, secret: RecordedCredentials) -> Iterator[socket.socket]:
    """A connection to it under the pinned host key, until the block ends; by Azure Bastion, if one stands before it.

    Raises:
        CommandError: the Cloud PC is not reached by ssh, or not from here.
    """
    way = cloud_pc.recorded.access
    if not isinstance(way, Ssh):
        raise CommandError(f"{cloud_pc.device_name} has no desktop that is reached by ssh")
    target = targets.target_of(project, cloud_pc, way, secret)
    with targets.reached(project, cloud_pc, target, way) as near, ssh.opened(near, PORT) as connected:
        yield connected
