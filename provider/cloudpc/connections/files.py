"""The files in connections/: one network connection each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from cloudpc.files import regular_file, yaml_file
from cloudpc.model import drivers
from cloudpc.model.connection import OnPremisesConnection, with_networks
from cloudpc.model.drivers import Driver
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation


def model(installed: Mapping[str, Driver]) -> type[OnPremisesConnection]:
    """What a file may have: any of these drivers' networks.

    Args:
        installed: drivers by name.
    """
    return with_networks(*dict.fromkeys(driver.network for driver in installed.values()))


def names(folder: Path) -> list[str]:
    """The connections there are.

    Args:
        folder: connections/ beside the stacks' files; it need not be there.
    """
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read(folder: Path, name: str) -> OnPremisesConnection:
    """A connection from its file.

    Args:
        folder: see `names`.
        name: its file's, without .yaml.

    Raises:
        InvalidConfigurationError: with all its problems.
    """
    shown = f"{folder.parent.name}/{folder.name}/{name}.yaml"
    content = yaml_file.read(folder / f"{name}.yaml", shown)
    problems: list[Problem] = []
    valid = model(drivers.installed())
    try:
        connection = valid.model_validate({} if content is None else content)
    except ValidationError as error:
        # somebody may have written the password itself where its place belongs
        problems = [
            replace(problem, found=None) if problem.field.startswith("adDomainPassword") else problem
            for problem in from_validation(shown, "", valid, error)
        ]
    certificate = content.get("caCertificate") if isinstance(content, dict) else None
    if isinstance(certificate, str) and certificate and (wrong := _not_beside(folder, certificate)):
        problems.append(Problem(shown, "caCertificate", wrong, certificate))
    if problems:
        raise InvalidConfigurationError(problems)
    return connection


def _not_beside(folder: Path, path: str) -> str:
    """Why this is not a file in the folder or below it; empty if it is one."""
    try:
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()):
            # a pull request must not make the machine that runs it read its other files
            return f"must be a file in {folder.name}/ or below it"
        with regular_file.opened(file):
            return ""
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have; links in a circle
        return f"can't be read: {error.strerror if isinstance(error, OSError) else error}"
