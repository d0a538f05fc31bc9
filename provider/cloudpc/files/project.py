"""Where the project is."""

from __future__ import annotations

import os
from pathlib import Path

import cloudpc
from cloudpc.model.errors import CloudPCError

_MARK = "Pulumi.yaml"


class NoProjectError(CloudPCError):
    """No project was found; the message says where was looked."""

    is_bad_input = True


def project_root() -> Path:
    """The folder of Pulumi.yaml: from CLOUDPC_PROJECT, this folder or one above it, or the installed checkout.

    Raises:
        NoProjectError: there is none.
    """
    if named := os.environ.get("CLOUDPC_PROJECT"):
        if (Path(named) / _MARK).is_file():
            return Path(named).resolve()
        raise NoProjectError(f"CLOUDPC_PROJECT names {named}, which has no {_MARK}")
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / _MARK).is_file() and (folder / "stacks").is_dir():
            return folder
    checkout = Path(cloudpc.__file__).resolve().parents[2]
    if (checkout / _MARK).is_file():
        return checkout
    raise NoProjectError(f"no {_MARK} in {here} or above it: go to the project's folder, or set CLOUDPC_PROJECT")
