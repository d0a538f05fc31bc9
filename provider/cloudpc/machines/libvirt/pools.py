"""Which storage pools Cloud PCs can be in: folders, each of one pool alone."""

from __future__ import annotations

from functools import partial
from posixpath import normpath, realpath
from typing import Any
from xml.etree import ElementTree

import libvirt

from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.errors import classify, is_connection_error, unless_gone
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.errors import ErrorCode, ProvisioningError

_FOLDERS = ("dir", "fs", "netfs")
"""Types of pools whose volumes are files, as overlays and their bases have to be."""


def folder_of(pool: Any) -> str:
    """The folder, on the host, that a pool is; empty where it is none."""
    described = _described(pool)
    return described.findtext("./target/path", "") if described.get("type") in _FOLDERS else ""


def is_folder(pool: Any) -> bool:
    """Whether its volumes are files."""
    return _described(pool).get("type") in _FOLDERS


def check_folder(pool: Any, config: LibvirtHostConfig) -> None:
    """Raises ProvisioningError: POOL_UNUSABLE, its volumes are no files."""
    kind = _described(pool).get("type", "")
    if kind not in _FOLDERS:
        raise _unusable(
            f"The storage pool {config.pool} of the host {config.name} is of type {kind}; Cloud PCs' disks are files.",
            f"Set pool of the host to one of type {', '.join(_FOLDERS)}, or to a name that is not taken: it is made "
            "then, in poolPath.",
        )


def path_of(pool: Any, volume: str) -> str | None:
    """The path, on the host, of a volume of this name; None: it is gone."""
    path: str | None = unless_gone(lambda: pool.storageVolLookupByName(volume).path())
    return path


def check_free(connection: Any, config: LibvirtHostConfig, path: str) -> None:
    """Raises ProvisioningError: POOL_UNUSABLE, the folder for a new pool is another one's already."""
    resolved = realpath if config.address.is_local else normpath
    for pool in connection.listAllStoragePools():
        folder = unless_gone(partial(folder_of, pool))
        if folder and resolved(folder) == resolved(path):
            raise _unusable(
                f"The storage pool {config.pool} is to be made in {path} on the host {config.name}, and that is the "
                f"folder of its pool {pool.name()}.",
                f"Set pool of the host to {pool.name()} to use that one, or poolPath to another folder.",
            )


def not_usable(config: LibvirtHostConfig, error: libvirt.libvirtError) -> ProvisioningError:
    """What there is to say where the pool can't be made, started or read: nothing is wrong with any Cloud PC."""
    if is_connection_error(error):
        return classify(error, f"open the storage pool {config.pool}")
    found = classify(error, f"use the storage pool {config.pool} of the host {config.name}")
    hint = (
        "See that its folder is there (is something not mounted?) and start the pool (`virsh pool-start`); of one that "
        "has to be made, set poolPath of the host to a folder that can be."
    )
    return _unusable(found.message, hint if found.retriable else found.hint)


def _described(pool: Any) -> ElementTree.Element:
    return parsed(pool.XMLDesc(0))


def _unusable(message: str, hint: str) -> ProvisioningError:
    return ProvisioningError(ErrorCode.POOL_UNUSABLE, message, retriable=False, hint=hint)
