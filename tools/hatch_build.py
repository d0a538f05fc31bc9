"""What hatchling is told beyond pyproject.toml: a package has what was made or fetched for it, which no commit has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "build/man/cloudpc.1"
WEB = "build/web"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """An editable package has neither, nor one that is built from a clone without `make dist`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add both to a wheel's data, or to the sources from which the same wheel can be built."""
        if version == "editable":
            return
        is_wheel = self.target_name == "wheel"
        if (Path(self.root) / PAGE).is_file():
            if is_wheel:
                build_data["shared_data"][PAGE] = "share/man/man1/cloudpc.1"
            else:
                build_data["force_include"][PAGE] = PAGE
        if (Path(self.root) / WEB).is_dir():
            build_data["force_include"][WEB] = f"cloudpc/packaged/{WEB}" if is_wheel else WEB
