"""One encryption salt for all of a project's stacks.

A run reads its sibling policies' state. Pulumi's passphrase provider derives a key for each salt it meets (a fifth of a
second) and keeps it as long as its process lives (pkg/secrets/passphrase/manager.go), so that stacks with the same
passphrase and salt cost one derivation together. The salt guards a passphrase against tables made beforehand; for that
it need not differ between stacks that share the passphrase.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloudpc.files import project_file, yaml_file
from cloudpc.model.problems import InvalidConfigurationError

_SALT = "encryptionsalt"
_SECRETS_PROVIDER = ("secretsprovider", "encryptedkey", _SALT)
"""What says in a stack's file how its secrets are kept."""


def share(file: Path, siblings: Iterable[Path]) -> None:
    """Give the file of a stack that is still to be made the salt of the first sibling that has one.

    A file that says itself how its secrets are kept stays as it is.

    Args:
        file: the stack's.
        siblings: those of stacks that exist, whose passphrase is therefore this backend's.

    Raises:
        InvalidConfigurationError: the file can't be read.
    """
    if any(key in _read(file) for key in _SECRETS_PROVIDER):
        return
    for sibling in siblings:
        try:
            values = _read(sibling)
        except InvalidConfigurationError:
            continue  # it is reported where that policy is run
        if _SALT in values and "secretsprovider" not in values:
            # at the end, as Pulumi itself would: what people wrote stays as they wrote it
            text = file.read_text(encoding="utf-8")
            line = yaml_file.dump({_SALT: values[_SALT]})
            file.write_text(text + ("" if text.endswith("\n") or not text else "\n") + line, encoding="utf-8")
            return


def forget(file: Path) -> None:
    """Take the salt out of the file of a stack that is gone, unless values in it can only be opened with it."""
    if project_file.is_sealed(_read(file).get("config")):
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f"{_SALT}:")]
    if kept != lines:
        file.write_text("".join(kept), encoding="utf-8")


def is_all(file: Path) -> bool:
    """Whether a file says only how its stack's secrets are kept: Pulumi writes one for a stack that has none."""
    try:
        values = _read(file)
    except InvalidConfigurationError:
        return False
    keys = values.keys() - {"config"}
    return not values.get("config") and bool(keys) and keys <= {*_SECRETS_PROVIDER}


def _read(file: Path) -> dict[str, Any]:
    values = yaml_file.read(file, file.name)
    return values if isinstance(values, dict) else {}
