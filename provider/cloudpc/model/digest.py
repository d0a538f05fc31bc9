"""Stable bytes derived from texts."""

from __future__ import annotations

import hashlib


def digest(*parts: str) -> bytes:
    """For names and choices that must not change between runs."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
