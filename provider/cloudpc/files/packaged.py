"""What this project brings along beside its Python: recipes, Pulumi's plug-in, scripts that install things."""

from __future__ import annotations

from pathlib import Path

import cloudpc

_INSIDE = Path(cloudpc.__file__).resolve().parent / "packaged"
"""Where it is in a wheel (pyproject.toml); in a checkout it is at the top."""


def root() -> Path:
    """The folder that has it all, under the names it has in a checkout, for example `vm-images`."""
    return _INSIDE if _INSIDE.is_dir() else _INSIDE.parents[2]
