"""How a Cloud PC is reached from here: what its user signs in with, the way there, and what stands before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cloudpc.cli import bastion_tunnel, ssh
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit
from cloudpc.model.access import Access, Ssh
from cloudpc.model.cloud_pc import Status
from cloudpc.model.credentials import RecordedCredentials
from cloudpc.model.hosts import HostConfig
from cloudpc.model.ssh_hop import SshHop
from cloudpc.operations.records import CloudPCRecord


def usable(cloud_pc: CloudPCRecord) -> tuple[Access, RecordedCredentials]:
    """The way there, and what is signed in with. Raises CommandError: there is nothing to sign in to."""
    pc = cloud_pc.recorded
    if pc.credentials and pc.access and pc.status is not Status.FAILED:
        return pc.access, pc.credentials
    why = f": {pc.status_detail.message} [{pc.status_detail.code}]" if pc.status_detail else ""
    message = (
        f"the Cloud PC of {cloud_pc.user_principal_name} is {cloud_pc.status}; there is nothing to sign in to{why}"
    )
    raise CommandError(message, Exit.FAILED_CLOUD_PC)


def target_of(project: Project, cloud_pc: CloudPCRecord, way: Ssh, secret: RecordedCredentials) -> ssh.Target:
    """A Cloud PC as ssh reaches it, or from behind its Bastion would. Raises CommandError: the way is unknown."""
    return ssh.Target(
        name=cloud_pc.device_name,
        host=way.host,
        port=way.port,
        user=secret.user,
        password=secret.password.get_secret_value(),
        host_key=way.host_key,
        way=hop_to(project.host(cloud_pc), way),
    )


@contextmanager
def reached(project: Project, cloud_pc: CloudPCRecord, target: ssh.Target, way: Ssh) -> Iterator[ssh.Target]:
    """The target as ssh reaches it while the block lasts: by a tunnel, if a Bastion stands before it."""
    host = project.host(cloud_pc)
    bastion = host.bastion_to(cloud_pc.recorded.machine_id) if host else way.bastion
    if bastion is None:
        yield target
        return
    with bastion_tunnel.opened(bastion, way.port) as port:
        yield replace(target, host="127.0.0.1", port=port, way=None)


def hop_to(host: HostConfig | None, way: Access) -> SshHop | None:
    """How the host is reached now, if the machine is behind it; state has how it was when the machine was made."""
    if host is not None:
        return host.way if way.via or ssh.is_loopback(way.host) else None
    try:
        return SshHop.parse(way.via)
    except ValueError:
        raise CommandError(
            f"the way to its host is unknown: state has {way.via!r}, but the policy's file has no such host"
        ) from None
