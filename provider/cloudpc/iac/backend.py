"""Which backend has the state: one answer, the same as pulumi's own.

Pulumi takes PULUMI_BACKEND_URL unless it is empty, else what Pulumi.yaml names, else where somebody has logged in, else
its Cloud for who has a token. We add `.cloudpc/env`, for commands in a shell that has not sourced it. Places that name
different ones would make two states, depending on the shell; so that is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cloudpc.files import regular_file
from cloudpc.files.project_file import FILE
from cloudpc.iac import file_backend
from cloudpc.model.masking import masked
from cloudpc.model.problems import InvalidConfigurationError, Problem

VARIABLE = "PULUMI_BACKEND_URL"
_SIGNED_IN_BY = "PULUMI_ACCESS_TOKEN"
_CLOUD = "https://api.pulumi.com"
_SERVICES = ("https://", "http://")
_SCHEMES = ("file://", "s3://", "azblob://", "gs://", "postgres://", *_SERVICES)

_NONE = (
    "This project has no backend for its state yet. `cloudpc setup` makes one in .cloudpc; to use another one, set "
    f"{VARIABLE} or run `pulumi login`."
)


@dataclass(frozen=True)
class Backend:
    """Where state is.

    Args:
        url: empty where only pulumi knows.
        named_by: the place that names it.
    """

    url: str
    named_by: str

    def __str__(self) -> str:
        return f"{masked(self.url) or 'none'} ({self.named_by})"

    @property
    def problem(self) -> str:
        """Why pulumi can't take the URL, which it does not say itself; empty: it can, or there is none."""
        if not self.url or self.url.lower().startswith(_SCHEMES):
            return ""
        known = ", ".join(_SCHEMES)
        return f"{masked(self.url)!r} ({self.named_by}) is not the URL of a backend; correct it: one of {known}…"

    @property
    def not_signed_in(self) -> str:
        """What to do where pulumi asks for a token."""
        if not self.url:
            return _NONE
        return self.problem or (
            f"{self} needs {_SIGNED_IN_BY}, which is missing or not right; set it, or run `pulumi login`. To use "
            f"another backend, set {VARIABLE}."
        )


def find(root: Path, environment: Mapping[str, str], by_project: str, named_by: str) -> Backend:
    """The one backend.

    Args:
        root: the project's folder; a relative folder is one of it.
        environment: that pulumi runs in.
        by_project: what Pulumi.yaml names, if anything.
        named_by: whose PULUMI_BACKEND_URL that is.

    Raises:
        InvalidConfigurationError: environment and Pulumi.yaml name different ones.
    """
    url = environment.get(VARIABLE, "")
    if url and by_project and _whole(url, root) != _whole(by_project, root):
        other = Backend(url, named_by)
        message = f"names another backend than {other}; remove one of the two, or there would be two states"
        raise InvalidConfigurationError([Problem(FILE, "backend.url", message, by_project)])
    if url or by_project:
        return Backend(_whole(url or by_project, root), named_by if url else FILE)
    if login := _login(environment):
        return Backend(_whole(login, root), "pulumi login")
    if environment.get(_SIGNED_IN_BY):
        return Backend(environment.get("PULUMI_API") or _CLOUD, _SIGNED_IN_BY)
    return Backend("", "no `pulumi login` either")


def _whole(url: str, root: Path) -> str:
    """The URL with a folder's absolute path."""
    folder = file_backend.folder(url)
    return url.rstrip("/") if folder is None else f"file://{quote(os.fsencode((root / folder).resolve()))}"


def _login(environment: Mapping[str, str]) -> str:
    """What `pulumi login` has recorded; pulumi itself reports a file that can't be read."""
    home = environment.get("PULUMI_HOME") or f"{environment.get('HOME', '')}/.pulumi"
    file = Path(environment.get("PULUMI_CREDENTIALS_PATH") or home) / "credentials.json"
    try:
        content = json.loads(regular_file.read(file))
    except (OSError, ValueError, RecursionError):
        return ""
    current = content.get("current") if isinstance(content, dict) else None
    return current if isinstance(current, str) else ""
