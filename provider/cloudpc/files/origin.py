"""Where this package was installed from, so that CI can install the same: no public index has it."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

WHEELS = "wheels"
"""The folder of a project that has the wheel which CI installs."""


@dataclass(frozen=True)
class Origin:
    """What CI installs.

    Args:
        requirement: as it stands in a requirements.txt at the top of a project.
        wheel: the file that belongs into the project's folder `wheels`; None: it comes from elsewhere.
        from_index: whether a package index has to have it.
    """

    requirement: str
    wheel: Path | None = None
    from_index: bool = False


def of_wheel(wheel: Path) -> Origin:
    """A wheel that the project brings along."""
    return Origin(f"./{WHEELS}/{wheel.name}", wheel)


def is_our_wheel(file: Path) -> bool:
    """Whether an installer finds this package in it. Raises OSError: it can't be read."""
    if file.suffix != ".whl":
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(re.fullmatch(r"cloudpc-[^/]+\.dist-info/METADATA", name) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def of_installed() -> Origin:
    """What is running: a wheel's file that is still there, a URL with its hash, or else its version in an index.

    Installers record it (PEP 610), for whatever is no version of an index.
    """
    installed = metadata.distribution("cloudpc")
    recorded = _recorded(installed.read_text("direct_url.json"))
    url, archive = str(recorded.get("url", "")), recorded.get("archive_info")
    by_version = Origin(f"cloudpc=={installed.version}", from_index=True)
    if not isinstance(archive, dict):
        return by_version  # of an index, or a checkout
    if url.startswith("file:"):
        wheel = Path(unquote(urlsplit(url).path))
        return of_wheel(wheel) if wheel.suffix == ".whl" and wheel.is_file() else by_version
    digest = (archive.get("hashes") or {}).get("sha256")
    return Origin(f"cloudpc @ {url}#sha256={digest}") if digest else by_version


def _recorded(text: str | None) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
