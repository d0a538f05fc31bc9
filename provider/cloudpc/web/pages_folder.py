"""Where pages keep what they have to, in the project's own folder: of one account, and for nobody else to read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cloudpc.cli.output import CommandError


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make it, and have the block make what is to be in it.

    Raises:
        CommandError: one of them can't be made, most often since the folder is another account's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield
    except PermissionError as error:
        there = folder if os.access(folder.parent, os.X_OK) and folder.exists() else folder.parent
        raise CommandError(
            f"{there} can't be written by this account: it is {_owner(there)}'s, and one account serves a project's "
            "pages. Serve them by that account, or from a clone of your own."
        ) from error
    except FileExistsError as error:
        raise CommandError(f"{error.filename} is not a folder, and pages need one there; move it away") from error


def _owner(folder: Path) -> str:
    try:
        return folder.owner()
    except KeyError:  # an account without a name
        return str(folder.stat().st_uid)
