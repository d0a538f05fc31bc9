"""This user's own folders for caches, data and logs; a service account may have no home to have them in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from cloudpc.model.errors import CloudPCError

CACHE = "CLOUDPC_CACHE"


class NoHomeError(CloudPCError):
    """The account has no home folder; the message says what to set."""

    is_bad_input = True


def cache() -> Path:
    """For what can be made again. CLOUDPC_CACHE stands in where the account has no home.

    Raises:
        NoHomeError: there is neither.
    """
    try:
        return _own(platformdirs.user_cache_path)
    except NoHomeError:
        if named := os.environ.get(CACHE):
            return Path(named).absolute()
        raise


def data() -> Path:
    """For what can't. Raises NoHomeError."""
    return _own(platformdirs.user_data_path)


def config(program: str) -> Path:
    """Of another program's settings. Raises NoHomeError."""
    return _own(lambda _: platformdirs.user_config_path(program))


def log() -> Path:
    """For logs. Raises NoHomeError."""
    return _own(lambda name: platformdirs.user_log_path(name, appauthor=False))


def _own(folder: Callable[[str], Path]) -> Path:
    try:
        found = folder("cloudpc")
    except RuntimeError:  # neither HOME nor an entry among the users
        found = Path("~")
    if not found.is_absolute():
        raise NoHomeError(f"this account has no home folder; set HOME, or {CACHE} to a folder for caches")
    return found
