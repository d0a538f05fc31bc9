"""The secret that a reference names, read when it is needed."""

from __future__ import annotations

import os
from pathlib import Path

from cloudpc.files import regular_file
from cloudpc.model.connection import SecretReference

_LONGEST = 65_536
"""In bytes."""


def read(reference: SecretReference) -> str:
    """The secret.

    Raises:
        LookupError: it is not there; in words, without the secret.
    """
    if reference.environment is not None:
        if value := os.environ.get(reference.environment):
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise LookupError(f"the environment variable {reference.environment} is not text in UTF-8")
            return value
        raise LookupError(f"the environment variable {reference.environment} is not set")
    assert reference.file is not None  # noqa: S101 - see its contradictions
    try:
        return regular_file.read(Path(reference.file), _LONGEST).decode("utf-8-sig").rstrip("\r\n")
    except (OSError, ValueError) as error:  # ValueError: not text, or a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise LookupError(f"{reference.file} can't be read: {reason}") from None
