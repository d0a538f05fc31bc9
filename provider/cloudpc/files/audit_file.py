"""Which file may be the audit file.

A policy is proposed by whoever may open a pull request, and what runs it may write more than they: a policy can name
files of the project only. Whoever runs it may name any, in CLOUDPC_AUDIT, which goes before all policies' own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudpc.files import regular_file
from cloudpc.model.problems import Problem

VARIABLE = "CLOUDPC_AUDIT"
FIELD = "cloudpc:audit.path"


def find(path: str | None, stacks: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file to append to, or None where nobody asks for one.

    Args:
        path: what the policy names, if anything.
        stacks: the folder that it is relative to.
        environment: of the run.

    Raises:
        ValueError: it can't be that one; with why.
    """
    if named := environment.get(VARIABLE):
        file = _whole(Path(named))
        if not Path(named).is_absolute():
            raise ValueError(f"{VARIABLE} must be an absolute path")
    elif path is None:
        return None
    else:
        file = _whole(stacks / path)
        if not file.is_relative_to(_whole(stacks.parent)):
            raise ValueError(f"must be a file of this project; {VARIABLE} in the environment may name any")
    _check(file)
    return file


def problem(path: str | None, stacks: Path, shown_as: str) -> Problem | None:
    """What is wrong with it, in the stack's file or in the environment."""
    try:
        find(path, stacks)
    except ValueError as error:
        if named := os.environ.get(VARIABLE):
            return Problem("environment", VARIABLE, str(error), named)
        return Problem(shown_as, FIELD, str(error), path)
    return None


def _whole(path: Path) -> Path:
    """Without symbolic links, which may lead out of the project."""
    if "\0" in str(path):
        raise ValueError("has a null byte, which no name can have")  # Python's own words differ by version
    return Path(os.path.realpath(path))


def _check(file: Path) -> None:
    if os.path.isdir(file) or not os.path.isdir(file.parent):  # noqa: PTH112 - Path's own raises for too long a name
        raise ValueError("must be in a folder that exists")
    try:
        with regular_file.opened(file) as content:
            first = content.readline(65_536)
    except FileNotFoundError:
        return  # the first run makes it
    except OSError as error:
        raise ValueError(f"can't be used: {error.strerror}") from None
    if first.strip() and not _is_line(first):
        raise ValueError("is not an audit file: its first line is something else")


def _is_line(text: bytes) -> bool:
    try:
        line: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(line, dict) and "time" in line
