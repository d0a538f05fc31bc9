"""The passphrase that Pulumi seals secrets with: an empty one, as of a missing CI secret, seals nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloudpc import regular_file, yaml_file
from cloudpc.iac.engine import Engine
from cloudpc.problems import InvalidConfigurationError, Problem

_VARIABLE = "PULUMI_CONFIG_PASSPHRASE"
_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"
_BY_PASSPHRASE = ("passphrase", "default", "")
_OF_SERVICE = ("https://", "http://")
_WHAT_TO_DO = (
    "so the passwords of Cloud PCs would be sealed with nothing: set it to a passphrase. A stack that was made under "
    "an empty one gets another by `pulumi stack change-secrets-provider passphrase`"
)


def problem(stack_file: Path, engine: Engine) -> Problem | None:
    """What is wrong with the passphrase that a stack's secrets are sealed with, if it is one.

    Args:
        stack_file: says whether another secrets provider seals them.
        engine: for its environment and backend. Pulumi Cloud seals secrets itself, unless the file says otherwise.

    Raises:
        EngineError, InvalidConfigurationError: it is not clear which backend.
    """
    wrong = _wrong(engine.environment())
    return wrong if wrong and _seals_with_passphrase(stack_file, engine) else None


def _wrong(environment: Mapping[str, str]) -> Problem | None:
    if (passphrase := environment.get(_VARIABLE)) is not None:  # goes before the file, even if it is empty
        return None if passphrase.strip() else Problem("environment", _VARIABLE, f"is empty, {_WHAT_TO_DO}")
    if not (file := environment.get(_FILE)):
        return None  # pulumi asks for it, or says that it is missing
    try:
        content = regular_file.read(Path(file))
    except OSError:
        return None  # a pipe can be read once, by pulumi; what can't be read at all, it says itself
    return None if content.strip() else Problem("environment", _FILE, f"names an empty file, {_WHAT_TO_DO}", file)


def _seals_with_passphrase(stack_file: Path, engine: Engine) -> bool:
    try:
        content = yaml_file.read(stack_file, stack_file.name)
    except InvalidConfigurationError:
        content = None  # none yet, or told elsewhere
    values = content if isinstance(content, dict) else {}
    if (provider := values.get("secretsprovider")) is not None:
        return provider in _BY_PASSPHRASE
    return "encryptionsalt" in values or not engine.backend.url.startswith(_OF_SERVICE)
