"""Machines on libvirt and QEMU, on any connection URI: nothing here assumes that it sees the host's files."""

from __future__ import annotations

from pathlib import Path

from cloudpc.files import folders
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model import patience
from cloudpc.model.digest import digest
from cloudpc.model.hosts import HostConfig


def connect(config: HostConfig, *, cache: Path | None = None) -> LibvirtHost:
    """The host of this configuration. Nothing is opened before the first call needs it.

    Args:
        config: one entry of cloudpc:hosts.
        cache: folder for locks, the result of the acceleration probe and which hosts were slow; the same for all
            processes of a user.
    """
    cache = cache or folders.cache()
    patience.remember(config.name, cache / "slow" / digest(config.uri).hex()[:32])
    return LibvirtHost(config, cache)
