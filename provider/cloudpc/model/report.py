"""How provisioning reports what it does."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Progress of one Cloud PC. Never raises."""

    def step(self, text: str) -> None:
        """What is being done now; replaced by the next step."""

    def milestone(self, text: str, *, warning: bool = False) -> None:
        """A line that stays."""
