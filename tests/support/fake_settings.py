"""What a fake host is told: its `host.json`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """In one step: the fake reads it at any moment, and knows a new one by its being another file. Two may write."""
    new = folder / f".host.json.{secrets.token_hex(4)}"
    new.write_text(json.dumps(settings))
    new.replace(folder / "host.json")
