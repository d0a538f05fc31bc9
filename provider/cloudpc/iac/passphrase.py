"""The passphrase that Pulumi seals secrets with: an empty one, as of a missing CI secret, seals nothing."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudpc.files import regular_file, yaml_file
from cloudpc.iac.engine import Engine
from cloudpc.model.problems import InvalidConfigurationError, Problem

_VARIABLE = "PULUMI_CONFIG_PASSPHRASE"
_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"
_SALT = "encryptionsalt"
_BY_PASSPHRASE = ("passphrase", "default", "")
_OF_SERVICE = ("https://", "http://")
_WHAT_TO_DO = (
    "so the passwords of Cloud PCs would not be protected; set it to a passphrase. For a stack that was made with an "
    "empty one, run `pulumi stack change-secrets-provider passphrase`"
)
_ITERATIONS = 1_000_000
"""Of pkg/secrets/passphrase/manager.go, as what is sealed for a test in each salt."""


def problem(stack_file: Path, engine: Engine) -> Problem | None:
    """What is wrong with the passphrase that a stack's secrets are sealed with, if it is one.

    Args:
        stack_file: says whether another secrets provider seals them.
        engine: for its environment and backend. Pulumi Cloud seals secrets itself, unless the file says otherwise.

    Raises:
        EngineError, InvalidConfigurationError: it is not clear which backend.
    """
    environment = engine.environment()
    if passphrase := _passphrase(environment):
        return None
    values = _values(stack_file)
    if not _seals_with_passphrase(values, engine):
        return None
    if passphrase is None:
        shown = f"{stack_file.parent.name}/{stack_file.name}"
        empty = _was_made_with_nothing(str(values.get(_SALT)))
        return Problem(shown, _SALT, f"is of an empty passphrase, {_WHAT_TO_DO}") if empty else None
    name, what = (_VARIABLE, "is") if _VARIABLE in environment else (_FILE, "names a file that is")
    return Problem("environment", name, f"{what} empty, {_WHAT_TO_DO}")


def _passphrase(environment: Mapping[str, str]) -> str | None:
    """As pulumi will read it; None if only pulumi can, because it asks for it, or from a pipe, which is read once."""
    if (given := environment.get(_VARIABLE)) is not None:  # goes before the file, even if it is empty
        return given.strip()
    try:
        path = Path(environment[_FILE])
        if path.is_char_device():
            return "" if _reads_empty(path) else None
        return regular_file.read(path).decode(errors="replace").strip()
    except (KeyError, OSError):
        return None


def _reads_empty(device: Path) -> bool:
    """Whether it is one like /dev/null. At a terminal somebody types for pulumi; others are read by a byte.

    Raises:
        OSError: it can't be read, or has nothing yet.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return not os.isatty(descriptor) and not os.read(descriptor, 1)
    finally:
        os.close(descriptor)


def _values(stack_file: Path) -> dict[str, Any]:
    try:
        content = yaml_file.read(stack_file, stack_file.name)
    except InvalidConfigurationError:
        return {}  # none yet, or reported elsewhere
    return content if isinstance(content, dict) else {}


def _seals_with_passphrase(values: Mapping[str, Any], engine: Engine) -> bool:
    if (provider := values.get("secretsprovider")) is not None:
        return provider in _BY_PASSPHRASE
    return _SALT in values or not engine.backend.url.startswith(_OF_SERVICE)


@functools.cache
def _was_made_with_nothing(salt: str) -> bool:
    """Whether the empty passphrase opens what Pulumi has sealed in the salt to try passphrases on."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        _, scatter, _, nonce, sealed = salt.split(":")
        key = hashlib.pbkdf2_hmac("sha256", b"", base64.b64decode(scatter), _ITERATIONS, 32)
        AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None)
    except (ValueError, InvalidTag):
        return False
    return True
