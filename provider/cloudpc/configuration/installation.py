"""Which installation this is: a random id in everything it owns, so that two never touch each other's things."""

from __future__ import annotations

import contextlib
import re
import uuid
from pathlib import Path

from cloudpc.model.errors import CloudPCError


class InstallationError(CloudPCError):
    """Which installation this is can't be said."""


def installation_id(configured: str | None, recorded: str | None, folder: Path) -> str:
    """The id from configuration, else from state, else from a small file that the first use makes.

    Args:
        configured: `cloudpc:installation`.
        recorded: what the policy's state remembers.
        folder: the project's own folder for such things (`.cloudpc`).

    Raises:
        InstallationError: configuration and state name different ones, or the file can't be made or used.
    """
    if configured and recorded and configured != recorded:
        raise InstallationError(
            f"cloudpc:installation is {configured!r}, but this stack belongs to the installation {recorded!r}; "
            f"write that one, or use another stack"
        )
    return configured or recorded or _from_file(folder / "installation")


def recorded_id(folder: Path) -> str | None:
    """The id in the project's own file, or None if there is none: looking makes none."""
    try:
        return (folder / "installation").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _from_file(path: Path) -> str:
    try:
        if not path.exists():
            _make(path)
        content = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InstallationError(
            f"{path} can't be used: {reason}; or set cloudpc:installation in the stack's file"
        ) from None
    if not re.fullmatch(r"[a-z0-9]{8,64}", content):
        raise InstallationError(
            f"{path} is damaged: it must hold the installation's id, which is in the tags of its machines and, where "
            f"the stack has run, in its state; delete the file only if this installation has no Cloud PCs"
        )
    return content


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(uuid.uuid4().hex + "\n", encoding="ascii")
        # a hard link is made or refused as one step, so that two first runs at once agree
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
