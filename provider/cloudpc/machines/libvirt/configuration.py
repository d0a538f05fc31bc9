"""What a policy's files say of libvirt's hosts and of their networks."""

from __future__ import annotations

import os
import re
from posixpath import normpath
from typing import Annotated, Self
from urllib.parse import unquote

from pydantic import AfterValidator, Field, model_validator

from cloudpc.machines.libvirt.address import Address
from cloudpc.model.connection import NetworkKind, NetworkPart
from cloudpc.model.hosts import ByHand, HostConfig, Uri
from cloudpc.model.ssh_hop import SshHop

REMEDY = "give each a host_uuid of its own in /etc/libvirt/libvirtd.conf"
"""Of hosts that look like one hypervisor, and are two."""
_LONGEST = 200
"""Letters of a pool's name, from which libvirt makes a file's."""


def _uri(value: str) -> str:
    place = re.split("[?#]", value.partition("://")[2])[0]
    _no_password(place)
    if "@" in place.rpartition("@")[0]:
        raise ValueError("has two @: write one that belongs to the user's name as %40")
    Address(value)
    return value


def _no_password(place: str) -> None:
    """A password, with whatever letters in it, comes between a colon and an @."""
    user, _, _ = place.rpartition("@")
    if ":" in unquote(user):
        raise ValueError(
            "has a password, which nothing would use; write USER@HOST, let the user sign in by a key, "
            "and change the password, since this file has shown it"
        )


def _destination(value: str) -> str:
    for hop in value.split(","):
        _no_password(hop.removeprefix("ssh://"))
    SshHop.parse(value)
    return value


def _pool(value: str) -> str:
    if not 0 < len(value) <= _LONGEST or value.startswith(".") or "/" in value or not value.isprintable():
        raise ValueError(
            f"names the pool, and its folder where that has to be made: up to {_LONGEST} letters, no /, no . at first"
        )
    return value


def _folder(value: str) -> str:
    """Spelled as libvirt spells it: `//` at the beginning is a folder of its own for it."""
    folder = normpath(re.sub("^/+", "/", value))
    if not folder.startswith("/") or folder == "/" or not folder.isprintable():
        raise ValueError("must be a folder on the host by its whole path, such as /srv/cloudpc")
    return folder


class LibvirtHostConfig(HostConfig):
    """One hypervisor host, reached through libvirt."""

    uri: Annotated[
        Uri,
        Field(description="libvirt connection URI, for example qemu:///system or qemu+ssh://admin@kvm1/system."),
        AfterValidator(_uri),
    ]
    pool: Annotated[str, AfterValidator(_pool)] = Field(
        default="cloudpc", description="Storage pool for images and disks; made if it is not there."
    )
    pool_path: Annotated[str, AfterValidator(_folder)] | None = Field(
        default=None,
        alias="poolPath",
        description="Folder on the host for a pool that has to be made; absolute.",
    )
    hosted_network: str = Field(
        default="user",
        alias="hostedNetwork",
        description="What `regionName: automatic` means here: `user` (user-mode networking, ssh forwarded on the "
        "host's loopback), `restricted` (the same, but guests reach nothing) or the name of a libvirt network such as "
        "`default`.",
    )
    vcpu_overcommit: float = Field(
        default=4.0, alias="vCpuOvercommit", ge=1, le=64, description="Virtual cores that may share one core."
    )
    memory_reserved_in_gb: float = Field(
        default=1.0, alias="memoryReservedInGB", ge=0, le=65536, description="Memory that is left to the host itself."
    )
    disk_overcommit: float = Field(
        default=1.0, alias="diskOvercommit", ge=1, le=100, description="Promised disk (overlays grow) to disk there is."
    )
    ssh_destination: Annotated[str, AfterValidator(_destination)] | None = Field(
        default=None,
        alias="sshDestination",
        description="How users reach the loopback of a remote host, as ssh's -J takes it; empty: it is this machine's. "
        "Default: the URI's host.",
    )

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.ssh_destination is None and not self.address.is_local and self.address.hop is None:
            raise ValueError(
                "has a uri that names no host; give sshDestination, how ssh reaches it (empty, if its loopback is this "
                "machine's)"
            )
        return self

    @property
    def by_hand(self) -> ByHand:
        """See HostConfig."""
        return ByHand(console="virsh console", looking="with `virsh dumpxml`", removing="with `virsh vol-delete`")

    @property
    def place(self) -> tuple[object, ...]:
        """See HostConfig."""
        return (self.driver, *self.address.place)

    @property
    def holdings(self) -> tuple[object, ...]:
        """See HostConfig: each pool has volumes of its own."""
        return (self.uri, self.pool)

    @property
    def is_restricted(self) -> bool:
        """Whether guests of its hosted network are reached by ssh and reach nothing themselves."""
        return self.hosted_network == "restricted"

    @property
    def reaches_nothing(self) -> str:
        """See HostConfig."""
        return "hostedNetwork: restricted" if self.is_restricted else ""

    @property
    def address(self) -> Address:
        """Its URI taken apart."""
        return Address(self.uri)

    @property
    def way(self) -> SshHop | None:
        """See HostConfig."""
        return self.address.hop if self.ssh_destination is None else SshHop.parse(self.ssh_destination)

    @property
    def another_way(self) -> str:
        """See HostConfig."""
        return f"say so in sshDestination of {self.name} (empty: its loopback is this machine's)"

    @property
    def has_this_network(self) -> bool:
        """Whether its interfaces are this machine's: so by its URI, or because its loopback is said to be."""
        return self.address.is_local or self.ssh_destination == ""


class LibvirtNetworks(NetworkPart):
    """What names a network of a host in a connection's file."""

    KINDS = (NetworkKind("libvirtNetwork", "network", "libvirt network"), NetworkKind("bridge", "bridge", "bridge"))

    libvirt_network: str | None = Field(
        default=None, min_length=1, description="Name of a libvirt network of the host."
    )
    bridge: str | None = Field(default=None, min_length=1, max_length=15, description="Name of a bridge of the host.")


def this_machine() -> LibvirtHostConfig:
    """The system's libvirt for root, one's own session for others."""
    uri = "qemu:///system" if os.geteuid() == 0 else "qemu:///session"
    return LibvirtHostConfig(name="local", uri=uri)
