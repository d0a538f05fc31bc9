"""What hatchling is told beyond pyproject.toml: the man page is in what is built where tools/manual has written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "build/man/cloudpc.1"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """An editable package has none, nor one that is built from a clone without `make dist`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add it to a wheel's data, or to the sources from which the same wheel can be built."""
        if version == "editable" or not (Path(self.root) / PAGE).is_file():
            return
        if self.target_name == "wheel":
            build_data["shared_data"][PAGE] = "share/man/man1/cloudpc.1"
        else:
            build_data["force_include"][PAGE] = PAGE
