"""Where the project is."""

from __future__ import annotations

import os
from pathlib import Path

import cloudpc
from cloudpc.model.errors import CloudPCError

_MARK = "Pulumi.yaml"
PROJECT = "CLOUDPC_PROJECT"
"""The variable that names a project's folder; `--project` sets it."""
_MAKE_ONE = "`cloudpc init FOLDER` makes a project."


class NoProjectError(CloudPCError):
    """No project was found; the message says where was looked."""

    is_bad_input = True


def project_root() -> Path:
    """The folder of Pulumi.yaml: from CLOUDPC_PROJECT, this folder or one above it, or the installed checkout.

    Raises:
        NoProjectError: there is none.
    """
    if named := os.environ.get(PROJECT):
        if (Path(named) / _MARK).is_file():
            return Path(named).resolve()
        raise NoProjectError(f"--project or {PROJECT} names {named}, which has no {_MARK}. {_MAKE_ONE}")
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / _MARK).is_file() and (folder / "stacks").is_dir():
            return folder
    checkout = Path(cloudpc.__file__).resolve().parents[2]
    if (checkout / _MARK).is_file():
        return checkout
    raise NoProjectError(f"There is no {_MARK} in {here} or above it: go to a project's folder. {_MAKE_ONE}")
